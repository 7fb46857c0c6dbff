/* SPDX-License-Identifier: MIT */
/*
 * The naive model: its state, its choices, its comparison with the core.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core_model_parts.h"

struct model_page pages[RAM_PAGES];
struct model_guest guests[GUESTS];
static struct model_source source;
unsigned int depth; /* 1 inside a running vCPU */
static uint64_t step_count;
static const char *step_name;

uint64_t model_done[BULKHEAD_CALL_COUNT + 1];

void differ(const char *condition, int line)
{
	fprintf(stderr, "core and model differ at step %llu (%s): %s (line %d)\n",
		(unsigned long long)step_count, step_name, condition, line);
	abort();
}

/* A number below limit from the source. */
uint64_t choose(uint64_t limit)
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

bool chance(unsigned int one_in)
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
uint64_t choose_page(void)
{
	uint64_t page = pick_page();

	for (int i = 0; i < 12 && !chance(12); i++) {
		if (page < FAKE_RAM_BYTES && pages[page / PAGE_BYTES].state == FRAME_SERVICE)
			break;
		page = pick_page();
	}
	return page;
}

uint64_t choose_guest_address(void)
{
	if (chance(64))
		return choose(1ull << 41);
	if (chance(3))
		return choose(GUEST_PAGES / 512) * 512 * PAGE_BYTES;
	return choose(chance(2) ? 32 : GUEST_PAGES) * PAGE_BYTES;
}

uint64_t choose_count(void)
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

struct model_guest *choose_guest(void)
{
	uint64_t first = choose(GUESTS);

	for (uint64_t i = 0; i < GUESTS && !chance(16); i++)
		if (guests[(first + i) % GUESTS].handle)
			return &guests[(first + i) % GUESTS];
	return &guests[first];
}

/* Makes a run fit; whole large pages mostly come from areas that little else uses. */
void fit_run(uint64_t *page, uint64_t *at, uint64_t count)
{
	if (count == 512 && !chance(8))
		*page = (24 + choose(4)) * 512 * PAGE_BYTES;
	*page = fit(*page, count);
	*at = fit(*at, count);
}

/* A guest's handle, and now and then one that names none. */
uint64_t handle_of(const struct model_guest *guest)
{
	return chance(100) ? choose(1ull << 32) : guest->handle;
}

struct model_guest *find_model(uint64_t handle)
{
	for (unsigned int i = 0; i < GUESTS; i++)
		if (handle != 0 && guests[i].handle == handle)
			return &guests[i];
	return NULL;
}

struct address_space *space_of(const struct model_guest *guest)
{
	return &core.guests[guest->slot].space;
}

/* Compares one page in every way there is to look at it. */
void check_page(uint64_t index)
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

bool is_ram_run(uint64_t page, uint64_t count)
{
	return page % PAGE_BYTES == 0 && page / PAGE_BYTES < RAM_PAGES &&
	       count <= RAM_PAGES - page / PAGE_BYTES;
}

/* Looks at pages a call named: all records' states, some through every viewer. */
void check_run(uint64_t page, uint64_t count)
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
void touch_run(uint64_t page, uint64_t at, uint64_t count, const struct model_guest *guest)
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

void set_run(uint64_t page, uint64_t count, uint8_t state, const struct model_guest *guest,
		    uint64_t where)
{
	for (uint64_t i = 0; i < count; i++) {
		struct model_page *model = &pages[page / PAGE_BYTES + i];

		model->state = state;
		model->guest = guest ? (uint8_t)(guest - guests) : NO_GUEST;
		model->where = (uint32_t)(where + i);
	}
}

void set_content(uint64_t page, uint64_t count, uint64_t content)
{
	for (uint64_t i = 0; i < count; i++)
		pages[page / PAGE_BYTES + i].content = content;
}

/* Only the core knows how many tables it has; that it ran short must at least be plausible. */
bool ran_short(enum bulkhead_error error, const struct model_guest *guest)
{
	if (error != BULKHEAD_NO_TABLES)
		return false;
	EXPECT(address_space_spare(&core.service) < RESERVED_TABLES + 4 ||
	       (guest && address_space_spare(space_of(guest)) < 4));
	return true;
}

bool in_area(uint64_t address, uint64_t count)
{
	return address % PAGE_BYTES == 0 &&
	       address / (2ull << 20) == (address + count * PAGE_BYTES - 1) / (2ull << 20);
}

enum bulkhead_error expect_service_run(uint64_t page, uint64_t count)
{
	if (!in_area(page, count) || !is_ram_run(page, count))
		return BULKHEAD_BAD_ADDRESS;
	for (uint64_t i = 0; i < count; i++)
		if (pages[page / PAGE_BYTES + i].state != FRAME_SERVICE ||
		    pages[page / PAGE_BYTES + i].pins)
			return BULKHEAD_NOT_OWNED;
	return BULKHEAD_OK;
}

bool is_declared(const struct model_guest *guest, uint64_t first, uint64_t count)
{
	for (uint32_t i = 0; i < guest->ranges; i++)
		if (first >= guest->range[i].first &&
		    first + count <= guest->range[i].first + guest->range[i].count)
			return true;
	return false;
}

enum bulkhead_error expect_empty_run(const struct model_guest *guest, uint64_t at,
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

void fill(struct model_guest *guest, uint64_t at, uint64_t page, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		guest->filled[at / PAGE_BYTES + i] =
			page ? (uint32_t)(page / PAGE_BYTES + i + 1) : 0;
}

/* A page of a guest's that is filled, if there is one near a random address. */
uint64_t choose_filled(const struct model_guest *guest)
{
	uint64_t first = choose(GUEST_PAGES);

	for (uint64_t i = 0; i < 128; i++)
		if (guest->filled[(first + i) % GUEST_PAGES])
			return (first + i) % GUEST_PAGES;
	return first;
}

bool is_alive(const struct model_guest *guest)
{
	return guest->state == BULKHEAD_GUEST_LOADING || guest->state == BULKHEAD_GUEST_SEALED;
}

/* Pages a call takes from the service domain for the hypervisor's use. */
void taken(uint64_t page, uint64_t count, uint8_t state, const struct model_guest *guest)
{
	set_run(page, count, state, guest, 0);
	check_run(page, count);
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
		{ "platform", step_platform, 10 },  { "relay", step_relay, 6 },
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
