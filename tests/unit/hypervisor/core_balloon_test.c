/* SPDX-License-Identifier: MIT */
/*
 * The balloon: pages that a guest gives up come back cleared, and what it takes out again is filled first.
 */
#include "core_platform_fixture.h"

/* One request that takes guest pages out of the balloon. */
static void deflate(uint32_t first, uint32_t count)
{
	uint16_t *available = (uint16_t *)guest_memory(RING(8) + AVAILABLE);
	struct ring_descriptor *table = (struct ring_descriptor *)guest_memory(RING(8) + DESCRIPTORS);
	uint32_t *numbers = (uint32_t *)guest_memory(RING(12));

	for (uint32_t i = 0; i < count; i++)
		numbers[i] = first + i;
	table[0] = (struct ring_descriptor){ RING(12), 4 * count, 0, 0 };
	available[2 + available[1] % 128] = 0;
	available[1]++;
}

static void what_a_guest_gives_up_comes_back_cleared(void **state)
{
	uint64_t handle = make_with_balloon(64);

	(void)state;
	memset(guest_memory(RING(20)), 0x5a, 20 * PAGE_BYTES);
	inflate(20, 20);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	/* A step's worth, told by the run page; those pages are nobody's until they are taken back. */
	assert_int_equal(run_page()->exit, BULKHEAD_RUN_KICK);
	assert_in_range(run_page()->given_up_count, 15, 16);
	assert_true(run_page()->given_up[0] == RING(20));
	assert_int_equal(((uint16_t *)guest_memory(USED))[1], 0);
	assert_false(calls_service_write(VIEWER_CPU0, phys_at(LARGE(1) + RING(20)), 1));
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RECLAIM, LARGE(1) + RING(20), 1, 0, 0), BULKHEAD_OK);
	assert_true(calls_service_write(VIEWER_CPU0, phys_at(LARGE(1) + RING(20)), 1));
	assert_int_equal(guest_memory(RING(20))[8], 0);
	/* The rest at the next run; then the guest hears that it is done. */
	(void)read_at(handle, REGISTERS + 0x14, 1);
	assert_in_range(run_page()->given_up_count, 4, 5);
	assert_int_equal(((uint16_t *)guest_memory(USED))[1], 1);
	(void)read_at(handle, REGISTERS + 0x14, 1);
	assert_int_equal(run_page()->given_up_count, 0);
	/* Not everything can be given up: what is no memory, and what has gone already. */
	inflate(39, 2);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(run_page()->given_up_count, 1);
	assert_true(run_page()->given_up[0] == RING(40));
	/* What is taken out is usable once it is filled again, with zeros. */
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RECLAIM, LARGE(1) + RING(21), 1, 0, 0), BULKHEAD_OK);
	deflate(20, 2);
	write_at(handle, REGISTERS + 0x3004, 2, 0);
	assert_int_equal(run_page()->wanted_count, 2);
	assert_true(run_page()->wanted[1] == RING(21));
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(1) + RING(20), RING(20), 2), BULKHEAD_OK);
	(void)read_at(handle, REGISTERS + 0x14, 1);
	assert_int_equal(run_page()->wanted_count, 0);
	assert_int_equal(((uint16_t *)guest_memory(RING(8) + USED))[1], 1);
	/* What is no memory is not waited for. */
	deflate(1u << 30, 2);
	write_at(handle, REGISTERS + 0x3004, 2, 0);
	assert_int_equal(run_page()->wanted_count, 0);
	assert_int_equal(((uint16_t *)guest_memory(RING(8) + USED))[1], 2);
}

static void a_balloon_waits_for_tables_and_forgets_at_a_reset(void **state)
{
	uint64_t handle = make_with_balloon(512); /* one large page: to give a part up takes a table */

	(void)state;
	while (call(BULKHEAD_CALL_GUEST_REFUND, handle, 0, 0, 0) == BULKHEAD_OK)
		;
	inflate(200, 2);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(run_page()->tables, 1);
	assert_int_equal(run_page()->given_up_count, 0);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(150), 0, 0), BULKHEAD_OK);
	(void)read_at(handle, REGISTERS + 0x14, 1);
	assert_int_equal(run_page()->tables, 0);
	assert_int_equal(run_page()->given_up_count, 2);
	/* A request in the middle of its work is forgotten by a reset, which no backend holds up. */
	inflate(210, 40);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_not_equal(guest_of(handle)->platform->platform.waiting, 0);
	write_at(handle, REGISTERS + 0x14, 1, 0);
	(void)read_at(handle, REGISTERS + 0x14, 1);
	(void)read_at(handle, REGISTERS + 0x14, 1);
	write_at(handle, REGISTERS + 0x14, 1, 0);
	assert_int_equal(guest_of(handle)->platform->platform.waiting, 0);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1), 0);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(what_a_guest_gives_up_comes_back_cleared),
		TEST(a_balloon_waits_for_tables_and_forgets_at_a_reset),
	};

	return cmocka_run_group_tests_name("core-balloon", tests, NULL, NULL);
}
