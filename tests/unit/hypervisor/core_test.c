/* SPDX-License-Identifier: MIT */
/*
 * Ownership: what a transition promises, one promise a test. The fake machine's processors and IOMMU
 * keep stale translations.
 */
#include "core_fixture.h"

static void donated_page_is_unreachable_by_service_domain_and_its_devices(void **state)
{
	uint64_t handle = make_guest();
	struct view view;

	(void)state;
	calls_service_write(VIEWER_CPU0, phys_at(PAGE(0)), 0x1234);
	fake_touch(&core.service, input_of_service(phys_at(PAGE(0))), 1);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(0), 0x1000, 1), BULKHEAD_OK);
	for (int viewer = 0; viewer < VIEWER_COUNT; viewer++) {
		view = fake_view(viewer, &core.service, input_of_service(phys_at(PAGE(0))));
		assert_false(view.can_write);
		if (view.can_read)
			assert_int_equal(view.page.value, core.zero.page.value);
	}
	assert_int_equal(service_read(PAGE(0)), 0);
	view = fake_view(VIEWER_CPU0, &guest_of(handle)->space, (struct input_address){ 0x1000 });
	assert_true(view.can_write);
	assert_int_equal(view.page.value, PAGE(0));
	assert_int_equal(fake_peek(view.page), 0);
}

static void destroyed_guest_leaves_nothing_and_everything_comes_back_cleared(void **state)
{
	uint64_t before = core.frames.count[FRAME_SERVICE];
	uint64_t handle = make_guest();
	struct guest *guest = guest_of(handle);

	(void)state;
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 512), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_LOAD, handle, PAGE(3), 0x200000, 2),
			 BULKHEAD_OK);
	seal(handle);
	assert_true(calls_write(VIEWER_CPU1, &guest->space, (struct input_address){ 0x5000 }, 77));
	assert_true(calls_write(VIEWER_CPU1, &guest->space, (struct input_address){ 0x200000 }, 78));
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_NO_GUEST);
	assert_int_equal(core.frames.count[FRAME_SERVICE], before);
	assert_int_equal(service_read(LARGE(0) + 0x5000), 0);
	assert_int_equal(service_read(PAGE(3)), 0);
	assert_true(calls_service_write(VIEWER_CPU0, phys_at(LARGE(0) + 0x5000), 5));
	assert_int_equal(address_space_lookup(&core.service,
					      input_of_service(phys_at(PAGE(3)))).level, 1);
}

static void pages_are_refused_that_are_not_the_callers_to_give(void **state)
{
	uint64_t handle = make_guest();
	uint64_t own = FAKE_OWN_BASE;

	(void)state;
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, own, 0, 1), BULKHEAD_NOT_OWNED);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(101), 0, 1),
			 BULKHEAD_NOT_OWNED); /* a table */
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(130), 0, 1),
			 BULKHEAD_NOT_OWNED); /* a run page, pinned */
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, FAKE_RAM_BYTES, 0, 1),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, ~4095ull, 0, 1),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(0) + 8, 0, 1),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 4096, 512),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(0), 0, 0),
			 BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 513),
			 BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(0), 2048 * PAGE_BYTES, 1),
			 BULKHEAD_INVALID); /* not declared */
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, FAKE_RAM_BYTES, 0, 0),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RECLAIM, PAGE(0), 1, 0, 0), BULKHEAD_NOT_OWNED);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RECLAIM, FAKE_RAM_BYTES, 1, 0, 0),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RECLAIM, PAGE(0), 0, 0, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle + 32, PAGE(0), 0, 1),
			 BULKHEAD_NO_GUEST);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, 0, PAGE(0), 0, 1), BULKHEAD_NO_GUEST);
}

static void sealed_address_is_filled_once_until_the_guest_gives_it_up(void **state)
{
	uint64_t handle = make_guest();
	struct guest *guest = guest_of(handle);
	struct core_locked held;
	struct phys page;

	(void)state;
	calls_service_write(VIEWER_CPU0, phys_at(PAGE(1)), 0xbad);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(0), 0x1000, 1), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_LOAD, handle, PAGE(1), 0x1000, 1),
			 BULKHEAD_OCCUPIED);
	seal(handle);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_LOAD, handle, PAGE(1), 0x2000, 1),
			 BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(1), 0x1000, 1),
			 BULKHEAD_OCCUPIED);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, PAGE(0), 1, 0),
			 BULKHEAD_NOT_OWNED);
	assert_true(calls_write(VIEWER_CPU0, &guest->space, (struct input_address){ 0x1000 }, 99));
	held = core_lock();
	assert_int_equal(ownership_relinquish(held, guest, guest_phys_at(1ull << 30), &page), BULKHEAD_BAD_ADDRESS);
	assert_int_equal(ownership_relinquish(held, guest, guest_phys_at(0x1008), &page),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(ownership_relinquish(held, guest, guest_phys_at(0x3000), &page),
			 BULKHEAD_NOT_FILLED);
	assert_int_equal(ownership_relinquish(held, guest, guest_phys_at(0x1000), &page),
			 BULKHEAD_OK);
	core_unlock(held);
	assert_int_equal(page.value, PAGE(0));
	assert_int_equal(fake_peek(page), 0);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(0), 0x1000, 1),
			 BULKHEAD_NOT_OWNED); /* not the service domain's yet */
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RECLAIM, PAGE(0), 1, 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(1), 0x1000, 1), BULKHEAD_OK);
	assert_int_equal(calls_read(VIEWER_CPU0, &guest->space, (struct input_address){ 0x1000 }),
			 0);
}

static void unprotected_guest_uses_pages_that_stay_the_service_domains(void **state)
{
	struct view view;
	uint64_t handle;
	struct guest *guest;

	(void)state;
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(100), 0, &handle), BULKHEAD_OK);
	guest = guest_of(handle);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, 0, 2048, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, LARGE(0), 0, 512),
			 BULKHEAD_NO_TABLES);
	for (int i = 0; i < 2; i++)
		assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(101 + i), 0, 0),
				 BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(0), 0, 1),
			 BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, FAKE_OWN_BASE, 0, 1),
			 BULKHEAD_NOT_OWNED);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, LARGE(0), 0, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, LARGE(0), 0, 512), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, LARGE(1), 0, 1),
			 BULKHEAD_OCCUPIED);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, LARGE(0), 0x200000, 1),
			 BULKHEAD_NOT_OWNED);
	view = fake_view(VIEWER_CPU0, &guest->space, (struct input_address){ 0x7000 });
	assert_true(view.can_write);
	assert_int_equal(view.page.value, LARGE(0) + 0x7000);
	assert_true(calls_service_write(VIEWER_CPU1, phys_at(LARGE(0) + 0x7000), 6));
	/* A part of the large page ends only when the guest has a table for the rest. */
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, LARGE(0), 1, 0),
			 BULKHEAD_NO_TABLES);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(105), 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, LARGE(0), 0, 0),
			 BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, FAKE_RAM_BYTES, 1, 0),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, LARGE(0) + 1, 1, 0),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, LARGE(0) + 0x7000, 1, 0),
			 BULKHEAD_OK);
	assert_false(fake_view(VIEWER_CPU0, &guest->space, (struct input_address){ 0x7000 })
			     .can_read);
	assert_true(fake_view(VIEWER_CPU0, &guest->space, (struct input_address){ 0x8000 })
			    .can_read);
	assert_int_equal(service_read(LARGE(0) + 0x7000), 6);
	/* Shared again elsewhere: no longer in a row, and a row that crosses 2 MiB in the guest. */
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, LARGE(0) + 0x7000, 0x200000, 1),
			 BULKHEAD_NO_TABLES);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(106), 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, LARGE(0) + 0x7000, 0x200000, 1),
			 BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, LARGE(0) + 0x6000, 2, 0),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, LARGE(0) + 511 * PAGE_BYTES, 1, 0),
			 BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, PAGE(10), 511 * PAGE_BYTES, 1),
			 BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, PAGE(11), 513 * PAGE_BYTES, 1),
			 BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, LARGE(0) + 0x7000, 1, 0),
			 BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, PAGE(11), 1, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, PAGE(11), 0x200000, 1), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, PAGE(10), 2, 0),
			 BULKHEAD_BAD_ADDRESS);
}

static void missing_tables_refuse_the_call_and_change_nothing(void **state)
{
	uint64_t before, handle, page;

	(void)state;
	fake_start(RESERVED_TABLES);
	before = core.frames.count[FRAME_SERVICE];
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(100), 1, &handle),
			 BULKHEAD_NO_TABLES);
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_REFUND, 0, 0, &page), BULKHEAD_LIMIT);
	assert_int_equal(core.frames.count[FRAME_SERVICE], before);
	assert_int_equal(service_mapping(PAGE(100)).level, 1);
	/* Paying works with nothing but the reserve, and near it fills the pool up again. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, 0, PAGE(i), 0, 0), BULKHEAD_OK);
	assert_int_equal(address_space_spare(&core.service), RESERVED_TABLES - 1 + 4);
	handle = make_guest();
	/* Two tables are left above the reserve: one for this area, one for the next. */
	while (address_space_spare(&core.service) > RESERVED_TABLES)
		assert_int_equal(call2(BULKHEAD_CALL_GUEST_REFUND, 0, 0, &page), BULKHEAD_OK);
	before = core.frames.count[FRAME_SERVICE];
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 1),
			 BULKHEAD_NO_TABLES);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, LARGE(0), 0, 0), BULKHEAD_NO_TABLES);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 1, LARGE(0), LARGE(1)),
			 BULKHEAD_NO_TABLES);
	assert_int_equal(frame_of(&core.frames, phys_at(LARGE(1)))->pins, 0);
	assert_int_equal(core.frames.count[FRAME_SERVICE], before);
	/* A whole large page needs none, nor does a page of an area that is split. */
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 512), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(50), 0x200000, 1),
			 BULKHEAD_OK);
}

static void parts_of_a_large_page_come_back_when_tables_are_paid(void **state)
{
	uint64_t handle, page_number;
	struct core_locked held;
	struct guest *guest;
	struct phys page;

	(void)state;
	fake_start(RESERVED_TABLES + 1);
	handle = make_guest();
	guest = guest_of(handle);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 512), BULKHEAD_OK);
	seal(handle);
	while (call2(BULKHEAD_CALL_GUEST_REFUND, handle, 0, &page_number) == BULKHEAD_OK)
		;
	held = core_lock();
	assert_int_equal(ownership_relinquish(held, guest, guest_phys_at(0), &page),
			 BULKHEAD_NO_TABLES);
	core_unlock(held);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(101), 0, 0), BULKHEAD_OK);
	held = core_lock();
	assert_int_equal(ownership_relinquish(held, guest, guest_phys_at(0), &page), BULKHEAD_OK);
	core_unlock(held);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RECLAIM, page.value, 1, 0, 0), BULKHEAD_NO_TABLES);
	assert_int_equal(frame_of(&core.frames, page)->state, FRAME_RELEASED);
	/* Destroying, the rest of the large page needs the same table. */
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_NO_TABLES);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, 0, PAGE(0), 0, 0), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RECLAIM, page.value, 1, 0, 0), BULKHEAD_OK);
	assert_int_equal(service_mapping(LARGE(0)).level, 1);
}

static void a_page_is_nobodys_while_it_is_cleared_for_its_next_owner(void **state)
{
	uint64_t handle = make_guest();
	struct frame *frame = frame_of(&core.frames, phys_at(LARGE(0) + 0x1ff000));

	(void)state;
	calls_service_write(VIEWER_CPU0, phys_at(LARGE(0) + 0x1ff000), 4);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 512), BULKHEAD_AGAIN);
	assert_int_equal(frame->state, FRAME_NOBODY);
	assert_int_equal(service_read(LARGE(0) + 0x1ff000), 0);
	assert_false(fake_view(VIEWER_CPU0, &guest_of(handle)->space, (struct input_address){ 0 })
			     .can_read);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(0), 0x200000, 1),
			 BULKHEAD_BUSY);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0x200000, 512),
			 BULKHEAD_BUSY);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 511), BULKHEAD_BUSY);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_LOAD, handle, LARGE(0), 0, 512), BULKHEAD_BUSY);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SEAL, handle, 0, 0, 0), BULKHEAD_BUSY);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, 1ull << 30, 1, 0), BULKHEAD_BUSY);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 512), BULKHEAD_OK);
	assert_int_equal(frame->state, FRAME_GUEST);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_AGAIN);
	assert_int_equal(frame->state, FRAME_NOBODY);
	assert_int_equal(service_read(LARGE(0) + 0x1ff000), 0);
}

static void no_call_clears_more_than_64_kib(void **state)
{
	uint64_t handle = make_guest(), before;
	enum bulkhead_error error;

	(void)state;
	do {
		before = fake_counters.cleared_pages;
		error = call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 512);
		assert_true(fake_counters.cleared_pages - before <= 16);
	} while (error == BULKHEAD_AGAIN);
	do {
		before = fake_counters.cleared_pages;
		error = call(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0);
		assert_true(fake_counters.cleared_pages - before <= 16);
	} while (error == BULKHEAD_AGAIN);
	assert_int_equal(error, BULKHEAD_OK);
}

/* Tables that a transfer will need are set aside when it begins: nobody can take them back meanwhile. */
static void a_transfer_keeps_the_tables_it_will_need(void **state)
{
	uint64_t handle = make_guest();
	unsigned int spare = address_space_spare(&guest_of(handle)->space);

	(void)state;
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 100), BULKHEAD_AGAIN);
	assert_int_equal(address_space_spare(&guest_of(handle)->space), spare - 3);
	while (call(BULKHEAD_CALL_GUEST_REFUND, handle, 0, 0, 0) == BULKHEAD_OK)
		;
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 100), BULKHEAD_OK);
}

static void unfinished_load_comes_back_cleared(void **state)
{
	uint64_t handle = make_guest();

	(void)state;
	calls_service_write(VIEWER_CPU0, phys_at(PAGE(0)), 4);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_LOAD, handle, PAGE(0), 0, 2), BULKHEAD_AGAIN);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(service_read(PAGE(0)), 0);
	assert_true(calls_service_write(VIEWER_CPU0, phys_at(PAGE(0)), 4));
}

static void unfinished_donation_comes_back(void **state)
{
	uint64_t handle = make_guest();

	(void)state;
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 512), BULKHEAD_AGAIN);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_AGAIN);
	assert_false(calls_service_write(VIEWER_CPU0, phys_at(LARGE(0)), 4));
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_true(calls_service_write(VIEWER_CPU0, phys_at(LARGE(0)), 4));
	assert_int_equal(service_mapping(LARGE(0)).level, 1);
}

static void teardown_finds_pages_that_stand_alone(void **state)
{
	uint64_t before = core.frames.count[FRAME_SERVICE], handle = make_guest();

	(void)state;
	/* Page 0 is what an empty entry must not be mistaken for. */
	calls_service_write(VIEWER_CPU0, phys_at(0), 123);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 512), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(5), 0x205000, 1), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(7), 0x206000, 3), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(20), 0x7ff000, 1),
			 BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(200), 0x3f8000, 8),
			 BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(208), 0x400000, 16),
			 BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(service_read(0), 123);
	assert_int_equal(core.frames.count[FRAME_SERVICE], before);
}

/* Pages in a row on both sides come back in steps that stay inside an area of either. */
static void teardown_stops_where_an_area_of_memory_ends(void **state)
{
	uint64_t handle = make_guest(), first = LARGE(1) - 8 * PAGE_BYTES;

	(void)state;
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, first, 0, 8), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(1), 8 * PAGE_BYTES, 8), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	for (uint64_t i = 0; i < 16; i++)
		assert_int_equal(frame_of(&core.frames, phys_at(first + i * PAGE_BYTES))->state, FRAME_SERVICE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(donated_page_is_unreachable_by_service_domain_and_its_devices),
		TEST(destroyed_guest_leaves_nothing_and_everything_comes_back_cleared),
		TEST(pages_are_refused_that_are_not_the_callers_to_give),
		TEST(sealed_address_is_filled_once_until_the_guest_gives_it_up),
		TEST(unprotected_guest_uses_pages_that_stay_the_service_domains),
		TEST(missing_tables_refuse_the_call_and_change_nothing),
		TEST(parts_of_a_large_page_come_back_when_tables_are_paid),
		TEST(a_page_is_nobodys_while_it_is_cleared_for_its_next_owner),
		TEST(no_call_clears_more_than_64_kib),
		TEST(a_transfer_keeps_the_tables_it_will_need),
		TEST(unfinished_load_comes_back_cleared),
		TEST(unfinished_donation_comes_back),
		TEST(teardown_finds_pages_that_stand_alone),
		TEST(teardown_stops_where_an_area_of_memory_ends),
	};

	return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
