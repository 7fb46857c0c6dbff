/* SPDX-License-Identifier: MIT */
/*
 * The end of a guest. Once no vCPU runs and every processor has dropped the guest's translations,
 * nobody can reach its memory; it is then cleared and given back a piece at a time: an unfinished
 * transfer, what is mapped, the vCPUs' pages, the platform, the tables, the root.
 */
#include "guest_platform.h"

/* Pages in a row that one step gives back: neighbours in the guest and in memory, one area. */
static uint32_t run_length(const struct guest *guest, struct guest_phys at,
			   const struct mapping *first)
{
	uint32_t count = 1;

	if (first->level > 0)
		return BULKHEAD_LARGE_PAGE_PAGES;
	while (count < CLEAR_STEP_PAGES) {
		struct guest_phys next = guest_phys_plus_pages(at, count);
		struct phys expected = phys_plus_pages(first->page, count);
		struct mapping mapping = address_space_lookup(&guest->space, input_of_guest(next));

		if (level_index(input_of_guest(next), 0) == 0 || expected.value % level_bytes(1) == 0)
			break;
		if (mapping.access == ACCESS_NONE || mapping.page.value != expected.value)
			break;
		count++;
	}
	return count;
}

/* Ends lending of pages, or clears and returns the guest's own. */
static enum bulkhead_error return_run(struct core_locked held, struct guest *guest,
				      struct phys page, uint32_t page_count)
{
	struct frame *frames = frame_of(&held.core->frames, page);

	if (frames->state == FRAME_LENT) {
		frame_set(&held.core->frames, frames, page_count, FRAME_SERVICE, NO_GUEST, 0);
		return BULKHEAD_OK;
	}
	return ownership_return(held, page, page_count, &guest->teardown.done);
}

static enum bulkhead_error return_transfer(struct core_locked held, struct guest *guest)
{
	const struct transfer *transfer = &guest->transfer;
	enum bulkhead_error error =
		return_run(held, guest, transfer->page, transfer->page_count);

	if (error)
		return error;
	guest->memory_pages -= transfer->page_count;
	guest->transfer = (struct transfer){ 0 };
	return BULKHEAD_AGAIN;
}

/* The next pages the guest has mapped; BULKHEAD_OK when there are none left. */
static enum bulkhead_error return_mapped(struct core_locked held, struct guest *guest)
{
	struct input_address at = input_of_guest(guest->teardown.next);
	enum bulkhead_error error =
		address_space_next_leaf(&guest->space, &at, 1ull << BULKHEAD_GUEST_ADDRESS_BITS);
	struct mapping mapping;
	uint32_t page_count;

	guest->teardown.next = guest_phys_at(at.value);
	if (error == BULKHEAD_NOT_FILLED)
		return BULKHEAD_OK;
	if (error)
		return error;
	mapping = address_space_lookup(&guest->space, at);
	page_count = run_length(guest, guest->teardown.next, &mapping);
	error = return_run(held, guest, mapping.page, page_count);
	if (error)
		return error;
	address_space_set(&guest->space, at, mapping.page, page_count, ACCESS_NONE);
	guest->memory_pages -= page_count;
	return BULKHEAD_AGAIN;
}

static enum bulkhead_error return_vcpu(struct core_locked held, struct guest *guest)
{
	struct vcpu *vcpu = &guest->vcpus[guest->teardown.vcpu_next];
	enum bulkhead_error error;

	if (vcpu->state != VCPU_FREE) {
		error = ownership_return(held, vcpu->pages, vcpu->page_count,
					 &guest->teardown.done);
		if (error)
			return error;
		ownership_unpin(held, vcpu->run_page);
		guest->vcpu_count--;
		*vcpu = (struct vcpu){ 0 };
	}
	guest->teardown.vcpu_next++;
	return BULKHEAD_AGAIN;
}

/* Gives back one page that is in no table any more. */
static enum bulkhead_error return_page(struct core_locked held, struct phys page)
{
	uint32_t done = 0;

	return ownership_return(held, page, 1, &done);
}

/* Tables with nothing below become spare; the spare ones, and last the root, are given back. */
static enum bulkhead_error return_tables(struct core_locked held, struct guest *guest)
{
	struct address_space *space = &guest->space;
	enum bulkhead_error error;
	struct phys table;

	if (address_space_unlink_table(space, &table)) {
		address_space_add_table(space, table);
		return BULKHEAD_AGAIN;
	}
	if (space->paid.page_count > 0) {
		table = table_pool_take(&space->paid);
		error = return_page(held, table);
		if (error)
			address_space_add_table(space, table);
		return error ? error : BULKHEAD_AGAIN;
	}
	error = return_page(held, space->root);
	if (error)
		return error;
	*guest = (struct guest){ 0 };
	return BULKHEAD_OK;
}

enum bulkhead_error guest_destroy(struct core_locked held, struct guest *guest)
{
	enum bulkhead_error error;

	guest->state = BULKHEAD_GUEST_DYING;
	if (guest->running > 0)
		return BULKHEAD_BUSY;
	if (!guest->teardown.is_flushed) {
		arch_flush(&guest->space);
		guest->teardown.is_flushed = true;
	}
	if (guest->transfer.kind != TRANSFER_NONE)
		return return_transfer(held, guest);
	error = return_mapped(held, guest);
	if (error)
		return error;
	if (guest->teardown.vcpu_next < BULKHEAD_MAX_VCPUS)
		return return_vcpu(held, guest);
	if (guest->platform)
		return guest_platform_return(held, guest);
	return return_tables(held, guest);
}
