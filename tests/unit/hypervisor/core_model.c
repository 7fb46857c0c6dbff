/* SPDX-License-Identifier: MIT */
/*
 * The naive model and its comparison with the core.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core_model.h"

#define RAM_PAGES    (FAKE_RAM_BYTES / PAGE_BYTES)
#define GUESTS	     3u		     /* the model's; fewer than slots, so that they meet often */
#define GUEST_PAGES  2048u	     /* of a guest's space that is used */
#define OWN_FIRST    (FAKE_OWN_BASE / PAGE_BYTES)
#define OWN_LAST     ((FAKE_OWN_BASE + FAKE_OWN_BYTES) / PAGE_BYTES)
#define SAMPLES	     12u
#define VCPU_PAGES   (1u + FAKE_VCPU_PAGES)
#define LOAD_CALLS   11u /* hypercalls that hash one page: 64 blocks, 6 a call */

struct model_page {
	uint8_t state; /* enum frame_state */
	uint8_t guest; /* index into guests, or NO_GUEST */
	uint16_t pins;
	uint32_t where;
	uint64_t content;
};

struct model_vcpu {
	bool exists, is_ready, is_running;
	uint32_t first_page;
	uint32_t run_page;
};

struct model_guest {
	uint64_t handle; /* 0: none */
	uint8_t slot;
	uint8_t state;
	bool is_protected;
	uint32_t ranges;
	struct { uint64_t first, count; } range[BULKHEAD_MAX_RANGES];
	uint32_t filled[GUEST_PAGES]; /* page + 1, 0: empty */
	uint32_t root;
	struct { int kind; uint64_t page, at, count; uint64_t calls_left; } transfer;
	struct model_vcpu vcpus[BULKHEAD_MAX_VCPUS];
	uint64_t seal_calls_left;
	uint64_t records;
};

static struct model_page pages[RAM_PAGES];
static struct model_guest guests[GUESTS];
static struct model_source source;
static unsigned int depth; /* 1 inside a running vCPU */
static uint64_t step_count;
static const char *step_name;

uint64_t model_done[BULKHEAD_CALL_COUNT + 1];

#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition))                                                                  \
			differ(#condition, __LINE__);                                              \
	} while (0)

static void differ(const char *condition, int line)
{
	fprintf(stderr, "core and model differ at step %llu (%s): %s (line %d)\n",
		(unsigned long long)step_count, step_name, condition, line);
	abort();
}

/* A number below limit from the source. */
static uint64_t choose(uint64_t limit)
{
	uint64_t value = 0;

	if (source.data) {
		for (uint64_t left = limit - 1; left > 0 && source.size_bytes > 0; left >>= 8) {
			value = value << 8 | *source.data++;
			source.size_bytes--;
		}
		return value % limit;
	}
	source.seed ^= source.seed << 13;
	source.seed ^= source.seed >> 7;
	source.seed ^= source.seed << 17;
	return (source.seed >> 16) % limit;
}

static bool chance(unsigned int one_in)
{
	return choose(one_in) == 0;
}

void model_start(const struct model_source *new_source)
{
	fake_start(6);
	source = *new_source;
	memset(guests, 0, sizeof(guests));
	depth = 0;
	step_count = 0;
	step_name = "start";
	for (uint32_t i = 0; i < RAM_PAGES; i++)
		pages[i] = (struct model_page){
			.state = i >= OWN_FIRST && i < OWN_LAST ? FRAME_HYPERVISOR : FRAME_SERVICE,
			.guest = NO_GUEST,
		};
}

/* Moves a run back so that it ends inside its area, mostly. */
static uint64_t fit(uint64_t address, uint64_t count)
{
	uint64_t offset = address / PAGE_BYTES % 512;

	if (count > 512 || offset + count <= 512 || chance(8))
		return address;
	return address - (offset + count - 512) * PAGE_BYTES;
}

/* Six areas of 2 MiB, one with a change of memory type inside, and now and then anything. */
static uint64_t pick_page(void)
{
	static const uint64_t areas[] = { 1, 2, 16, 17, 20, 31 };

	if (chance(64))
		return choose(1ull << 36);
	if (chance(64))
		return (OWN_FIRST + choose(OWN_LAST - OWN_FIRST)) * PAGE_BYTES;
	if (chance(3))
		return areas[choose(6)] * 512 * PAGE_BYTES;
	return (areas[choose(6)] * 512 + choose(chance(2) ? 24 : 512)) * PAGE_BYTES;
}

/* Mostly one that is still the service domain's. */
static uint64_t choose_page(void)
{
	uint64_t page = pick_page();

	for (int i = 0; i < 12 && !chance(12); i++) {
		if (page < FAKE_RAM_BYTES && pages[page / PAGE_BYTES].state == FRAME_SERVICE)
			break;
		page = pick_page();
	}
	return page;
}

static uint64_t choose_guest_address(void)
{
	if (chance(64))
		return choose(1ull << 41);
	if (chance(3))
		return choose(GUEST_PAGES / 512) * 512 * PAGE_BYTES;
	return choose(chance(2) ? 32 : GUEST_PAGES) * PAGE_BYTES;
}

static uint64_t choose_count(void)
{
	switch (choose(8)) {
	case 0:
		return 512;
	case 1:
		return choose(515);
	case 2:
	case 3:
		return 1 + choose(40);
	default:
		return 1;
	}
}

static struct model_guest *choose_guest(void)
{
	uint64_t first = choose(GUESTS);

	for (uint64_t i = 0; i < GUESTS && !chance(16); i++)
		if (guests[(first + i) % GUESTS].handle)
			return &guests[(first + i) % GUESTS];
	return &guests[first];
}

/* Makes a run fit; whole large pages mostly come from areas that little else uses. */
static void fit_run(uint64_t *page, uint64_t *at, uint64_t count)
{
	if (count == 512 && !chance(8))
		*page = (24 + choose(4)) * 512 * PAGE_BYTES;
	*page = fit(*page, count);
	*at = fit(*at, count);
}

/* A guest's handle, and now and then one that names none. */
static uint64_t handle_of(const struct model_guest *guest)
{
	return chance(100) ? choose(1ull << 32) : guest->handle;
}

static struct model_guest *find_model(uint64_t handle)
{
	for (unsigned int i = 0; i < GUESTS; i++)
		if (handle != 0 && guests[i].handle == handle)
			return &guests[i];
	return NULL;
}

static struct address_space *space_of(const struct model_guest *guest)
{
	return &core.guests[guest->slot].space;
}

/* Compares one page in every way there is to look at it. */
static void check_page(uint64_t index)
{
	struct phys page = phys_at(index * PAGE_BYTES);
	const struct model_page *model = &pages[index];
	const struct frame *frame = frame_of(&core.frames, page);
	bool is_service = model->state == FRAME_SERVICE || model->state == FRAME_LENT;
	bool is_guest = model->state == FRAME_GUEST || model->state == FRAME_LENT;

	EXPECT(frame->state == model->state);
	EXPECT(frame->pins == model->pins);
	EXPECT(fake_is_coherent(&core.service, input_of_service(page)));
	for (int viewer = 0; viewer < VIEWER_COUNT; viewer++) {
		struct view view = fake_view(viewer, &core.service, input_of_service(page));

		EXPECT(view.can_write == is_service);
		EXPECT(!is_service || view.page.value == page.value);
		EXPECT(is_service || !view.can_read || view.page.value == core.zero.page.value);
		EXPECT(is_service || viewer != VIEWER_IOMMU || !view.can_read);
	}
	if (is_guest && guests[model->guest].state != BULKHEAD_GUEST_DYING) {
		struct input_address at = { model->where * PAGE_BYTES };

		EXPECT(frame->guest == guests[model->guest].slot);
		EXPECT(frame->where == model->where);
		EXPECT(fake_is_coherent(space_of(&guests[model->guest]), at));
		for (int viewer = 0; viewer < VIEWER_IOMMU; viewer++) {
			struct view view = fake_view(viewer, space_of(&guests[model->guest]), at);

			EXPECT(view.can_write && view.page.value == page.value);
		}
	}
	if (!is_service && !is_guest && page.value != core.zero.page.value)
		EXPECT(!fake_is_reachable(page));
	if (is_service || is_guest || model->state == FRAME_RELEASED)
		EXPECT(fake_peek(page) == model->content);
}

static bool is_ram_run(uint64_t page, uint64_t count)
{
	return page % PAGE_BYTES == 0 && page / PAGE_BYTES < RAM_PAGES &&
	       count <= RAM_PAGES - page / PAGE_BYTES;
}

/* Looks at pages a call named: all records' states, some through every viewer. */
static void check_run(uint64_t page, uint64_t count)
{
	uint64_t first = page / PAGE_BYTES;
	uint64_t step = count / SAMPLES + 1;

	if (!is_ram_run(page, count))
		return;
	for (uint64_t i = 0; i < count; i++)
		EXPECT(frame_of(&core.frames, phys_at((first + i) * PAGE_BYTES))->state ==
		       pages[first + i].state);
	for (uint64_t i = choose(step); i < count; i += step)
		check_page(first + i);
}

/* Lets every viewer keep what it can see of pages a call is about to change. */
static void touch_run(uint64_t page, uint64_t at, uint64_t count, const struct model_guest *guest)
{
	uint64_t step = count / SAMPLES + 1;

	for (uint64_t i = choose(step); i < count; i += step) {
		if (is_ram_run(page, count))
			fake_touch(&core.service,
				   input_of_service(phys_at(page + i * PAGE_BYTES)), 1);
		if (guest && guest->handle && guest->state != BULKHEAD_GUEST_DYING)
			fake_touch(space_of(guest),
				   (struct input_address){ (at & ~4095ull) + i * PAGE_BYTES }, 1);
	}
}

static void set_run(uint64_t page, uint64_t count, uint8_t state, const struct model_guest *guest,
		    uint64_t where)
{
	for (uint64_t i = 0; i < count; i++) {
		struct model_page *model = &pages[page / PAGE_BYTES + i];

		model->state = state;
		model->guest = guest ? (uint8_t)(guest - guests) : NO_GUEST;
		model->where = (uint32_t)(where + i);
	}
}

static void set_content(uint64_t page, uint64_t count, uint64_t content)
{
	for (uint64_t i = 0; i < count; i++)
		pages[page / PAGE_BYTES + i].content = content;
}

/* Only the core knows how many tables it has; that it ran short must at least be plausible. */
static bool ran_short(enum bulkhead_error error, const struct model_guest *guest)
{
	if (error != BULKHEAD_NO_TABLES)
		return false;
	EXPECT(address_space_spare(&core.service) < RESERVED_TABLES + 4 ||
	       (guest && address_space_spare(space_of(guest)) < 4));
	return true;
}

static bool in_area(uint64_t address, uint64_t count)
{
	return address % PAGE_BYTES == 0 &&
	       address / (2ull << 20) == (address + count * PAGE_BYTES - 1) / (2ull << 20);
}

static enum bulkhead_error expect_service_run(uint64_t page, uint64_t count)
{
	if (!in_area(page, count) || !is_ram_run(page, count))
		return BULKHEAD_BAD_ADDRESS;
	for (uint64_t i = 0; i < count; i++)
		if (pages[page / PAGE_BYTES + i].state != FRAME_SERVICE ||
		    pages[page / PAGE_BYTES + i].pins)
			return BULKHEAD_NOT_OWNED;
	return BULKHEAD_OK;
}

static bool is_declared(const struct model_guest *guest, uint64_t first, uint64_t count)
{
	for (uint32_t i = 0; i < guest->ranges; i++)
		if (first >= guest->range[i].first &&
		    first + count <= guest->range[i].first + guest->range[i].count)
			return true;
	return false;
}

static enum bulkhead_error expect_empty_run(const struct model_guest *guest, uint64_t at,
					    uint64_t count)
{
	if (!in_area(at, count))
		return BULKHEAD_BAD_ADDRESS;
	if (!is_declared(guest, at / PAGE_BYTES, count))
		return BULKHEAD_INVALID;
	for (uint64_t i = 0; i < count; i++)
		if (guest->filled[at / PAGE_BYTES + i])
			return BULKHEAD_OCCUPIED;
	return BULKHEAD_OK;
}

static void fill(struct model_guest *guest, uint64_t at, uint64_t page, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		guest->filled[at / PAGE_BYTES + i] =
			page ? (uint32_t)(page / PAGE_BYTES + i + 1) : 0;
}

static enum bulkhead_error expect_give(const struct model_guest *guest, uint64_t page, uint64_t at,
				       uint64_t count, int kind)
{
	enum bulkhead_error error;

	if (!guest)
		return BULKHEAD_NO_GUEST;
	if (!guest->is_protected || (guest->state != BULKHEAD_GUEST_LOADING &&
				     (guest->state != BULKHEAD_GUEST_SEALED ||
				      kind != TRANSFER_DONATE)))
		return BULKHEAD_BAD_STATE;
	if (guest->transfer.kind)
		return guest->transfer.kind == kind && guest->transfer.page == page &&
				       guest->transfer.at == at && guest->transfer.count == count ?
			       BULKHEAD_OK :
			       BULKHEAD_BUSY;
	if (count == 0 || count > 512)
		return BULKHEAD_INVALID;
	error = expect_service_run(page, count);
	return error ? error : expect_empty_run(guest, at, count);
}

static void step_give(void)
{
	int kind = chance(3) ? TRANSFER_LOAD : TRANSFER_DONATE;
	uint64_t number = kind == TRANSFER_LOAD ? BULKHEAD_CALL_GUEST_LOAD :
						  BULKHEAD_CALL_GUEST_DONATE;
	struct model_guest *guest = choose_guest();
	uint64_t handle = handle_of(guest);
	uint64_t page = choose_page(), at = choose_guest_address(), count = choose_count();
	enum bulkhead_error expected, error;
	bool is_new;

	if (kind == TRANSFER_LOAD && count > 3)
		count = 1 + count % 3;
	if (guest->state == BULKHEAD_GUEST_SEALED && !chance(8)) {
		kind = TRANSFER_DONATE;
		number = BULKHEAD_CALL_GUEST_DONATE;
	}
	fit_run(&page, &at, count);
	if (guest->transfer.kind && !chance(8)) {
		kind = guest->transfer.kind;
		number = kind == TRANSFER_LOAD ? BULKHEAD_CALL_GUEST_LOAD :
						 BULKHEAD_CALL_GUEST_DONATE;
		page = guest->transfer.page;
		at = guest->transfer.at;
		count = guest->transfer.count;
	}
	guest = find_model(handle);
	expected = expect_give(guest, page, at, count, kind);
	touch_run(page, at, count <= 512 ? count : 0, guest);
	error = call(number, handle, page, at, count);
	if (!expected && ran_short(error, guest))
		return;
	if (expected) {
		EXPECT(error == expected);
		return;
	}
	is_new = guest->transfer.kind == 0;
	if (is_new) {
		guest->transfer.kind = kind;
		guest->transfer.page = page;
		guest->transfer.at = at;
		guest->transfer.count = count;
		guest->transfer.calls_left = kind == TRANSFER_LOAD ? LOAD_CALLS * count :
								     (count + 15) / 16;
		set_run(page, count, FRAME_NOBODY, guest, 0);
		if (kind == TRANSFER_DONATE)
			set_content(page, count, 0);
	}
	EXPECT(error == (--guest->transfer.calls_left ? BULKHEAD_AGAIN : BULKHEAD_OK));
	if (error == BULKHEAD_OK) {
		set_run(page, count, FRAME_GUEST, guest, at / PAGE_BYTES);
		fill(guest, at, page, count);
		guest->records += kind == TRANSFER_LOAD ? count : 0;
		memset(&guest->transfer, 0, sizeof(guest->transfer));
		/* Loaded pages keep what they hold, donated ones are clear: check_run() compares. */
	}
	if (is_new || error == BULKHEAD_OK)
		check_run(page, count);
	model_done[number]++;
}

static bool is_alive(const struct model_guest *guest)
{
	return guest->state == BULKHEAD_GUEST_LOADING || guest->state == BULKHEAD_GUEST_SEALED;
}

static void step_lend(void)
{
	struct model_guest *guest = choose_guest();
	uint64_t handle = handle_of(guest);
	uint64_t page = choose_page(), at = choose_guest_address(), count = choose_count();
	enum bulkhead_error expected = BULKHEAD_OK, error;

	fit_run(&page, &at, count);
	guest = find_model(handle);
	if (!guest)
		expected = BULKHEAD_NO_GUEST;
	else if (guest->is_protected || !is_alive(guest))
		expected = BULKHEAD_BAD_STATE;
	else if (count == 0 || count > 512)
		expected = BULKHEAD_INVALID;
	if (!expected)
		expected = expect_service_run(page, count);
	if (!expected)
		expected = expect_empty_run(guest, at, count);
	touch_run(page, at, count <= 512 ? count : 0, guest);
	error = call(BULKHEAD_CALL_GUEST_SHARE, handle, page, at, count);
	if (!expected && ran_short(error, guest))
		return;
	EXPECT(error == expected);
	if (error)
		return;
	set_run(page, count, FRAME_LENT, guest, at / PAGE_BYTES);
	fill(guest, at, page, count);
	check_run(page, count);
	model_done[BULKHEAD_CALL_GUEST_SHARE]++;
}

static enum bulkhead_error expect_unlend(const struct model_guest *guest, uint64_t page,
					 uint64_t count)
{
	const struct model_page *model = &pages[page / PAGE_BYTES];

	if (!guest)
		return BULKHEAD_NO_GUEST;
	if (!is_alive(guest))
		return BULKHEAD_BAD_STATE;
	if (count == 0 || count > 512)
		return BULKHEAD_INVALID;
	if (!in_area(page, count) || !is_ram_run(page, count))
		return BULKHEAD_BAD_ADDRESS;
	for (uint64_t i = 0; i < count; i++) {
		if (model[i].state != FRAME_LENT || model[i].guest != guest - guests)
			return BULKHEAD_NOT_OWNED;
		if (model[i].where != model[0].where + i)
			return BULKHEAD_BAD_ADDRESS;
	}
	return in_area(model[0].where * PAGE_BYTES, count) ? BULKHEAD_OK : BULKHEAD_BAD_ADDRESS;
}

/* A page of a guest's that is filled, if there is one near a random address. */
static uint64_t choose_filled(const struct model_guest *guest)
{
	uint64_t first = choose(GUEST_PAGES);

	for (uint64_t i = 0; i < 128; i++)
		if (guest->filled[(first + i) % GUEST_PAGES])
			return (first + i) % GUEST_PAGES;
	return first;
}

static void step_unlend(void)
{
	struct model_guest *guest = choose_guest();
	uint64_t at = choose_filled(guest);
	uint64_t page = guest->filled[at] && !chance(8) ? (guest->filled[at] - 1ull) * PAGE_BYTES :
							  choose_page();
	uint64_t count = choose_count(), handle = handle_of(guest);
	enum bulkhead_error expected, error;
	uint64_t where;

	guest = find_model(handle);
	expected = page < FAKE_RAM_BYTES ? expect_unlend(guest, page, count) : BULKHEAD_BAD_ADDRESS;
	if (page >= FAKE_RAM_BYTES)
		return;
	where = pages[page / PAGE_BYTES].where;
	touch_run(page, where * PAGE_BYTES, count <= 512 ? count : 0, guest);
	error = call(BULKHEAD_CALL_GUEST_UNSHARE, handle, page, count, 0);
	if (!expected && ran_short(error, guest))
		return;
	EXPECT(error == expected);
	if (error)
		return;
	set_run(page, count, FRAME_SERVICE, NULL, 0);
	fill(guest, where * PAGE_BYTES, 0, count);
	check_run(page, count);
	for (uint64_t i = 0; i < count; i += count / SAMPLES + 1) {
		struct input_address gone = { (where + i) * PAGE_BYTES };

		EXPECT(!fake_view(VIEWER_CPU0, space_of(guest), gone).can_read);
		EXPECT(!fake_view(VIEWER_CPU1, space_of(guest), gone).can_read);
	}
	model_done[BULKHEAD_CALL_GUEST_UNSHARE]++;
}

static void step_relinquish(void)
{
	struct model_guest *guest = choose_guest();
	uint64_t at = chance(16) ? choose_guest_address() : choose_filled(guest) * PAGE_BYTES;
	enum bulkhead_error expected = BULKHEAD_OK, error;
	struct phys page = { 0 };
	struct core_locked held;
	uint32_t filled;

	if (!guest->handle)
		return;
	if (!guest->is_protected || guest->state != BULKHEAD_GUEST_SEALED)
		expected = BULKHEAD_BAD_STATE;
	else if (at % PAGE_BYTES || !is_declared(guest, at / PAGE_BYTES, 1))
		expected = BULKHEAD_BAD_ADDRESS;
	else if (!guest->filled[at / PAGE_BYTES])
		expected = BULKHEAD_NOT_FILLED;
	touch_run(0, at, 1, guest);
	held = core_lock();
	error = ownership_relinquish(held, &core.guests[guest->slot], guest_phys_at(at), &page);
	core_unlock(held);
	if (!expected && ran_short(error, guest))
		return;
	EXPECT(error == expected);
	if (error)
		return;
	filled = guest->filled[at / PAGE_BYTES];
	EXPECT(page.value == (filled - 1ull) * PAGE_BYTES);
	guest->filled[at / PAGE_BYTES] = 0;
	set_run(page.value, 1, FRAME_RELEASED, NULL, 0);
	set_content(page.value, 1, 0);
	check_run(page.value, 1);
	EXPECT(!fake_view(VIEWER_CPU0, space_of(guest), (struct input_address){ at }).can_read);
	EXPECT(!fake_view(VIEWER_CPU1, space_of(guest), (struct input_address){ at }).can_read);
	model_done[BULKHEAD_CALL_COUNT]++;
}

static void step_take_back(void)
{
	uint64_t page = choose_page(), count = chance(3) ? choose_count() : 1;
	enum bulkhead_error expected = BULKHEAD_OK, error;

	/* Released pages are rare: look for one near. */
	for (uint64_t i = 0; i < 256 && !chance(16) && page < FAKE_RAM_BYTES - PAGE_BYTES; i++) {
		if (pages[page / PAGE_BYTES].state == FRAME_RELEASED)
			break;
		page += PAGE_BYTES;
	}
	if (count == 0 || count > 512)
		expected = BULKHEAD_INVALID;
	else if (!in_area(page, count) || !is_ram_run(page, count))
		expected = BULKHEAD_BAD_ADDRESS;
	for (uint64_t i = 0; !expected && i < count; i++)
		if (pages[page / PAGE_BYTES + i].state != FRAME_RELEASED)
			expected = BULKHEAD_NOT_OWNED;
	touch_run(page, 0, count <= 512 ? count : 0, NULL);
	error = call(BULKHEAD_CALL_GUEST_RECLAIM, page, count, 0, 0);
	if (!expected && ran_short(error, NULL))
		return;
	EXPECT(error == expected);
	if (error)
		return;
	set_run(page, count, FRAME_SERVICE, NULL, 0);
	check_run(page, count);
	model_done[BULKHEAD_CALL_GUEST_RECLAIM]++;
}

/* Pages a call takes from the service domain for the hypervisor's use. */
static void taken(uint64_t page, uint64_t count, uint8_t state, const struct model_guest *guest)
{
	set_run(page, count, state, guest, 0);
	check_run(page, count);
}

static void step_pay(void)
{
	struct model_guest *guest = chance(6) ? NULL : choose_guest();
	uint64_t page = choose_page(), handle = guest ? handle_of(guest) : 0;
	enum bulkhead_error expected = BULKHEAD_OK, error;

	guest = find_model(handle);
	if (!guest && handle)
		expected = BULKHEAD_NO_GUEST;
	else if (guest && !is_alive(guest))
		expected = BULKHEAD_BAD_STATE;
	if (!expected)
		expected = expect_service_run(page, 1);
	touch_run(page, 0, 1, NULL);
	error = call(BULKHEAD_CALL_GUEST_PAY, handle, page, 0, 0);
	if (!expected && ran_short(error, NULL))
		return;
	EXPECT(error == expected);
	if (!error)
		taken(page, 1, FRAME_TABLE, guest);
	model_done[BULKHEAD_CALL_GUEST_PAY] += !error;
}

static void step_refund(void)
{
	struct model_guest *guest = chance(3) ? NULL : choose_guest();
	uint64_t page = 0, handle = guest ? handle_of(guest) : 0;
	enum bulkhead_error error;
	const struct address_space *space;

	guest = find_model(handle);
	error = call2(BULKHEAD_CALL_GUEST_REFUND, handle, 0, &page);
	if (!guest && handle) {
		EXPECT(error == BULKHEAD_NO_GUEST);
		return;
	}
	if (guest && !is_alive(guest)) {
		EXPECT(error == BULKHEAD_BAD_STATE);
		return;
	}
	space = guest ? space_of(guest) : &core.service;
	if (error == BULKHEAD_LIMIT) {
		EXPECT(space->paid.page_count == 0 ||
		       (!guest && address_space_spare(space) <= RESERVED_TABLES));
		return;
	}
	if (ran_short(error, guest))
		return;
	EXPECT(error == BULKHEAD_OK && is_ram_run(page, 1));
	EXPECT(pages[page / PAGE_BYTES].state == FRAME_TABLE);
	EXPECT(pages[page / PAGE_BYTES].guest == (guest ? guest - guests : NO_GUEST));
	set_content(page, 1, 0);
	set_run(page, 1, FRAME_SERVICE, NULL, 0);
	check_run(page, 1);
	model_done[BULKHEAD_CALL_GUEST_REFUND]++;
}

static void step_create(void)
{
	struct model_guest *guest = &guests[choose(GUESTS)];
	uint64_t page = choose_page(), flags = chance(32) ? choose(8) : !chance(3), handle = 0;
	enum bulkhead_error expected = flags > 1 ? BULKHEAD_INVALID : BULKHEAD_OK, error;

	if (guest->handle)
		return;
	if (!expected)
		expected = expect_service_run(page, 1);
	touch_run(page, 0, 1, NULL);
	error = call2(BULKHEAD_CALL_GUEST_CREATE, page, flags, &handle);
	if (!expected && ran_short(error, NULL))
		return;
	EXPECT(error == expected);
	if (error)
		return;
	EXPECT(handle != 0 && !find_model(handle));
	memset(guest, 0, sizeof(*guest));
	guest->handle = handle;
	guest->slot = handle % BULKHEAD_MAX_GUESTS;
	guest->state = BULKHEAD_GUEST_LOADING;
	guest->is_protected = flags;
	guest->records = 1;
	guest->root = (uint32_t)(page / PAGE_BYTES);
	taken(page, 1, FRAME_TABLE, guest);
	model_done[BULKHEAD_CALL_GUEST_CREATE]++;
}

static void step_range(void)
{
	struct model_guest *guest = choose_guest();
	uint64_t handle = handle_of(guest);
	uint64_t at = choose_guest_address(), count = chance(8) ? choose(1ull << 29) : choose(1500);
	enum bulkhead_error expected = BULKHEAD_OK, error;

	/* Inside what the model keeps, or refused. */
	if (at / PAGE_BYTES < GUEST_PAGES && count > GUEST_PAGES - at / PAGE_BYTES &&
	    count <= (1ull << 28))
		count = GUEST_PAGES - at / PAGE_BYTES;
	if (at / PAGE_BYTES >= GUEST_PAGES && at < (1ull << 40))
		at = (1ull << 40) - PAGE_BYTES, count = 2;
	guest = find_model(handle);
	if (!guest)
		expected = BULKHEAD_NO_GUEST;
	else if (guest->state != BULKHEAD_GUEST_LOADING)
		expected = BULKHEAD_BAD_STATE;
	else if (guest->transfer.kind)
		expected = BULKHEAD_BUSY;
	else if (at % PAGE_BYTES)
		expected = BULKHEAD_BAD_ADDRESS;
	else if (count == 0 || at + count * PAGE_BYTES > 1ull << 40)
		expected = BULKHEAD_INVALID;
	else if (guest->ranges == BULKHEAD_MAX_RANGES)
		expected = BULKHEAD_LIMIT;
	for (uint32_t i = 0; !expected && i < guest->ranges; i++)
		if (at / PAGE_BYTES < guest->range[i].first + guest->range[i].count &&
		    guest->range[i].first < at / PAGE_BYTES + count)
			expected = BULKHEAD_OCCUPIED;
	error = call(BULKHEAD_CALL_GUEST_RANGE, handle, at, count, 0);
	EXPECT(error == expected);
	if (error)
		return;
	guest->range[guest->ranges].first = at / PAGE_BYTES;
	guest->range[guest->ranges++].count = count;
	guest->records++;
	model_done[BULKHEAD_CALL_GUEST_RANGE]++;
}

static void step_add_vcpu(void)
{
	struct model_guest *guest = choose_guest();
	uint64_t handle = handle_of(guest), index = choose(chance(8) ? 20 : 3);
	uint64_t first = choose_page(), run = chance(16) ? first : choose_page();
	enum bulkhead_error expected = BULKHEAD_OK, error;
	struct model_vcpu *vcpu;

	guest = find_model(handle);
	if (!guest)
		expected = BULKHEAD_NO_GUEST;
	else if (guest->state != BULKHEAD_GUEST_LOADING)
		expected = BULKHEAD_BAD_STATE;
	else if (index >= BULKHEAD_MAX_VCPUS)
		expected = BULKHEAD_INVALID;
	else if (guest->vcpus[index].exists)
		expected = BULKHEAD_OCCUPIED;
	else if (!is_ram_run(run, 1))
		expected = BULKHEAD_BAD_ADDRESS;
	else if (pages[run / PAGE_BYTES].state != FRAME_SERVICE)
		expected = BULKHEAD_NOT_OWNED;
	if (!expected && is_ram_run(first, VCPU_PAGES) && in_area(first, VCPU_PAGES) &&
	    run >= first && run < first + VCPU_PAGES * PAGE_BYTES)
		expected = BULKHEAD_NOT_OWNED;
	if (!expected)
		expected = expect_service_run(first, VCPU_PAGES);
	touch_run(first, 0, VCPU_PAGES, NULL);
	error = call(BULKHEAD_CALL_VCPU_CREATE, handle, index, first, run);
	if (!expected && ran_short(error, NULL))
		return;
	EXPECT(error == expected);
	if (error) {
		check_run(first, VCPU_PAGES);
		check_run(run, 1);
		return;
	}
	vcpu = &guest->vcpus[index];
	*vcpu = (struct model_vcpu){
		.exists = true,
		.first_page = (uint32_t)(first / PAGE_BYTES),
		.run_page = (uint32_t)(run / PAGE_BYTES),
	};
	pages[run / PAGE_BYTES].pins++;
	taken(first, VCPU_PAGES, FRAME_VCPU, guest);
	check_run(run, 1);
	model_done[BULKHEAD_CALL_VCPU_CREATE]++;
}

static bool registers_are_open(const struct model_guest *guest)
{
	return guest->state == BULKHEAD_GUEST_LOADING ||
	       (guest->state == BULKHEAD_GUEST_SEALED && !guest->is_protected);
}

static void step_registers(void)
{
	bool is_set = chance(2);
	uint64_t number = is_set ? BULKHEAD_CALL_VCPU_SET : BULKHEAD_CALL_VCPU_GET;
	struct model_guest *guest = choose_guest();
	uint64_t handle = handle_of(guest), index = choose(chance(8) ? 20 : 3);
	uint64_t page = choose_page();
	enum bulkhead_error expected = BULKHEAD_OK, error;
	struct model_vcpu *vcpu;

	guest = find_model(handle);
	vcpu = guest && index < BULKHEAD_MAX_VCPUS ? &guest->vcpus[index] : NULL;
	if (!guest)
		expected = BULKHEAD_NO_GUEST;
	else if (!registers_are_open(guest))
		expected = BULKHEAD_BAD_STATE;
	else if (!vcpu)
		expected = BULKHEAD_INVALID;
	else if (!vcpu->exists)
		expected = BULKHEAD_BAD_STATE;
	else if (vcpu->is_running)
		expected = BULKHEAD_BUSY;
	else if (!is_ram_run(page, 1) || (pages[page / PAGE_BYTES].state != FRAME_SERVICE &&
					  pages[page / PAGE_BYTES].state != FRAME_LENT))
		expected = BULKHEAD_NOT_OWNED;
	error = call(number, handle, index, page, 0);
	EXPECT(error == expected);
	if (error)
		return;
	if (is_set)
		vcpu->is_ready = true;
	else
		set_content(page, 1, fake_peek(phys_at(page)));
	check_run(page, 1);
	model_done[number]++;
}

static void step_seal(void)
{
	struct model_guest *guest = choose_guest();
	uint64_t handle = handle_of(guest), count = 0;
	enum bulkhead_error expected = BULKHEAD_OK, error;
	bool all_ready = true;

	guest = find_model(handle);
	for (unsigned int i = 0; guest && i < BULKHEAD_MAX_VCPUS; i++) {
		count += guest->vcpus[i].exists;
		all_ready = all_ready && guest->vcpus[i].exists == guest->vcpus[i].is_ready;
	}
	if (!guest)
		expected = BULKHEAD_NO_GUEST;
	else if (guest->state != BULKHEAD_GUEST_LOADING && guest->state != BULKHEAD_GUEST_SEALING)
		expected = BULKHEAD_BAD_STATE;
	else if (guest->state == BULKHEAD_GUEST_LOADING && guest->transfer.kind)
		expected = BULKHEAD_BUSY;
	else if (guest->state == BULKHEAD_GUEST_LOADING && (!all_ready || count == 0))
		expected = BULKHEAD_BAD_STATE;
	error = call(BULKHEAD_CALL_GUEST_SEAL, handle, 0, 0, 0);
	if (expected) {
		EXPECT(error == expected);
		return;
	}
	if (guest->state == BULKHEAD_GUEST_LOADING) {
		guest->state = BULKHEAD_GUEST_SEALING;
		guest->seal_calls_left =
			LOAD_CALLS * count + BULKHEAD_MAX_VCPUS - count;
	}
	EXPECT(error == (--guest->seal_calls_left ? BULKHEAD_AGAIN : BULKHEAD_OK));
	if (error == BULKHEAD_OK) {
		guest->state = BULKHEAD_GUEST_SEALED;
		guest->records += count;
		EXPECT(core.guests[guest->slot].measurement.record_count == guest->records);
	}
	model_done[BULKHEAD_CALL_GUEST_SEAL]++;
}

static void on_run(struct vcpu *vcpu)
{
	(void)vcpu;
	/* The world goes on while a vCPU runs: other processors make calls. */
	for (unsigned int i = 0; i < 3 && depth < 2; i++) {
		fake_processor ^= 1;
		(void)model_step();
		fake_processor ^= 1;
	}
}

static void step_run(void)
{
	struct model_guest *guest = choose_guest();
	uint64_t handle = handle_of(guest), index = choose(chance(8) ? 20 : 3);
	uint64_t runs = fake_counters.runs;
	enum bulkhead_error expected = BULKHEAD_OK, error;
	struct model_vcpu *vcpu;

	guest = find_model(handle);
	vcpu = guest && index < BULKHEAD_MAX_VCPUS ? &guest->vcpus[index] : NULL;
	if (!guest)
		expected = BULKHEAD_NO_GUEST;
	else if (guest->state != BULKHEAD_GUEST_SEALED)
		expected = BULKHEAD_BAD_STATE;
	else if (!vcpu)
		expected = BULKHEAD_INVALID;
	else if (!vcpu->exists)
		expected = BULKHEAD_BAD_STATE;
	else if (vcpu->is_running)
		expected = BULKHEAD_BUSY;
	else if (!vcpu->is_ready)
		expected = BULKHEAD_BAD_STATE;
	if (!expected)
		vcpu->is_running = true;
	fake_on_run = on_run;
	depth++;
	error = call(BULKHEAD_CALL_VCPU_RUN, handle, index, 0, 0);
	depth--;
	step_name = "after a run";
	EXPECT(error == expected);
	if (expected) {
		EXPECT(depth > 0 || fake_counters.runs == runs);
		return;
	}
	vcpu->is_running = false;
	model_done[BULKHEAD_CALL_VCPU_RUN]++;
}

static bool is_running(const struct model_guest *guest)
{
	for (unsigned int i = 0; i < BULKHEAD_MAX_VCPUS; i++)
		if (guest->vcpus[i].is_running)
			return true;
	return false;
}

/* Which pages a dying guest has given back is the core's choice; that they came back clean is not. */
static void collect_returned(struct model_guest *guest)
{
	for (uint64_t i = 0; i < RAM_PAGES; i++) {
		struct model_page *model = &pages[i];
		struct phys page = phys_at(i * PAGE_BYTES);
		uint8_t now = frame_of(&core.frames, page)->state;

		if (model->guest != guest - guests || now == model->state)
			continue;
		EXPECT(now == FRAME_SERVICE || now == FRAME_NOBODY);
		if (model->state != FRAME_LENT && now == FRAME_SERVICE)
			model->content = 0;
		model->state = now;
		if (now == FRAME_SERVICE)
			model->guest = NO_GUEST;
		for (unsigned int v = 0; now == FRAME_SERVICE && v < BULKHEAD_MAX_VCPUS; v++) {
			struct model_vcpu *vcpu = &guest->vcpus[v];

			if (vcpu->exists && vcpu->first_page == i) {
				pages[vcpu->run_page].pins--;
				vcpu->exists = false;
			}
		}
		check_page(i);
	}
}

static void step_destroy(void)
{
	struct model_guest *guest = choose_guest();
	uint64_t handle = handle_of(guest);
	enum bulkhead_error error;

	guest = find_model(handle);
	if (guest && guest->state != BULKHEAD_GUEST_DYING && !chance(400))
		return;
	if (guest && guest->state != BULKHEAD_GUEST_DYING)
		for (unsigned int i = 0; i < SAMPLES; i++)
			touch_run(0, choose_filled(guest) * PAGE_BYTES, 1, guest);
	error = call(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0);
	if (!guest) {
		EXPECT(error == BULKHEAD_NO_GUEST);
		return;
	}
	guest->state = BULKHEAD_GUEST_DYING;
	if (is_running(guest)) {
		EXPECT(error == BULKHEAD_BUSY);
		return;
	}
	(void)ran_short(error, NULL);
	EXPECT(error == BULKHEAD_AGAIN || error == BULKHEAD_OK || error == BULKHEAD_NO_TABLES);
	collect_returned(guest);
	if (error == BULKHEAD_OK) {
		for (uint64_t i = 0; i < RAM_PAGES; i++)
			EXPECT(pages[i].guest != guest - guests);
		memset(guest, 0, sizeof(*guest));
	}
	model_done[BULKHEAD_CALL_GUEST_DESTROY]++;
}

/* A domain reads and writes its memory through what its processors and devices keep. */
static void step_access(void)
{
	uint64_t value = choose(1ull << 32) + 1;
	struct model_guest *guest = choose_guest();
	uint64_t page = choose_page() & ~4095ull;
	struct model_page *model;
	enum viewer viewer = choose(VIEWER_COUNT);

	if (chance(2) && guest->handle && guest->state == BULKHEAD_GUEST_SEALED) {
		uint64_t at = choose_filled(guest);
		bool could = calls_write(viewer % 2, space_of(guest),
					 (struct input_address){ at * PAGE_BYTES }, value);

		EXPECT(could == (guest->filled[at] != 0));
		if (could)
			pages[guest->filled[at] - 1].content = value;
		return;
	}
	if (page >= FAKE_RAM_BYTES)
		return;
	model = &pages[page / PAGE_BYTES];
	if (calls_service_write(viewer, phys_at(page), value)) {
		EXPECT(model->state == FRAME_SERVICE || model->state == FRAME_LENT);
		model->content = value;
	}
	check_page(page / PAGE_BYTES);
}

static void step_report(void)
{
	uint64_t page = choose_page(), handle = handle_of(choose_guest());
	static const uint64_t numbers[] = { BULKHEAD_CALL_STATUS, BULKHEAD_CALL_STATS,
					    BULKHEAD_CALL_LOG_READ, BULKHEAD_CALL_GUEST_MEASURE };
	uint64_t number = numbers[choose(4)];
	bool is_measure = number == BULKHEAD_CALL_GUEST_MEASURE;
	enum bulkhead_error error;
	uint8_t state = is_ram_run(page, 1) ? pages[page / PAGE_BYTES].state : FRAME_NOBODY;
	bool is_own = state == FRAME_SERVICE || state == FRAME_LENT;

	error = is_measure ? call(number, handle, page, 0, 0) : call(number, page, 0, 0, 0);
	if (is_measure && !find_model(handle))
		EXPECT(error == BULKHEAD_NO_GUEST);
	else
		EXPECT(error == (is_own ? BULKHEAD_OK : BULKHEAD_NOT_OWNED));
	if (error == BULKHEAD_OK)
		set_content(page, 1, fake_peek(phys_at(page)));
	check_run(page, 1);
	model_done[number] += !error;
}

/* Numbers nobody named, and arguments nobody reads. */
static void step_nonsense(void)
{
	uint64_t number = chance(2) ? choose(1ull << 40) : choose(BULKHEAD_CALL_COUNT);

	if (hypercall_name(number)[0] == 'u') {
		EXPECT(call(number, choose_page(), 1, 1, 1) == BULKHEAD_UNKNOWN_CALL);
	} else if (number != BULKHEAD_CALL_VCPU_CREATE) {
		struct hypercall extra = { .number = number, .arguments = { 0, 0, 0, 0, 1 } };

		hypercall_dispatch(&extra);
		EXPECT(extra.status == BULKHEAD_INVALID);
	}
}

/* Long work is mostly carried on: a guest half sealed or half gone can do little else. */
static bool step_unfinished(void)
{
	const struct model_guest *guest = &guests[choose(GUESTS)];

	if (guest->state != BULKHEAD_GUEST_DYING && guest->state != BULKHEAD_GUEST_SEALING)
		return false;
	step_name = "unfinished";
	if (guest->state == BULKHEAD_GUEST_DYING)
		step_destroy();
	else
		step_seal();
	return true;
}

bool model_step(void)
{
	static const struct {
		const char *name;
		void (*step)(void);
		unsigned int weight;
	} steps[] = {
		{ "give", step_give, 40 },	   { "lend", step_lend, 8 },
		{ "unlend", step_unlend, 6 },	   { "relinquish", step_relinquish, 14 },
		{ "take back", step_take_back, 8 }, { "pay", step_pay, 14 },
		{ "refund", step_refund, 14 },	   { "create", step_create, 12 },
		{ "range", step_range, 10 },	   { "add vcpu", step_add_vcpu, 6 },
		{ "registers", step_registers, 8 }, { "seal", step_seal, 8 },
		{ "run", step_run, 4 },		   { "destroy", step_destroy, 10 },
		{ "access", step_access, 20 },	   { "report", step_report, 3 },
		{ "nonsense", step_nonsense, 1 },
	};
	unsigned int total = 0, pick;

	if (source.data && source.size_bytes == 0)
		return false;
	for (size_t i = 0; i < ARRAY_COUNT(steps); i++)
		total += steps[i].weight;
	step_count++;
	if (chance(2) && step_unfinished())
		return true;
	pick = (unsigned int)choose(total);
	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		if (pick < steps[i].weight) {
			step_name = steps[i].name;
			steps[i].step();
			EXPECT(core.service.retired.page_count == 0);
			EXPECT(core.lock.word == 0);
			EXPECT(core.service.own.page_count < RAM_PAGES);
			EXPECT(core.service.paid.page_count < RAM_PAGES);
			return true;
		}
		pick -= steps[i].weight;
	}
	return true;
}

/* Tables of a space, counted by walking it. */
static uint32_t count_tables(const struct address_space *space, struct phys table,
			     unsigned int level)
{
	const uint64_t *entries = arch_page(table);
	uint32_t count = 1;

	for (unsigned int i = 0; level > 0 && i < TABLE_ENTRIES; i++) {
		struct phys next = phys_at(entries[i] & 0x000ffffffffff000ull);

		if ((entries[i] & 1) && !(entries[i] & 0x80) &&
		    next.value != core.zero.tables[0].value &&
		    next.value != core.zero.tables[1].value)
			count += count_tables(space, next, level - 1);
	}
	return count;
}

static void check_guest(struct model_guest *guest)
{
	const struct address_space *space = space_of(guest);
	uint64_t tables = 0, memory = 0;

	EXPECT(fake_all_coherent(space));
	if (guest->state == BULKHEAD_GUEST_DYING)
		return;
	for (uint64_t i = 0; i < RAM_PAGES; i++) {
		if (pages[i].guest != guest - guests)
			continue;
		tables += pages[i].state == FRAME_TABLE;
		memory += pages[i].state == FRAME_GUEST || pages[i].state == FRAME_LENT ||
			  pages[i].state == FRAME_NOBODY;
	}
	EXPECT(tables == space->table_count + space->paid.page_count);
	EXPECT(space->table_count == count_tables(space, space->root, 3));
	EXPECT(memory == core.guests[guest->slot].memory_pages);
	for (uint64_t i = 0; i < GUEST_PAGES; i++) {
		struct mapping mapping = address_space_lookup(
			space, (struct input_address){ i * PAGE_BYTES });

		EXPECT((mapping.access == ACCESS_CPU) == (guest->filled[i] != 0));
		EXPECT(!guest->filled[i] ||
		       mapping.page.value == (guest->filled[i] - 1ull) * PAGE_BYTES);
	}
}

void model_check_all(void)
{
	uint64_t counts[FRAME_STATE_COUNT] = { 0 };

	step_name = "check of everything";
	for (uint64_t i = 0; i < RAM_PAGES; i++) {
		check_page(i);
		counts[pages[i].state]++;
	}
	for (unsigned int i = 0; i < FRAME_STATE_COUNT; i++)
		EXPECT(core.frames.count[i] == counts[i]);
	EXPECT(fake_all_coherent(&core.service));
	EXPECT(core.service.table_count == count_tables(&core.service, core.service.root, 3));
	for (unsigned int i = 0; i < GUESTS; i++)
		if (guests[i].handle)
			check_guest(&guests[i]);
	/* Plain memory is mapped by large pages, wherever a memory type does not forbid it. */
	for (uint64_t area = 0; area < RAM_PAGES / 512; area++) {
		bool is_plain = area != 16;

		for (uint64_t i = 0; i < 512; i++)
			is_plain = is_plain && (pages[area * 512 + i].state == FRAME_SERVICE ||
						pages[area * 512 + i].state == FRAME_LENT);
		EXPECT(!is_plain ||
		       address_space_lookup(&core.service,
					    input_of_service(phys_at(area * 512 * PAGE_BYTES)))
				       .level == 1);
	}
}
