/* SPDX-License-Identifier: MIT */
/*
 * Steps of the model that move pages: give, lend, relinquish, take back, pay, refund.
 */
#include <string.h>

#include "core_model_parts.h"

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

void step_give(void)
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
	if (guest->transfer.kind && guest->transfer.kind != TRANSFER_TAKE && !chance(8)) {
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
		guest->transfer.calls_left = kind == TRANSFER_LOAD ? 1 + LOAD_CALLS * count : CLEAR_CALLS(count);
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

void step_lend(void)
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

void step_unlend(void)
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

void step_relinquish(void)
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

void step_take_back(void)
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

void step_pay(void)
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

void step_refund(void)
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
