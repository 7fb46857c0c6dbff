/* SPDX-License-Identifier: MIT */
/*
 * Steps of the model that make, change, run and end guests, and those that only look.
 */
#include <string.h>

#include "core_model_parts.h"

void step_create(void)
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

void step_range(void)
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

void step_add_vcpu(void)
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
	else if (guest->transfer.kind == TRANSFER_TAKE)
		expected = BULKHEAD_BUSY;
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

static bool has_vcpus(const struct model_guest *guest)
{
	for (unsigned int i = 0; i < BULKHEAD_MAX_VCPUS; i++)
		if (guest->vcpus[i].exists)
			return true;
	return false;
}

static enum bulkhead_error expect_platform(const struct model_guest *guest, uint64_t page)
{
	if (!guest)
		return BULKHEAD_NO_GUEST;
	if (guest->state != BULKHEAD_GUEST_LOADING || has_vcpus(guest))
		return BULKHEAD_BAD_STATE;
	if (guest->has_platform)
		return BULKHEAD_OCCUPIED;
	if (guest->transfer.kind)
		return guest->transfer.kind == TRANSFER_TAKE && guest->transfer.page == page ? BULKHEAD_OK :
											      BULKHEAD_BUSY;
	return expect_service_run(page, GUEST_PLATFORM_PAGES);
}

void step_platform(void)
{
	struct model_guest *guest = choose_guest();
	uint64_t handle = handle_of(guest), page = choose_page(), at = 0;
	enum bulkhead_error expected, error;

	fit_run(&page, &at, GUEST_PLATFORM_PAGES);
	if (guest->transfer.kind == TRANSFER_TAKE && !chance(8))
		page = guest->transfer.page;
	guest = find_model(handle);
	expected = expect_platform(guest, page);
	touch_run(page, 0, GUEST_PLATFORM_PAGES, NULL);
	error = call(BULKHEAD_CALL_PLATFORM_CREATE, handle, page, 0, 0);
	if (!expected && ran_short(error, NULL))
		return;
	if (expected) {
		EXPECT(error == expected);
		return;
	}
	if (!guest->transfer.kind) {
		guest->transfer.kind = TRANSFER_TAKE;
		guest->transfer.page = page;
		guest->transfer.count = GUEST_PLATFORM_PAGES;
		guest->transfer.calls_left = CLEAR_CALLS(GUEST_PLATFORM_PAGES);
		set_run(page, GUEST_PLATFORM_PAGES, FRAME_NOBODY, guest, 0);
	}
	EXPECT(error == (--guest->transfer.calls_left ? BULKHEAD_AGAIN : BULKHEAD_OK));
	if (error == BULKHEAD_OK) {
		memset(&guest->transfer, 0, sizeof(guest->transfer));
		guest->has_platform = true;
		guest->records++;
		set_run(page, GUEST_PLATFORM_PAGES, FRAME_VCPU, guest, 0);
	}
	check_run(page, GUEST_PLATFORM_PAGES);
	model_done[BULKHEAD_CALL_PLATFORM_CREATE]++;
}

/* A device with eight queues at slot 1, once, and an area for one of them. */
static void add_device(struct model_guest *guest, uint64_t page)
{
	static const struct bulkhead_device_description description = { .type = 2, .queue_count = 8,
									.queue_size_max = 128 };

	if (pages[page / PAGE_BYTES].state != FRAME_SERVICE)
		return;
	memcpy(arch_page(phys_at(page)), &description, sizeof(description));
	EXPECT(call(BULKHEAD_CALL_PLATFORM_DEVICE, guest->handle, 1, page, 0) == BULKHEAD_OK);
	set_content(page, 1, fake_peek(phys_at(page)));
	guest->has_device = true;
	guest->records++;
}

void step_relay(void)
{
	struct model_guest *guest = choose_guest();
	uint64_t list = choose_page() & ~4095ull, first = choose_page() & ~4095ull;
	enum bulkhead_error expected = BULKHEAD_OK, error;
	uint32_t *done, end;

	if (list >= FAKE_RAM_BYTES || !guest->has_platform || guest->state != BULKHEAD_GUEST_LOADING ||
	    guest->transfer.kind || guest->relay_count == BULKHEAD_QUEUES_MAX)
		return;
	if (!guest->has_device)
		add_device(guest, list);
	if (!guest->has_device)
		return;
	if (pages[list / PAGE_BYTES].state != FRAME_SERVICE && pages[list / PAGE_BYTES].state != FRAME_LENT)
		expected = BULKHEAD_NOT_OWNED;
	for (uint64_t i = 0; !expected && i < BULKHEAD_RELAY_PAGES; i++) {
		uint64_t page = first + i * PAGE_BYTES;

		((uint64_t *)arch_page(phys_at(list)))[i] = page;
	}
	done = &guest->pinned[guest->relay_count];
	end = *done + PIN_PAGES < BULKHEAD_RELAY_PAGES ? *done + PIN_PAGES : BULKHEAD_RELAY_PAGES;
	for (uint64_t i = *done; !expected && i < end; i++) {
		if (!is_ram_run(first + i * PAGE_BYTES, 1))
			expected = BULKHEAD_BAD_ADDRESS;
		else if (pages[first / PAGE_BYTES + i].state != FRAME_SERVICE)
			expected = BULKHEAD_NOT_OWNED;
	}
	if (!expected && end < BULKHEAD_RELAY_PAGES)
		expected = BULKHEAD_AGAIN;
	error = call(BULKHEAD_CALL_PLATFORM_RELAY, guest->handle, 1 << 8 | guest->relay_count, list, 0);
	EXPECT(error == expected);
	if (is_ram_run(list, 1))
		set_content(list, 1, fake_peek(phys_at(list)));
	if (error && error != BULKHEAD_AGAIN) {
		check_run(first, BULKHEAD_RELAY_PAGES);
		return;
	}
	for (; *done < end; ++*done) {
		guest->relay_pages[guest->relay_count][*done] = (uint32_t)(first / PAGE_BYTES + *done);
		pages[first / PAGE_BYTES + *done].pins++;
	}
	guest->relay_count += error == BULKHEAD_OK;
	check_run(first, BULKHEAD_RELAY_PAGES);
	model_done[BULKHEAD_CALL_PLATFORM_RELAY]++;
}

static bool registers_are_open(const struct model_guest *guest)
{
	return guest->state == BULKHEAD_GUEST_LOADING ||
	       (guest->state == BULKHEAD_GUEST_SEALED && !guest->is_protected);
}

void step_registers(void)
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

void step_seal(void)
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

void step_run(void)
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
	const struct guest *core_guest = &core.guests[guest->slot];

	/* Of which area pages are let go is the core's choice too. */
	for (uint32_t area = 0; area < BULKHEAD_QUEUES_MAX; area++) {
		bool are_some_left = core_guest->platform && core_guest->teardown.relay_next <= area;
		uint32_t left = are_some_left ? core_guest->platform->pinned[area] : 0;

		uint32_t before = guest->pinned[area];

		/* A page may stand in an area twice. */
		for (; guest->pinned[area] > left; guest->pinned[area]--)
			pages[guest->relay_pages[area][guest->pinned[area] - 1]].pins--;
		for (uint32_t i = left; i < before; i++)
			check_page(guest->relay_pages[area][i]);
	}
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

void step_destroy(void)
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
void step_access(void)
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

void step_report(void)
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
void step_nonsense(void)
{
	uint64_t number = chance(2) ? choose(1ull << 40) : choose(BULKHEAD_CALL_COUNT);

	if (!call_is_known(number)) {
		EXPECT(call(number, choose_page(), 1, 1, 1) == BULKHEAD_UNKNOWN_CALL);
	} else if (number != BULKHEAD_CALL_VCPU_CREATE) {
		struct hypercall extra = { .number = number, .arguments = { 0, 0, 0, 0, 1 } };

		hypercall_dispatch(&extra);
		EXPECT(extra.status == BULKHEAD_INVALID);
	}
}
