/* SPDX-License-Identifier: MIT */
/*
 * The store decoder: what drivers write registers with, and what it must refuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <capstone/capstone.h>

#include "store_decoder.h"

#define BYTES(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static const uint64_t gprs[16] = { 0x1111222233334444, 0x5555666677778888, 0x99aabbccddeeff00,
				   0x0123456789abcdef, 0,  5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
				   0xf00dfeedcafebabe };

static void expect(const uint8_t *bytes, size_t count, unsigned int length, unsigned int size,
		   uint64_t value)
{
	struct store store;

	assert_true(store_decode(bytes, count, true, &store));
	assert_int_equal(store.length_bytes, length);
	assert_int_equal(store.size_bytes, size);
	assert_true(store_value(&store, gprs) == value);
}

static void stores_of_registers_are_decoded(void **state)
{
	(void)state;
	expect(BYTES(0x89, 0x08), 2, 4, 0x77778888);			   /* mov %ecx,(%rax) */
	expect(BYTES(0x89, 0x88, 0, 3, 0, 0), 6, 4, 0x77778888);	   /* mov %ecx,0x300(%rax) */
	expect(BYTES(0x44, 0x89, 0x3c, 0x25, 0, 3, 0xe0, 0xfe), 8, 4, 0xcafebabe); /* mov %r15d,abs */
	expect(BYTES(0x48, 0x89, 0x50, 0x10), 4, 8, 0x99aabbccddeeff00);   /* mov %rdx,0x10(%rax) */
	expect(BYTES(0x66, 0x89, 0x11), 3, 2, 0xff00);			   /* mov %dx,(%rcx) */
	expect(BYTES(0x88, 0x20), 2, 1, 0x44);				   /* mov %ah,(%rax) */
	expect(BYTES(0x40, 0x88, 0x20), 3, 1, 0);			   /* mov %spl,(%rax) */
	expect(BYTES(0x89, 0x05, 0, 0, 0, 0), 6, 4, 0x33334444);	   /* rip-relative */
	expect(BYTES(0x89, 0x44, 0x8b, 0x04), 4, 4, 0x33334444);	   /* with SIB and disp8 */
}

static void stores_of_constants_are_decoded(void **state)
{
	(void)state;
	expect(BYTES(0xc7, 0x04, 0x25, 0xb0, 0, 0xe0, 0xfe, 0, 0, 0, 0), 11, 4, 0);
	expect(BYTES(0xc7, 0x00, 0x78, 0x56, 0x34, 0x12), 6, 4, 0x12345678);
	expect(BYTES(0x66, 0xc7, 0x00, 0x34, 0x12), 5, 2, 0x1234);
	expect(BYTES(0x48, 0xc7, 0x00, 0xff, 0xff, 0xff, 0xff), 7, 8, ~0ull);
	expect(BYTES(0xc6, 0x40, 0x05, 0x7f), 4, 1, 0x7f);
}

static void stores_by_absolute_address_are_decoded(void **state)
{
	(void)state;
	expect(BYTES(0xa3, 0, 0, 0xe0, 0xfe, 0, 0, 0, 0), 9, 4, 0x33334444);
	expect(BYTES(0xab), 1, 4, 0x33334444);
}

static void an_exchange_returns_the_old_value(void **state)
{
	uint64_t registers[16];
	struct store store;

	(void)state;
	memcpy(registers, gprs, sizeof(gprs));
	assert_true(store_decode(BYTES(0x87, 0x08), true, &store));
	assert_true(store.is_exchange);
	store_exchange(&store, registers, 0xffffffffdeadbeef);
	assert_true(registers[1] == 0xdeadbeef);
}

static void other_instructions_are_refused(void **state)
{
	struct store store;

	(void)state;
	assert_false(store_decode(BYTES(0x89, 0xc8), true, &store));	   /* register to register */
	assert_false(store_decode(BYTES(0xf0, 0x87, 0x08), true, &store)); /* LOCK */
	assert_false(store_decode(BYTES(0xf3, 0xab), true, &store));	   /* REP STOS */
	assert_false(store_decode(BYTES(0x01, 0x08), true, &store));	   /* ADD */
	assert_false(store_decode(BYTES(0xc7, 0x48, 0, 0, 0, 0, 0), true, &store));
	assert_false(store_decode(BYTES(0x0f, 0x11, 0x00), true, &store)); /* MOVUPS */
}

static void a_cut_instruction_is_refused(void **state)
{
	const uint8_t whole[] = { 0x48, 0xc7, 0x84, 0x25, 1, 2, 3, 4, 5, 6, 7, 8 };
	struct store store;

	(void)state;
	assert_true(store_decode(whole, sizeof(whole), true, &store));
	for (size_t count = 0; count < sizeof(whole); count++)
		assert_false(store_decode(whole, count, true, &store));
}

/* Every instruction of known opcodes, against an independent decoder: lengths must be equal. */
static void lengths_agree_with_capstone(void **state)
{
	static const uint8_t opcodes[] = { 0x86, 0x87, 0x88, 0x89, 0xc6, 0xc7, 0xa2, 0xa3, 0xaa, 0xab };
	static const uint8_t prefixes[] = { 0, 0x66, 0x67, 0x41, 0x44, 0x48, 0x4f, 0x2e };
	unsigned int compared = 0;
	csh handle;

	(void)state;
	assert_int_equal(cs_open(CS_ARCH_X86, CS_MODE_64, &handle), CS_ERR_OK);
	for (size_t p = 0; p < sizeof(prefixes); p++)
		for (size_t o = 0; o < sizeof(opcodes); o++)
			for (unsigned int modrm = 0; modrm < 256; modrm++) {
				uint8_t bytes[15] = { 0 };
				size_t at = 0;
				struct store store;
				cs_insn *instruction;

				if (prefixes[p])
					bytes[at++] = prefixes[p];
				bytes[at++] = opcodes[o];
				bytes[at++] = (uint8_t)modrm;
				bytes[at] = (uint8_t)(modrm * 37); /* SIB or displacement */
				if (!store_decode(bytes, sizeof(bytes), true, &store))
					continue;
				assert_int_equal(cs_disasm(handle, bytes, sizeof(bytes), 0, 1, &instruction), 1);
				assert_int_equal(store.length_bytes, instruction->size);
				cs_free(instruction, 1);
				compared++;
			}
	cs_close(&handle);
	assert_true(compared > 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stores_of_registers_are_decoded),
		cmocka_unit_test(stores_of_constants_are_decoded),
		cmocka_unit_test(stores_by_absolute_address_are_decoded),
		cmocka_unit_test(an_exchange_returns_the_old_value),
		cmocka_unit_test(other_instructions_are_refused),
		cmocka_unit_test(a_cut_instruction_is_refused),
		cmocka_unit_test(lengths_agree_with_capstone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
