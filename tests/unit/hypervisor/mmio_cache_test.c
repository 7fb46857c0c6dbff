/* SPDX-License-Identifier: MIT */
/*
 * Decoded instructions are found again without a walk, and whatever the guest changes that they came from, the instruction
 * that is there now is what is found. Memory that moved is freed: a sanitizer would see it touched.
 */
#include "fake_memory.h"
#include "mmio_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CR0_PG	 (1ull << 31)
#define CR4_PAE	 (1ull << 5)
#define CR4_SMEP (1ull << 20)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)

#define P  1ull
#define W  2ull
#define U  4ull
#define NX (1ull << 63)

#define MEMORY_BYTES 0x20000u
#define LINEAR	     0x0000007fc0403123ull /* indices 0, 511, 2, 3 */
#define CODE	     0x9123u
#define OTHER_CODE   0xa123u

static const uint8_t load[] = { 0x8b, 0x07 };			     /* mov (%rdi), %eax */
static const uint8_t store[] = { 0x66, 0xc7, 0x47, 0x04, 0x34, 0x12 }; /* movw $1234h, 4(%rdi) */

/* Where the walk's entries stand. */
static const uint64_t entries[] = { 0x1000, 0x2000 + 8 * 511, 0x3000 + 8 * 2, 0x4000 + 8 * 3 };

static struct memory guest;
static struct guest_paging paging;
static struct mmio_cache cache;
static enum mmio_mode mode;

static void put64(uint64_t at, uint64_t value)
{
	memcpy(guest.bytes + at, &value, 8);
}

static uint64_t get64(uint64_t at)
{
	uint64_t value;

	memcpy(&value, guest.bytes + at, 8);
	return value;
}

static int setup(void **state)
{
	(void)state;
	guest = (struct memory){ .bytes = calloc(1, MEMORY_BYTES), .size_bytes = MEMORY_BYTES };
	paging = (struct guest_paging){ .cr0 = CR0_PG, .cr3 = 0x1000, .cr4 = CR4_PAE, .efer = EFER_LMA | EFER_NXE };
	cache = (struct mmio_cache){ 0 };
	mode = MMIO_CODE_64;
	for (unsigned int i = 0; i < 4; i++)
		put64(entries[i], (0x2000 + i * 0x1000) | P | W | U);
	put64(entries[3], (CODE & ~0xfffull) | P | W | U);
	memcpy(guest.bytes + CODE, load, sizeof(load));
	memcpy(guest.bytes + OTHER_CODE, store, sizeof(store));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(guest.bytes);
	return 0;
}

static const struct mmio_instruction *find(void)
{
	return mmio_cache_find(&cache, &guest, &paging, LINEAR, mode);
}

static void is_load(void)
{
	const struct mmio_instruction *found = find();

	assert_non_null(found);
	assert_int_equal(found->kind, MMIO_LOAD);
	assert_int_equal(found->length_bytes, sizeof(load));
}

static void is_store(void)
{
	const struct mmio_instruction *found = find();

	assert_non_null(found);
	assert_int_equal(found->kind, MMIO_STORE);
	assert_int_equal(found->length_bytes, sizeof(store));
	assert_int_equal(found->immediate, 0x1234);
}

static void what_is_remembered_is_found_without_a_walk(void **state)
{
	(void)state;
	is_load();
	fake_memory_asked = 0;
	is_load();
	assert_int_equal(fake_memory_asked, 0);
	/* The control: a fresh walk asks. */
	cache = (struct mmio_cache){ 0 };
	is_load();
	assert_true(fake_memory_asked >= 5);
}

static void an_entry_that_changes_at_any_level_is_followed(void **state)
{
	(void)state;
	for (unsigned int level = 0; level < 4; level++) {
		uint64_t kept = get64(entries[level]);

		/* The tables below it once more, so that only this entry leads to the other code. */
		for (unsigned int below = level + 1; below < 4; below++)
			put64(0x10000 + below * 0x1000 + (entries[below] & 0xfff),
			      below == 3 ? (OTHER_CODE & ~0xfffull) | P : (0x10000 + (below + 1) * 0x1000) | P | W);
		is_load();
		put64(entries[level], level == 3 ? (OTHER_CODE & ~0xfffull) | P : (0x10000 + (level + 1) * 0x1000) | P | W);
		is_store();
		is_store();
		put64(entries[level], kept);
		is_load();
		/* Twice: that nothing is there must not be remembered as what was there before. */
		put64(entries[level], kept & ~P);
		assert_null(find());
		assert_null(find());
		put64(entries[level], kept | NX);
		assert_null(find());
		assert_null(find());
		put64(entries[level], kept);
		is_load();
	}
}

static void code_that_changes_is_decoded_again(void **state)
{
	(void)state;
	is_load();
	memcpy(guest.bytes + CODE, store, sizeof(store));
	is_store();
	guest.bytes[CODE + 4] = 0x35; /* one byte, of the immediate */
	assert_int_equal(find()->immediate, 0x1235);
	guest.bytes[CODE] = 0x0f; /* none we know */
	guest.bytes[CODE + 1] = 0x05;
	assert_null(find());
	memcpy(guest.bytes + CODE, load, sizeof(load));
	is_load();
}

static void every_byte_of_the_longest_instruction_counts(void **state)
{
	/* 15 bytes: redundant prefixes, REX.W, an index, a displacement, an immediate. */
	static const uint8_t longest[] = { 0x66, 0x66, 0x3e, 0x48, 0xc7, 0x84, 0x07, 1, 2, 3, 4, 5, 6, 7, 8 };

	(void)state;
	for (uint32_t offset = 0; offset < 8; offset++) {
		uint64_t at = (CODE & ~0xfffull) + 0x200 + offset, linear = (LINEAR & ~0xfffull) + 0x200 + offset;

		memcpy(guest.bytes + at, longest, sizeof(longest));
		for (uint32_t i = 0; i < sizeof(longest); i++) {
			struct mmio_instruction fresh = { 0 };
			const struct mmio_instruction *found;
			bool is_known;

			assert_non_null(mmio_cache_find(&cache, &guest, &paging, linear, mode));
			guest.bytes[at + i] ^= 0x10;
			is_known = mmio_decode(guest.bytes + at, sizeof(longest), mode, &fresh);
			fake_memory_asked = 0;
			found = mmio_cache_find(&cache, &guest, &paging, linear, mode);
			assert_true(fake_memory_asked > 0);
			assert_int_equal(found != NULL, is_known);
			if (found) {
				assert_int_equal(found->length_bytes, fresh.length_bytes);
				assert_int_equal(found->immediate, fresh.immediate);
			}
			guest.bytes[at + i] ^= 0x10;
		}
	}
}

static void another_mode_is_another_instruction(void **state)
{
	static const uint8_t rex_load[] = { 0x48, 0x8b, 0x07 }; /* outside 64-bit code: DEC, then MOV */

	(void)state;
	memcpy(guest.bytes + CODE, rex_load, sizeof(rex_load));
	assert_non_null(find());
	mode = MMIO_CODE_32;
	assert_null(find());
	mode = MMIO_CODE_64;
	assert_non_null(find());
	/* The page is a user's: with SMEP the kernel may not run it, a user may. */
	paging.cr4 |= CR4_SMEP;
	assert_null(find());
	paging.cpl = 3;
	assert_non_null(find());
	/* What the kernel runs a user may not, if the page is the kernel's. */
	put64(entries[3], (CODE & ~0xfffull) | P | W);
	paging.cpl = 0;
	assert_non_null(find());
	paging.cpl = 3;
	assert_null(find());
	paging.cpl = 0;
	assert_non_null(find());
	/* Bit 63 forbids nothing where it is not enabled. */
	put64(entries[3], (CODE & ~0xfffull) | P | W | NX);
	paging.efer &= ~EFER_NXE;
	assert_non_null(find());
	paging.efer |= EFER_NXE;
	assert_null(find());
	put64(entries[3], (CODE & ~0xfffull) | P | W);
	assert_non_null(find());
	/* Without paging the address is another one, where nothing is. */
	paging.cr0 &= ~CR0_PG;
	assert_null(find());
}

static void another_table_is_another_instruction(void **state)
{
	(void)state;
	memcpy(guest.bytes + 0x10000, guest.bytes + 0x1000, 0x4000);
	put64(0x10000, 0x11000 | P | W);
	put64(0x11000 + 8 * 511, 0x12000 | P | W);
	put64(0x12000 + 8 * 2, 0x13000 | P | W);
	put64(0x13000 + 8 * 3, (OTHER_CODE & ~0xfffull) | P | W);
	is_load();
	paging.cr3 = 0x10000;
	is_store();
	paging.cr3 = 0x1000;
	is_load();
}

static void memory_that_moved_is_not_touched(void **state)
{
	uint8_t *moved = malloc(MEMORY_BYTES);

	(void)state;
	is_load();
	memcpy(moved, guest.bytes, MEMORY_BYTES);
	free(guest.bytes);
	guest.bytes = moved;
	guest.generation++;
	memcpy(guest.bytes + CODE, store, sizeof(store));
	is_store();
	/* All of it is gone. */
	guest.size_bytes = 0;
	guest.generation++;
	assert_null(find());
	guest.size_bytes = MEMORY_BYTES;
	guest.generation++;
	is_store();
}

static void an_instruction_in_two_pages_is_found_each_time(void **state)
{
	const uint64_t linear = (LINEAR & ~0xfffull) + 0xffe;
	const struct mmio_instruction *found;

	(void)state;
	put64(entries[3] + 8, 0xc000 | P | W);
	memcpy(guest.bytes + 0x9ffe, store, 2);
	memcpy(guest.bytes + 0xc000, store + 2, sizeof(store) - 2);
	found = mmio_cache_find(&cache, &guest, &paging, linear, mode);
	assert_non_null(found);
	assert_int_equal(found->immediate, 0x1234);
	put64(entries[3] + 8, 0xd000 | P | W);
	found = mmio_cache_find(&cache, &guest, &paging, linear, mode); /* zeros follow there */
	assert_non_null(found);
	assert_int_equal(found->immediate, 0);
	memcpy(guest.bytes + 0xd000, store + 2, sizeof(store) - 2);
	guest.bytes[0xd002] = 0x35;
	found = mmio_cache_find(&cache, &guest, &paging, linear, mode);
	assert_non_null(found);
	assert_int_equal(found->immediate, 0x1235);
}

static void old_ways_of_paging_are_remembered_too(void **state)
{
	const uint32_t kept = 0x9000 | (uint32_t)P, other = 0xa000 | (uint32_t)P, table = 0x4000 | (uint32_t)P;

	(void)state;
	mode = MMIO_CODE_32;
	paging = (struct guest_paging){ .cr0 = CR0_PG, .cr3 = 0x1000 };
	/* Indices 769 and 3: an odd entry, in the upper half of its word. */
	memset(guest.bytes + 0x1000, 0, 0x4000);
	memcpy(guest.bytes + 0x1000 + 4 * 769, &table, 4);
	memcpy(guest.bytes + 0x4000 + 4 * 3, &kept, 4);
	is_load();
	fake_memory_asked = 0;
	is_load();
	assert_int_equal(fake_memory_asked, 0);
	memcpy(guest.bytes + 0x4000 + 4 * 3, &other, 4);
	is_store();
	paging.cr0 = 0;
	assert_null(mmio_cache_find(&cache, &guest, &paging, MEMORY_BYTES, mode));
	assert_int_equal(mmio_cache_find(&cache, &guest, &paging, CODE, mode)->kind, MMIO_LOAD);
	memcpy(guest.bytes + CODE, store, sizeof(store));
	assert_int_equal(mmio_cache_find(&cache, &guest, &paging, CODE, mode)->kind, MMIO_STORE);
}

/* The guest's other processor changes tables and code under the first one's memory of them. */
static void processors_remember_for_themselves(void **state)
{
	struct mmio_cache other = { 0 };

	(void)state;
	is_load();
	assert_int_equal(mmio_cache_find(&other, &guest, &paging, LINEAR, mode)->kind, MMIO_LOAD);
	put64(entries[3], (OTHER_CODE & ~0xfffull) | P);
	assert_int_equal(mmio_cache_find(&other, &guest, &paging, LINEAR, mode)->kind, MMIO_STORE);
	is_store();
}

static void change_code(uint64_t address)
{
	if (address == (CODE & ~7ull))
		memcpy(guest.bytes + CODE, store, sizeof(store));
}

static void code_that_changes_while_it_is_decoded_is_not_remembered(void **state)
{
	(void)state;
	fake_memory_before_look = change_code;
	is_load(); /* what was read first */
	fake_memory_before_look = NULL;
	is_store();
	is_store();
}

static void places_that_share_an_entry_take_turns(void **state)
{
	const uint64_t other = LINEAR + MMIO_CACHE_ENTRIES * 8;

	(void)state;
	memcpy(guest.bytes + CODE + MMIO_CACHE_ENTRIES * 8, store, sizeof(store));
	for (unsigned int turn = 0; turn < 3; turn++) {
		is_load();
		assert_int_equal(mmio_cache_find(&cache, &guest, &paging, other, mode)->kind, MMIO_STORE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_remembered_is_found_without_a_walk, setup, teardown),
		cmocka_unit_test_setup_teardown(an_entry_that_changes_at_any_level_is_followed, setup, teardown),
		cmocka_unit_test_setup_teardown(code_that_changes_is_decoded_again, setup, teardown),
		cmocka_unit_test_setup_teardown(every_byte_of_the_longest_instruction_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(another_mode_is_another_instruction, setup, teardown),
		cmocka_unit_test_setup_teardown(another_table_is_another_instruction, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_that_moved_is_not_touched, setup, teardown),
		cmocka_unit_test_setup_teardown(an_instruction_in_two_pages_is_found_each_time, setup, teardown),
		cmocka_unit_test_setup_teardown(old_ways_of_paging_are_remembered_too, setup, teardown),
		cmocka_unit_test_setup_teardown(processors_remember_for_themselves, setup, teardown),
		cmocka_unit_test_setup_teardown(code_that_changes_while_it_is_decoded_is_not_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(places_that_share_an_entry_take_turns, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
