/* SPDX-License-Identifier: MIT */
/*
 * Transitions of page ownership. Each function: checks in its first half, changes in its second.
 */
#include "ownership.h"

#define AREA_BYTES (BULKHEAD_LARGE_PAGE_PAGES * PAGE_BYTES)

/* Pages in a row (at most 512) from an address stay inside its 2 MiB area. */
static bool is_in_one_area(uint64_t address, uint64_t page_count)
{
	return is_page_aligned(address) &&
	       (address & (AREA_BYTES - 1)) + page_count * PAGE_BYTES <= AREA_BYTES;
}

static enum bulkhead_error check_count(uint64_t page_count)
{
	if (page_count == 0 || page_count > BULKHEAD_LARGE_PAGE_PAGES)
		return BULKHEAD_INVALID;
	return BULKHEAD_OK;
}

/* Finds the frames of pages of RAM in a row. */
static enum bulkhead_error find_pages(struct core_locked held, struct phys page, uint64_t page_count,
				      struct frame **frames)
{
	if (!is_in_one_area(page.value, page_count))
		return BULKHEAD_BAD_ADDRESS;
	*frames = frame_run(&held.core->frames, page, page_count);
	if (!*frames)
		return BULKHEAD_BAD_ADDRESS;
	return BULKHEAD_OK;
}

/* Finds pages that are all the service domain's to give: in its hands alone, used by nobody. */
static enum bulkhead_error find_service_pages(struct core_locked held, struct phys page,
					      uint64_t page_count, struct frame **frames)
{
	enum bulkhead_error error = find_pages(held, page, page_count, frames);

	if (error)
		return error;
	for (const struct frame *frame = *frames; frame < *frames + page_count; frame++)
		if (frame->state != FRAME_SERVICE || frame->pins != 0)
			return BULKHEAD_NOT_OWNED;
	return BULKHEAD_OK;
}

/* Whether a change of the service domain's mapping finds its tables, some kept in reserve. */
static enum bulkhead_error check_service_tables(struct core_locked held, struct phys page,
						uint64_t page_count, unsigned int reserve)
{
	const struct address_space *service = &held.core->service;
	unsigned int needed = address_space_tables_needed(service, input_of_service(page),
							  (unsigned int)page_count);

	if (needed > 0 && needed + reserve > address_space_spare(service))
		return BULKHEAD_NO_TABLES;
	return BULKHEAD_OK;
}

static enum bulkhead_error check_guest_tables(const struct guest *guest, struct guest_phys at,
					      uint64_t page_count)
{
	unsigned int needed = address_space_tables_needed(&guest->space, input_of_guest(at),
							  (unsigned int)page_count);

	return needed > address_space_spare(&guest->space) ? BULKHEAD_NO_TABLES : BULKHEAD_OK;
}

/* Empty addresses of declared memory, with the tables to map pages there. */
static enum bulkhead_error check_guest_side(const struct guest *guest, struct guest_phys at,
					    uint64_t page_count)
{
	if (!is_in_one_area(at.value, page_count))
		return BULKHEAD_BAD_ADDRESS;
	if (!guest_declares(guest, at, page_count))
		return BULKHEAD_INVALID;
	if (!address_space_is_empty(&guest->space, input_of_guest(at), (unsigned int)page_count))
		return BULKHEAD_OCCUPIED;
	return check_guest_tables(guest, at, page_count);
}

static void flush_service(struct core_locked held)
{
	arch_flush(&held.core->service);
	address_space_collect(&held.core->service);
}

/* Takes pages out of the service domain's reach. After this nobody has a translation of them. */
static void hide_from_service(struct core_locked held, struct phys page, struct frame *frames,
			      uint64_t page_count)
{
	frame_set(&held.core->frames, frames, page_count, FRAME_NOBODY, NO_GUEST, 0);
	address_space_set(&held.core->service, input_of_service(page), page,
			  (unsigned int)page_count, ACCESS_ZERO);
	flush_service(held);
}

/* Puts clean pages into the service domain's reach; the flush drops the zeros it saw there. */
static void show_to_service(struct core_locked held, struct phys page, struct frame *frames,
			    uint64_t page_count)
{
	frame_set(&held.core->frames, frames, page_count, FRAME_SERVICE, NO_GUEST, 0);
	address_space_set(&held.core->service, input_of_service(page), page,
			  (unsigned int)page_count, ACCESS_ALL);
	flush_service(held);
}

/* Clears the next pages of a run; true when all are clear. */
static bool clear_step(struct phys page, uint32_t page_count, uint32_t *done)
{
	uint32_t end = *done + CLEAR_STEP_PAGES < page_count ? *done + CLEAR_STEP_PAGES : page_count;

	for (; *done < end; ++*done)
		arch_clear_page(phys_plus_pages(page, *done));
	return *done == page_count;
}

/* One step of a transfer; maps the pages when all are clear or measured. */
static enum bulkhead_error continue_transfer(struct core_locked held, struct guest *guest)
{
	struct transfer *transfer = &guest->transfer;
	struct phys page = phys_plus_pages(transfer->page, transfer->done);
	struct guest_phys at = guest_phys_plus_pages(transfer->at, transfer->done);
	struct frame *frames = frame_of(&held.core->frames, transfer->page);

	if (transfer->kind != TRANSFER_LOAD) {
		if (!clear_step(transfer->page, transfer->page_count, &transfer->done))
			return BULKHEAD_AGAIN;
	} else {
		if (measure_page(&guest->measurement, BULKHEAD_RECORD_PAGE, at.value,
				 arch_page(page)) == BULKHEAD_AGAIN)
			return BULKHEAD_AGAIN;
		if (++transfer->done < transfer->page_count)
			return BULKHEAD_AGAIN;
	}
	if (transfer->kind == TRANSFER_TAKE) {
		frame_set(&held.core->frames, frames, transfer->page_count, FRAME_VCPU,
			  guest_slot(guest), 0);
		guest->memory_pages -= transfer->page_count;
		*transfer = (struct transfer){ 0 };
		return BULKHEAD_OK;
	}
	frame_set(&held.core->frames, frames, transfer->page_count, FRAME_GUEST, guest_slot(guest),
		  (uint32_t)(transfer->at.value / PAGE_BYTES));
	address_space_set(&guest->space, input_of_guest(transfer->at), transfer->page,
			  transfer->page_count, ACCESS_CPU);
	*transfer = (struct transfer){ 0 };
	return BULKHEAD_OK;
}

/* Takes the pages from the service domain. Few are cleared at once; more, or what is measured, at the next call. */
static enum bulkhead_error begin_transfer(struct core_locked held, struct guest *guest, struct frame *frames,
					  const struct transfer *transfer)
{
	hide_from_service(held, transfer->page, frames, transfer->page_count);
	guest->memory_pages += transfer->page_count;
	guest->transfer = *transfer;
	if (transfer->page_count > CLEAR_STEP_PAGES || transfer->kind == TRANSFER_LOAD)
		return BULKHEAD_AGAIN;
	return continue_transfer(held, guest);
}

static bool is_same_transfer(const struct transfer *transfer, struct phys page,
			     struct guest_phys at, uint64_t page_count, enum transfer_kind kind)
{
	return transfer->kind == kind && transfer->page.value == page.value &&
	       transfer->at.value == at.value && transfer->page_count == page_count;
}

/* Loading ends with the seal; zeroed pages may fill empty addresses as long as the guest lives. */
static enum bulkhead_error check_may_fill(const struct guest *guest, enum transfer_kind kind)
{
	if (!guest->is_protected)
		return BULKHEAD_BAD_STATE;
	if (guest->state == BULKHEAD_GUEST_LOADING)
		return BULKHEAD_OK;
	if (guest->state == BULKHEAD_GUEST_SEALED && kind == TRANSFER_DONATE)
		return BULKHEAD_OK;
	return BULKHEAD_BAD_STATE;
}

/* Finds pages that can go from the service domain to empty addresses of a guest. */
static enum bulkhead_error find_for_guest(struct core_locked held, const struct guest *guest, struct phys page,
					  struct guest_phys at, uint64_t page_count, struct frame **frames)
{
	enum bulkhead_error error = check_count(page_count);

	if (error)
		return error;
	error = find_service_pages(held, page, page_count, frames);
	if (error)
		return error;
	return check_guest_side(guest, at, page_count);
}

enum bulkhead_error ownership_give(struct core_locked held, struct guest *guest, struct phys page,
				   struct guest_phys at, uint64_t page_count,
				   enum transfer_kind kind)
{
	enum bulkhead_error error = check_may_fill(guest, kind);
	struct frame *frames;

	if (error)
		return error;
	if (guest->transfer.kind != TRANSFER_NONE) {
		if (!is_same_transfer(&guest->transfer, page, at, page_count, kind))
			return BULKHEAD_BUSY;
		return continue_transfer(held, guest);
	}
	error = find_for_guest(held, guest, page, at, page_count, &frames);
	if (error)
		return error;
	error = check_service_tables(held, page, page_count, RESERVED_TABLES);
	if (error)
		return error;

	/* Builds the guest's tables now, so that the end of the transfer needs none. */
	address_space_prepare(&guest->space, input_of_guest(at), (unsigned int)page_count);
	return begin_transfer(held, guest, frames, &(struct transfer){ kind, page, at, (uint32_t)page_count, 0 });
}

static bool is_alive(const struct guest *guest)
{
	return guest->state == BULKHEAD_GUEST_LOADING || guest->state == BULKHEAD_GUEST_SEALED;
}

enum bulkhead_error ownership_lend(struct core_locked held, struct guest *guest, struct phys page,
				   struct guest_phys at, uint64_t page_count)
{
	enum bulkhead_error error;
	struct frame *frames;

	if (guest->is_protected || !is_alive(guest))
		return BULKHEAD_BAD_STATE;
	error = find_for_guest(held, guest, page, at, page_count, &frames);
	if (error)
		return error;

	frame_set(&held.core->frames, frames, page_count, FRAME_LENT, guest_slot(guest),
		  (uint32_t)(at.value / PAGE_BYTES));
	address_space_set(&guest->space, input_of_guest(at), page, (unsigned int)page_count,
			  ACCESS_CPU);
	guest->memory_pages += page_count;
	return BULKHEAD_OK;
}

/* Pages that were lent to a guest, at addresses in a row. */
static enum bulkhead_error find_lent_pages(struct core_locked held, const struct guest *guest,
					   struct phys page, uint64_t page_count,
					   struct frame **frames)
{
	enum bulkhead_error error = find_pages(held, page, page_count, frames);
	uint8_t slot = guest_slot(guest);
	uint32_t where;

	if (error)
		return error;
	where = (*frames)->where;
	for (const struct frame *frame = *frames; frame < *frames + page_count; frame++) {
		if (frame->state != FRAME_LENT || frame->guest != slot)
			return BULKHEAD_NOT_OWNED;
		if (frame->where != where++)
			return BULKHEAD_BAD_ADDRESS;
	}
	return BULKHEAD_OK;
}

enum bulkhead_error ownership_unlend(struct core_locked held, struct guest *guest,
				     struct phys page, uint64_t page_count)
{
	enum bulkhead_error error = check_count(page_count);
	struct guest_phys at;
	struct frame *frames;

	if (!is_alive(guest))
		return BULKHEAD_BAD_STATE;
	if (error)
		return error;
	error = find_lent_pages(held, guest, page, page_count, &frames);
	if (error)
		return error;
	at = guest_phys_at(frames->where * PAGE_BYTES);
	if (!is_in_one_area(at.value, page_count))
		return BULKHEAD_BAD_ADDRESS;
	error = check_guest_tables(guest, at, page_count);
	if (error)
		return error;

	address_space_set(&guest->space, input_of_guest(at), page, (unsigned int)page_count,
			  ACCESS_NONE);
	arch_flush(&guest->space);
	frame_set(&held.core->frames, frames, page_count, FRAME_SERVICE, NO_GUEST, 0);
	guest->memory_pages -= page_count;
	return BULKHEAD_OK;
}

enum bulkhead_error ownership_relinquish(struct core_locked held, struct guest *guest,
					 struct guest_phys at, struct phys *page)
{
	struct mapping mapping;
	enum bulkhead_error error;

	if (!guest->is_protected || guest->state != BULKHEAD_GUEST_SEALED)
		return BULKHEAD_BAD_STATE;
	if (!is_page_aligned(at.value) || !guest_declares(guest, at, 1))
		return BULKHEAD_BAD_ADDRESS;
	mapping = address_space_lookup(&guest->space, input_of_guest(at));
	if (mapping.access == ACCESS_NONE)
		return BULKHEAD_NOT_FILLED;
	error = check_guest_tables(guest, at, 1);
	if (error)
		return error;

	address_space_set(&guest->space, input_of_guest(at), mapping.page, 1, ACCESS_NONE);
	arch_flush(&guest->space);
	arch_clear_page(mapping.page);
	frame_set(&held.core->frames, frame_of(&held.core->frames, mapping.page), 1, FRAME_RELEASED,
		  NO_GUEST, 0);
	guest->memory_pages--;
	*page = mapping.page;
	return BULKHEAD_OK;
}

enum bulkhead_error ownership_take_back(struct core_locked held, struct phys page,
					uint64_t page_count)
{
	enum bulkhead_error error = check_count(page_count);
	struct frame *frames;

	if (error)
		return error;
	frames = frame_run(&held.core->frames, page, page_count);
	if (!is_in_one_area(page.value, page_count) || !frames)
		return BULKHEAD_BAD_ADDRESS;
	for (uint64_t i = 0; i < page_count; i++)
		if (frames[i].state != FRAME_RELEASED)
			return BULKHEAD_NOT_OWNED;
	error = check_service_tables(held, page, page_count, RESERVED_TABLES);
	if (error)
		return error;

	show_to_service(held, page, frames, page_count);
	return BULKHEAD_OK;
}

/* Takes pages for the hypervisor's use. @reserve: spare tables that must be left */
static enum bulkhead_error take(struct core_locked held, struct phys page, uint64_t page_count,
				enum frame_state state, uint8_t guest, unsigned int reserve)
{
	struct frame *frames;
	uint32_t done = 0;
	enum bulkhead_error error = find_service_pages(held, page, page_count, &frames);

	if (error)
		return error;
	error = check_service_tables(held, page, page_count, reserve);
	if (error)
		return error;

	hide_from_service(held, page, frames, page_count);
	(void)clear_step(page, (uint32_t)page_count, &done);
	frame_set(&held.core->frames, frames, page_count, state, guest, 0);
	return BULKHEAD_OK;
}

enum bulkhead_error ownership_take(struct core_locked held, struct phys page, uint64_t page_count,
				   enum frame_state state, uint8_t guest)
{
	return take(held, page, page_count, state, guest, RESERVED_TABLES);
}

enum bulkhead_error ownership_take_many(struct core_locked held, struct guest *guest,
					struct phys page, uint64_t page_count)
{
	const struct guest_phys nowhere = { 0 };
	struct frame *frames;
	enum bulkhead_error error;

	if (guest->transfer.kind != TRANSFER_NONE) {
		if (!is_same_transfer(&guest->transfer, page, nowhere, page_count, TRANSFER_TAKE))
			return BULKHEAD_BUSY;
		return continue_transfer(held, guest);
	}
	error = find_service_pages(held, page, page_count, &frames);
	if (error)
		return error;
	error = check_service_tables(held, page, page_count, RESERVED_TABLES);
	if (error)
		return error;

	return begin_transfer(held, guest, frames,
			      &(struct transfer){ TRANSFER_TAKE, page, nowhere, (uint32_t)page_count, 0 });
}

enum bulkhead_error ownership_pay(struct core_locked held, struct guest *guest, struct phys page)
{
	struct address_space *space = guest ? &guest->space : &held.core->service;
	/* Paying for the service domain must be possible when it has nothing but the reserve. */
	unsigned int reserve = guest ? RESERVED_TABLES : 0;
	enum bulkhead_error error;

	if (guest && !is_alive(guest))
		return BULKHEAD_BAD_STATE;
	error = take(held, page, 1, FRAME_TABLE, guest ? guest_slot(guest) : NO_GUEST, reserve);
	if (error)
		return error;
	address_space_add_table(space, page);
	return BULKHEAD_OK;
}

enum bulkhead_error ownership_refund(struct core_locked held, struct guest *guest,
				     struct phys *page)
{
	struct address_space *space = guest ? &guest->space : &held.core->service;
	unsigned int reserve = guest ? 0 : RESERVED_TABLES;
	enum bulkhead_error error;
	uint32_t done = 0;

	if (guest && !is_alive(guest))
		return BULKHEAD_BAD_STATE;
	if (space->paid.page_count == 0 || address_space_spare(space) <= reserve)
		return BULKHEAD_LIMIT;
	*page = space->paid.first;
	/* A table of the service domain's must not be needed to give itself back. */
	error = check_service_tables(held, *page, 1, RESERVED_TABLES + 1);
	if (error)
		return error;

	*page = table_pool_take(&space->paid);
	return ownership_return(held, *page, 1, &done);
}

enum bulkhead_error ownership_return(struct core_locked held, struct phys page,
				     uint32_t page_count, uint32_t *done)
{
	struct frame *frames = frame_of(&held.core->frames, page);
	enum bulkhead_error error = check_service_tables(held, page, page_count, RESERVED_TABLES);

	if (error)
		return error;

	if (*done == 0)
		frame_set(&held.core->frames, frames, page_count, FRAME_NOBODY, NO_GUEST, 0);
	if (!clear_step(page, page_count, done))
		return BULKHEAD_AGAIN;
	show_to_service(held, page, frames, page_count);
	*done = 0;
	return BULKHEAD_OK;
}

enum bulkhead_error ownership_pin(struct core_locked held, struct phys page)
{
	struct frame *frame = frame_of(&held.core->frames, page);

	if (!frame)
		return BULKHEAD_BAD_ADDRESS;
	if (frame->state != FRAME_SERVICE)
		return BULKHEAD_NOT_OWNED;
	if (frame->pins == UINT16_MAX)
		return BULKHEAD_LIMIT;
	frame->pins++;
	return BULKHEAD_OK;
}

void ownership_unpin(struct core_locked held, struct phys page)
{
	frame_of(&held.core->frames, page)->pins--;
}

void *ownership_service_page(struct core_locked held, struct phys page)
{
	const struct frame *frame = frame_of(&held.core->frames, page);

	if (!frame || (frame->state != FRAME_SERVICE && frame->state != FRAME_LENT))
		return NULL;
	return arch_page(page);
}

void ownership_wipe_guests(struct core_locked held)
{
	static const bool is_secret[FRAME_STATE_COUNT] = {
		[FRAME_NOBODY] = true,
		[FRAME_GUEST] = true,
		[FRAME_VCPU] = true,
	};
	const struct frame_table *table = &held.core->frames;

	for (uint32_t i = 0; i < table->range_count; i++) {
		const struct frame_range *range = &table->ranges[i];

		for (uint64_t page = 0; page < range->page_count; page++)
			if (is_secret[range->frames[page].state])
				arch_clear_page(phys_at((range->first_page + page) * PAGE_BYTES));
	}
}
