/* SPDX-License-Identifier: MIT */
/*
 * The platform's accessors inside the hypervisor (guest_memory.c): what they reach of a guest and of a relay area, and
 * where they stop.
 */
#include "core_fixture.h"

#include "guest_platform.h"

#define RELAY_BASE  0x40000ull
#define WRAPPED	    (1ull << 48) /* what a walk of four levels would not see */
#define HOLE	    (4 * PAGE_BYTES) /* first address that is not filled */

static uint32_t relay_pages[BULKHEAD_RELAY_PAGES + 1];

/* A guest with four filled pages, 0 .. HOLE, the third and fourth far from the others. */
static struct memory guest_memory(void)
{
	uint64_t handle = make_guest();

	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(10), 0, 2), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(20), 2 * PAGE_BYTES, 2), BULKHEAD_OK);
	return (struct memory){ .guest = guest_of(handle) };
}

/* A relay area in pages of falling numbers; the entry after its last names a page too. */
static struct memory relay_memory(void)
{
	for (uint32_t i = 0; i <= BULKHEAD_RELAY_PAGES; i++)
		relay_pages[i] = (uint32_t)((LARGE(2) + (400 - i) * PAGE_BYTES) / PAGE_BYTES);
	return (struct memory){ .base = RELAY_BASE, .pages = relay_pages };
}

static uint8_t *byte_at(uint64_t address)
{
	return (uint8_t *)arch_page(phys_at(address & ~(PAGE_BYTES - 1))) + (address & (PAGE_BYTES - 1));
}

static void bytes_are_read_and_written_across_pages(void **state)
{
	struct memory guest = guest_memory(), relay = relay_memory();
	uint8_t bytes[PAGE_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	assert_true(memory_write(&guest, 2 * PAGE_BYTES - 100, bytes, sizeof(bytes)));
	assert_int_equal(*byte_at(PAGE(11) + PAGE_BYTES - 100), bytes[0]);
	assert_int_equal(*byte_at(PAGE(20)), bytes[100]);
	memset(bytes, 0, sizeof(bytes));
	assert_true(memory_read(&guest, 2 * PAGE_BYTES - 100, bytes, sizeof(bytes)));
	for (size_t i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], (uint8_t)(i * 7));
	assert_true(memory_copy(&relay, RELAY_BASE + PAGE_BYTES - 8, &guest, 2 * PAGE_BYTES - 100, 4000));
	assert_int_equal(*byte_at(LARGE(2) + 400 * PAGE_BYTES + PAGE_BYTES - 8), bytes[0]);
	assert_int_equal(*byte_at(LARGE(2) + 399 * PAGE_BYTES + 3991), bytes[3999]);
	assert_true(memory_copy(&guest, 0, &relay, RELAY_BASE + PAGE_BYTES - 8, 4000));
	assert_int_equal(*byte_at(PAGE(10) + 3999), bytes[3999]);
}

static void a_guests_memory_ends_where_it_is_not_filled(void **state)
{
	struct memory guest = guest_memory(), relay = relay_memory();
	uint8_t bytes[16] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	(void)state;
	/* What stands in the machine's page 0 is no table, though an empty entry may look as if it led there. */
	for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
		((uint64_t *)arch_page(phys_at(0)))[i] = PAGE(0) | 0x87;
	assert_true(memory_read(&guest, HOLE - 16, bytes, 16));
	assert_true(memory_copy(&relay, RELAY_BASE, &guest, HOLE - 16, 16));
	/* Up to the very end, also where the other side lies in two pages. */
	assert_true(memory_copy(&relay, RELAY_BASE + PAGE_BYTES - 8, &guest, HOLE - 16, 16));
	assert_true(memory_copy(&guest, HOLE - 16, &relay, RELAY_BASE + PAGE_BYTES - 8, 16));
	assert_false(memory_read(&guest, HOLE - 15, bytes, 16));
	assert_false(memory_read(&guest, HOLE, bytes, 1));
	assert_false(memory_read(&guest, WRAPPED, bytes, 1));
	assert_false(memory_read(&guest, UINT64_MAX - 7, bytes, 16));
	memset(bytes, 0xff, sizeof(bytes));
	assert_false(memory_write(&guest, HOLE - 8, bytes, 16));
	assert_false(memory_write(&guest, UINT64_MAX - 7, bytes, 16));
	assert_int_equal(*byte_at(PAGE(21) + PAGE_BYTES - 8), 0);
	assert_false(memory_copy(&guest, HOLE - 8, &relay, RELAY_BASE, 16));
	assert_int_equal(*byte_at(PAGE(21) + PAGE_BYTES - 8), 0);
	*byte_at(LARGE(2) + 400 * PAGE_BYTES) = 9;
	assert_false(memory_copy(&relay, RELAY_BASE, &guest, HOLE - 8, 16));
	assert_int_equal(*byte_at(LARGE(2) + 400 * PAGE_BYTES), 9);
}

static void a_relay_area_has_both_ends(void **state)
{
	struct memory relay = relay_memory();
	const uint64_t end = RELAY_BASE + BULKHEAD_RELAY_AREA_BYTES;
	uint8_t bytes[16];

	(void)state;
	assert_int_equal(BULKHEAD_RELAY_AREA_BYTES, BULKHEAD_RELAY_PAGES * PAGE_BYTES);
	assert_true(memory_read(&relay, RELAY_BASE, bytes, 16));
	assert_true(memory_read(&relay, end - 16, bytes, 16));
	assert_false(memory_read(&relay, end - 15, bytes, 16));
	assert_false(memory_read(&relay, end, bytes, 1));
	assert_false(memory_read(&relay, RELAY_BASE - 1, bytes, 1));
	assert_false(memory_write(&relay, end, bytes, 1));
}

static void an_exchange_is_of_its_size_and_aligned(void **state)
{
	struct memory guest = guest_memory();
	const uint64_t both = 0x1122334455667788ull;

	(void)state;
	assert_true(memory_write(&guest, 8, &both, 8));
	assert_false(memory_exchange(&guest, 8, 4, 0x99, 1));
	assert_true(memory_exchange(&guest, 8, 4, 0x55667788, 0xaabbccdd));
	assert_int_equal(*(uint64_t *)byte_at(PAGE(10) + 8), 0x11223344aabbccddull);
	assert_false(memory_exchange(&guest, 8, 8, both, 0));
	assert_true(memory_exchange(&guest, 8, 8, 0x11223344aabbccddull, both));
	assert_int_equal(*(uint64_t *)byte_at(PAGE(10) + 8), both);
	assert_false(memory_exchange(&guest, 12, 8, 0x11223344ull, 1));
	assert_false(memory_exchange(&guest, 10, 4, 0x33445566, 1));
	assert_int_equal(*(uint64_t *)byte_at(PAGE(10) + 8), both);
	assert_false(memory_exchange(&guest, HOLE, 8, 0, 1));
}

static void more_than_a_page_is_refused(void **state)
{
	struct memory guest = guest_memory(), relay = relay_memory();
	static uint8_t bytes[PAGE_BYTES + 1];

	(void)state;
	assert_true(memory_read(&guest, 8, bytes, PAGE_BYTES));
	assert_false(memory_read(&guest, 8, bytes, PAGE_BYTES + 1));
	assert_false(memory_write(&guest, 8, bytes, PAGE_BYTES + 1));
	assert_false(memory_copy(&guest, 8, &relay, RELAY_BASE, PAGE_BYTES + 1));
	assert_false(memory_read(&guest, UINT64_MAX - 7, bytes, 8 + 2 * PAGE_BYTES));
}

static void a_word_is_compared_where_it_lies(void **state)
{
	struct memory guest = guest_memory(), relay = relay_memory();
	struct memory_word word, other;

	(void)state;
	*(uint64_t *)byte_at(PAGE(20) + 16) = 0x1122334455667788ull;
	assert_true(memory_look(&guest, 2 * PAGE_BYTES + 16, &word));
	assert_int_equal(word.value, 0x1122334455667788ull);
	assert_true(memory_is_same(&word));
	*byte_at(PAGE(20) + 23) ^= 1;
	assert_false(memory_is_same(&word));
	*byte_at(PAGE(20) + 23) ^= 1;
	assert_true(memory_is_same(&word));
	assert_false(memory_look(&guest, 2 * PAGE_BYTES + 20, &other)); /* no multiple of 8 */
	assert_false(memory_look(&guest, HOLE, &other));
	assert_false(memory_look(&guest, WRAPPED, &other));
	assert_true(memory_look(&relay, RELAY_BASE + 8, &other));
	assert_false(memory_look(&relay, RELAY_BASE - 8, &other));
	assert_int_equal(memory_generation(&relay), 0); /* its pages are pinned for as long as it lives */
}

/* Whoever remembers where an address lies asks this number whether it still does. */
static void a_page_that_comes_or_goes_changes_the_generation(void **state)
{
	struct memory guest = guest_memory();
	uint64_t before = memory_generation(&guest);

	(void)state;
	assert_int_equal(memory_generation(&guest), before);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, guest.guest->handle, PAGE(30), HOLE, 1), BULKHEAD_OK);
	assert_int_not_equal(memory_generation(&guest), before);
	guest.guest->state = BULKHEAD_GUEST_SEALED;
	before = memory_generation(&guest);
	assert_int_equal(memory_give_up(&guest, 0), MEMORY_GIVEN);
	assert_int_not_equal(memory_generation(&guest), before);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(bytes_are_read_and_written_across_pages),
		TEST(a_guests_memory_ends_where_it_is_not_filled),
		TEST(a_relay_area_has_both_ends),
		TEST(an_exchange_is_of_its_size_and_aligned),
		TEST(more_than_a_page_is_refused),
		TEST(a_word_is_compared_where_it_lies),
		TEST(a_page_that_comes_or_goes_changes_the_generation),
	};

	return cmocka_run_group_tests_name("core-memory", tests, NULL, NULL);
}
