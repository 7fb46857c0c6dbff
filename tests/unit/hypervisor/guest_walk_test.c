/* SPDX-License-Identifier: MIT */
/*
 * Walks of a guest's page tables: all four ways of paging, rights, and marks.
 */
#include "fake_memory.h"
#include "guest_walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define CR0_PG	  (1ull << 31)
#define CR0_WP	  (1ull << 16)
#define CR4_PSE	  (1ull << 4)
#define CR4_PAE	  (1ull << 5)
#define CR4_SMEP  (1ull << 20)
#define CR4_SMAP  (1ull << 21)
#define EFER_LMA  (1ull << 10)
#define EFER_NXE  (1ull << 11)
#define AC	  (1ull << 18)

#define P  1ull
#define W  2ull
#define U  4ull
#define A  0x20ull
#define D  0x40ull
#define PS 0x80ull
#define NX (1ull << 63)

#define LINEAR 0x0000007fc0403123ull /* indices 0, 511, 2, 3 */

_Alignas(8) static uint8_t bytes[0x20000];
static struct memory guest = { bytes, 0, sizeof(bytes), 0 };
static struct guest_paging paging;

static void put64(uint64_t at, uint64_t value)
{
	memcpy(bytes + at, &value, 8);
}

static void put32(uint64_t at, uint32_t value)
{
	memcpy(bytes + at, &value, 4);
}

static uint64_t get64(uint64_t at)
{
	uint64_t value;

	memcpy(&value, bytes + at, 8);
	return value;
}

/* LINEAR is mapped to 9123h by four levels with these rights on each. */
static int long_mode(void **state)
{
	(void)state;
	memset(bytes, 0, sizeof(bytes));
	paging = (struct guest_paging){ .cr0 = CR0_PG | CR0_WP, .cr3 = 0x1000, .cr4 = CR4_PAE,
					.efer = EFER_LMA | EFER_NXE };
	put64(0x1000, 0x2000 | P | W | U);
	put64(0x2000 + 8 * 511, 0x3000 | P | W | U);
	put64(0x3000 + 8 * 2, 0x4000 | P | W | U);
	put64(0x4000 + 8 * 3, 0x9000 | P | W);
	return 0;
}

static bool walk(enum guest_access access, uint64_t *physical)
{
	return guest_walk(&guest, &paging, LINEAR, access, physical);
}

static void four_levels_are_walked(void **state)
{
	uint64_t physical;

	(void)state;
	assert_true(walk(GUEST_READ, &physical));
	assert_int_equal(physical, 0x9123);
	put64(0x3000 + 8 * 2, 0x00a00000 | P | W | PS); /* 2 MiB */
	assert_true(walk(GUEST_READ, &physical));
	assert_int_equal(physical, 0xa03123);
	put64(0x2000 + 8 * 511, 0x40000000 | P | W | PS); /* 1 GiB */
	assert_true(walk(GUEST_READ, &physical));
	assert_int_equal(physical, 0x40403123);
}

static void a_missing_entry_ends_the_walk(void **state)
{
	static const uint64_t entries[] = { 0x1000, 0x2000 + 8 * 511, 0x3000 + 8 * 2, 0x4000 + 8 * 3 };
	uint64_t physical;

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t kept = get64(entries[i]);

		put64(entries[i], kept & ~P);
		assert_false(walk(GUEST_READ, &physical));
		put64(entries[i], kept);
	}
	put64(0x1000, 0x7fffffff000 | P | W | U); /* a table outside memory */
	assert_false(walk(GUEST_READ, &physical));
}

static void rights_are_the_processors(void **state)
{
	uint64_t physical;

	(void)state;
	paging.cpl = 3;
	assert_false(walk(GUEST_READ, &physical)); /* a supervisor's page */
	put64(0x4000 + 8 * 3, 0x9000 | P | U);
	assert_true(walk(GUEST_READ, &physical));
	assert_true(walk(GUEST_FETCH, &physical));
	assert_false(walk(GUEST_WRITE, &physical)); /* read-only */
	paging.cpl = 0;
	assert_false(walk(GUEST_WRITE, &physical));
	paging.cr0 &= ~CR0_WP;
	assert_true(walk(GUEST_WRITE, &physical));
	paging.cr4 |= CR4_SMEP | CR4_SMAP;
	assert_false(walk(GUEST_FETCH, &physical));
	assert_false(walk(GUEST_READ, &physical));
	paging.rflags = AC;
	assert_true(walk(GUEST_READ, &physical));
	put64(0x4000 + 8 * 3, 0x9000 | P | W | NX);
	assert_false(walk(GUEST_FETCH, &physical));
	paging.efer &= ~EFER_NXE;
	assert_true(walk(GUEST_FETCH, &physical));
}

static void a_write_marks_the_page(void **state)
{
	uint64_t physical;

	(void)state;
	assert_true(walk(GUEST_READ, &physical));
	assert_int_equal(get64(0x4000 + 8 * 3), 0x9000 | P | W);
	assert_true(walk(GUEST_WRITE, &physical));
	assert_int_equal(get64(0x4000 + 8 * 3), 0x9000 | P | W | A | D);
	assert_true(walk(GUEST_WRITE, &physical));
}

static void physical_address_extension_has_no_rights_at_the_top(void **state)
{
	uint64_t physical;

	(void)state;
	paging.efer = EFER_NXE;
	paging.cr3 = 0x1020; /* any 32-byte boundary */
	put64(0x1020 + 8 * 3, 0x3000 | P);
	assert_true(guest_walk(&guest, &paging, 0xffffffffc0403123ull, GUEST_WRITE, &physical));
	assert_int_equal(physical, 0x9123);
}

static void old_paging_has_two_levels(void **state)
{
	uint64_t physical;

	(void)state;
	paging.efer = 0;
	paging.cr4 = CR4_PSE;
	put32(0x1000 + 4 * 1, 0x5000 | P | W);
	put32(0x5000 + 4 * 3, 0x6000 | P | W);
	assert_true(guest_walk(&guest, &paging, 0x403123, GUEST_WRITE, &physical));
	assert_int_equal(physical, 0x6123);
	put32(0x1000 + 4 * 1, 0x00c00000 | 1u << 13 | P | W | PS); /* 4 MiB above 4 GiB */
	assert_true(guest_walk(&guest, &paging, 0x403123, GUEST_READ, &physical));
	assert_int_equal(physical, 0x100c03123ull);
	paging.cr4 = 0; /* the bit means nothing then */
	put32(0x1000 + 4 * 1, 0x5000 | P | W | PS);
	assert_true(guest_walk(&guest, &paging, 0x403123, GUEST_READ, &physical));
	assert_int_equal(physical, 0x6123);
}

static void without_paging_addresses_are_physical(void **state)
{
	uint64_t physical;

	(void)state;
	paging.cr0 = 0;
	paging.efer = 0;
	assert_true(guest_walk(&guest, &paging, 0x100001234ull, GUEST_WRITE, &physical));
	assert_int_equal(physical, 0x1234);
}

static void a_fetch_stops_where_nothing_is_mapped(void **state)
{
	uint8_t fetched[15];

	(void)state;
	memset(bytes + 0x9000, 0x90, 0x1000);
	assert_int_equal(guest_fetch(&guest, &paging, LINEAR, fetched, sizeof(fetched)), 15);
	assert_int_equal(guest_fetch(&guest, &paging, (LINEAR & ~0xfffull) + 0xffa, fetched, sizeof(fetched)), 6);
	put64(0x4000 + 8 * 4, 0xa000 | P);
	assert_int_equal(guest_fetch(&guest, &paging, (LINEAR & ~0xfffull) + 0xffa, fetched, sizeof(fetched)), 15);
	assert_int_equal(guest_fetch(&guest, &paging, 0, fetched, sizeof(fetched)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(four_levels_are_walked, long_mode),
		cmocka_unit_test_setup(a_missing_entry_ends_the_walk, long_mode),
		cmocka_unit_test_setup(rights_are_the_processors, long_mode),
		cmocka_unit_test_setup(a_write_marks_the_page, long_mode),
		cmocka_unit_test_setup(physical_address_extension_has_no_rights_at_the_top, long_mode),
		cmocka_unit_test_setup(old_paging_has_two_levels, long_mode),
		cmocka_unit_test_setup(without_paging_addresses_are_physical, long_mode),
		cmocka_unit_test_setup(a_fetch_stops_where_nothing_is_mapped, long_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
