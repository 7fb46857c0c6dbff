/* SPDX-License-Identifier: MIT */
/*
 * The MMIO decoder against two judges that know better: this machine's processor, which executes the same instruction
 * on ordinary memory and must leave the same registers, flags and memory; and Capstone, for lengths in all modes.
 */
#include "fake_memory.h"
#include "mmio_decoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <capstone/capstone.h>
#include <cmocka.h>

#define DEVICE_AT 0xfec00040ull
#define FLAG_CF	  0x001u
#define FLAG_AF	  0x010u
#define FLAG_DF	  0x400u
#define FLAGS_ALL 0x8d5u

/* Registers as native_run() takes them; RSP and RBP are not loaded. */
struct native {
	uint64_t gpr[16];
	uint64_t rflags;
};

void native_run(struct native *registers, const void *code);

__asm__(".text\n"
	".globl native_run\n"
	"native_run:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	push %rsi\n"
	"	mov %rdi, %rbp\n"
	"	mov 128(%rbp), %rax\n	push %rax\n	popfq\n"
	"	mov 0(%rbp), %rax\n	mov 8(%rbp), %rcx\n	mov 16(%rbp), %rdx\n	mov 24(%rbp), %rbx\n"
	"	mov 48(%rbp), %rsi\n	mov 56(%rbp), %rdi\n	mov 64(%rbp), %r8\n	mov 72(%rbp), %r9\n"
	"	mov 80(%rbp), %r10\n	mov 88(%rbp), %r11\n	mov 96(%rbp), %r12\n	mov 104(%rbp), %r13\n"
	"	mov 112(%rbp), %r14\n	mov 120(%rbp), %r15\n"
	"	call *(%rsp)\n"
	"	mov %rax, 0(%rbp)\n	mov %rcx, 8(%rbp)\n	mov %rdx, 16(%rbp)\n	mov %rbx, 24(%rbp)\n"
	"	mov %rsi, 48(%rbp)\n	mov %rdi, 56(%rbp)\n	mov %r8, 64(%rbp)\n	mov %r9, 72(%rbp)\n"
	"	mov %r10, 80(%rbp)\n	mov %r11, 88(%rbp)\n	mov %r12, 96(%rbp)\n	mov %r13, 104(%rbp)\n"
	"	mov %r14, 112(%rbp)\n	mov %r15, 120(%rbp)\n"
	"	pushfq\n	pop %rax\n	mov %rax, 128(%rbp)\n	cld\n"
	"	pop %rsi\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n"
	"	ret\n");

static uint8_t *code;
_Alignas(8) static uint8_t device_bytes[64], page_bytes[64];
static uint64_t registers[16];
static struct memory guest = { page_bytes, 0x5000, sizeof(page_bytes), 0 };

static uint64_t device_read(void *context, uint64_t address, uint32_t size_bytes)
{
	uint64_t value = 0;

	(void)context;
	memcpy(&value, device_bytes + (address - DEVICE_AT), size_bytes);
	return value;
}

static void device_write(void *context, uint64_t address, uint32_t size_bytes, uint64_t value)
{
	(void)context;
	memcpy(device_bytes + (address - DEVICE_AT), &value, size_bytes);
}

static const struct mmio_device device = { .read = device_read, .write = device_write };

static unsigned int port_accesses;

static uint64_t port_read(void *context, uint64_t port, uint32_t size_bytes)
{
	port_accesses++;
	return device_read(context, DEVICE_AT - (uint16_t)DEVICE_AT + port, size_bytes);
}

static void port_write(void *context, uint64_t port, uint32_t size_bytes, uint64_t value)
{
	port_accesses++;
	device_write(context, DEVICE_AT - (uint16_t)DEVICE_AT + port, size_bytes, value);
}

static const struct mmio_device port_device = { .read = port_read, .write = port_write };

static uint64_t random64(void)
{
	return (uint64_t)(uint32_t)mrand48() << 32 ^ (uint64_t)(uint32_t)mrand48();
}

/* Values that make carries, borrows and signs likely. */
static uint64_t random_value(void)
{
	static const uint64_t edges[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
					  0xffffffff, ~0ull, 1ull << 63 };

	return mrand48() & 1 ? random64() : edges[(uint32_t)mrand48() % 13];
}

static int open_code(void **state)
{
	(void)state;
	code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	srand48(1);
	return code == MAP_FAILED;
}

/* Which flags the instruction set defines after an operation (APM volume 3). */
static uint64_t defined_flags(const struct mmio_instruction *instruction)
{
	if (instruction->kind != MMIO_TO_MEMORY && instruction->kind != MMIO_TO_REGISTER)
		return FLAGS_ALL;
	switch (instruction->operation) {
	case MMIO_OR:
	case MMIO_AND:
	case MMIO_XOR:
	case MMIO_TEST:
		return FLAGS_ALL & ~FLAG_AF;
	case MMIO_BT:
	case MMIO_BTS:
	case MMIO_BTR:
	case MMIO_BTC:
		return FLAG_CF;
	default:
		return FLAGS_ALL;
	}
}

/* Runs one instruction, whose memory operand is at RDI, here and there. Returns false if it is not known. */
static bool agrees(const uint8_t *bytes, uint32_t count)
{
	uint64_t buffer = random_value();
	struct mmio_instruction instruction;
	struct mmio_state state = { .gpr = registers, .mode = MMIO_CODE_64, .rip = 0x1000 };
	struct native native = { .rflags = 2 | ((uint64_t)(uint32_t)mrand48() & FLAGS_ALL) };

	if (!mmio_decode(bytes, count, MMIO_CODE_64, &instruction))
		return false;
	if (instruction.gpr == 4 || instruction.gpr == 5)
		return true; /* RSP and RBP are not ours to load */
	for (unsigned int i = 0; i < 16; i++)
		native.gpr[i] = random_value();
	native.gpr[7] = (uintptr_t)&buffer;
	memcpy(registers, native.gpr, sizeof(registers));
	state.rflags = native.rflags;
	memcpy(device_bytes, &buffer, sizeof(buffer));
	memcpy(code, bytes, count);
	code[instruction.length_bytes] = 0xc3;

	native_run(&native, code);
	assert_true(mmio_execute(&state, &instruction, &guest, DEVICE_AT, true, &device));
	for (unsigned int i = 0; i < 16; i++)
		assert_true(state.gpr[i] == native.gpr[i]);
	assert_true(((state.rflags ^ native.rflags) & defined_flags(&instruction)) == 0);
	assert_memory_equal(device_bytes, &buffer, sizeof(buffer));
	assert_int_equal(state.rip, 0x1000 + instruction.length_bytes);
	return true;
}

/* Not prefixes, not the accumulator's absolute forms, not MOVS and LODS, which read from RSI. */
static bool has_rdi(unsigned int opcode)
{
	static const uint8_t others[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xa0, 0xa1, 0xa2,
					  0xa3, 0xa4, 0xa5, 0xac, 0xad, 0xf0, 0xf2, 0xf3, 0x0f };

	for (unsigned int i = 0; i < sizeof(others); i++)
		if (opcode == others[i])
			return false;
	return (opcode & 0xff0) != 0x40;
}

/* Every known opcode, every register, with and without operand size, REX and REX.W. */
static void agrees_with_the_processor(void **state)
{
	static const uint8_t prefixes[][2] = { { 0 }, { 0x66 }, { 0x48 }, { 0x44 }, { 0x4c }, { 0x40 }, { 0x66, 0x44 } };
	unsigned int compared = 0;

	(void)state;
	for (unsigned int prefix = 0; prefix < 7; prefix++)
		for (unsigned int opcode = 0; opcode < 0x200; opcode++)
			for (unsigned int reg = 0; reg < 8; reg++)
				for (unsigned int round = 0; round < 8; round++) {
					uint8_t bytes[15] = { 0 };
					uint32_t at = 0;

					if (!has_rdi(opcode))
						continue;
					for (unsigned int i = 0; i < 2 && prefixes[prefix][i]; i++)
						bytes[at++] = prefixes[prefix][i];
					if (opcode >= 0x100)
						bytes[at++] = 0x0f;
					bytes[at++] = (uint8_t)opcode;
					if (opcode != 0xaa && opcode != 0xab)
						bytes[at++] = (uint8_t)(reg << 3 | 7);
					for (unsigned int i = 0; i < 4; i++)
						bytes[at + i] = (uint8_t)mrand48();
					compared += agrees(bytes, sizeof(bytes) - 1);
				}
	assert_true(compared > 20000);
}

static uint32_t capstone_length(csh handle, const uint8_t *bytes, uint32_t count)
{
	cs_insn *instruction;
	uint32_t length = 0;

	if (cs_disasm(handle, bytes, count, 0, 1, &instruction) == 1) {
		length = instruction->size;
		cs_free(instruction, 1);
	}
	return length;
}

static void lengths_agree_with_capstone(void **state)
{
	static const cs_mode modes[] = { CS_MODE_16, CS_MODE_32, CS_MODE_64 };
	static const enum mmio_mode ours[] = { MMIO_CODE_16, MMIO_CODE_32, MMIO_CODE_64 };
	static const uint8_t prefixes[] = { 0, 0x66, 0x67, 0x26, 0xf3, 0x41, 0x48 };
	unsigned int compared = 0;

	(void)state;
	for (unsigned int mode = 0; mode < 3; mode++) {
		csh handle;

		assert_int_equal(cs_open(CS_ARCH_X86, modes[mode], &handle), CS_ERR_OK);
		for (unsigned int prefix = 0; prefix < sizeof(prefixes); prefix++)
			for (unsigned int opcode = 0; opcode < 0x200; opcode++)
				for (unsigned int modrm = 0; modrm < 256; modrm++) {
					struct mmio_instruction instruction;
					uint8_t bytes[15] = { 0 };
					uint32_t at = 0;

					/* A REX prefix is another instruction outside 64-bit mode. */
					if (prefixes[prefix] >= 0x40 && prefixes[prefix] < 0x50 && mode != 2)
						continue;
					if (prefixes[prefix])
						bytes[at++] = prefixes[prefix];
					if (opcode >= 0x100)
						bytes[at++] = 0x0f;
					bytes[at++] = (uint8_t)opcode;
					bytes[at++] = (uint8_t)modrm;
					bytes[at] = (uint8_t)(modrm * 37);
					if (!mmio_decode(bytes, sizeof(bytes), ours[mode], &instruction))
						continue;
					/* Capstone 4 refuses some it should know; where it answers, it must agree. */
					if (!capstone_length(handle, bytes, sizeof(bytes)))
						continue;
					assert_int_equal(instruction.length_bytes,
							 capstone_length(handle, bytes, sizeof(bytes)));
					compared++;
				}
		cs_close(&handle);
	}
	assert_true(compared > 60000);
}

static struct mmio_state string_state(uint64_t rcx)
{
	struct mmio_state state = { .gpr = registers, .mode = MMIO_CODE_64, .rip = 0x1000, .rflags = 2 };

	memset(registers, 0, sizeof(registers));
	state.gpr[1] = rcx;
	state.gpr[6] = 0x5000;
	state.gpr[7] = 0x5000;
	return state;
}

static void a_repeated_move_does_one_element_a_call(void **unused)
{
	static const uint8_t rep_movsd[] = { 0xf3, 0xa5 };
	struct mmio_instruction instruction;
	struct mmio_state state = string_state(2);

	(void)unused;
	assert_true(mmio_decode(rep_movsd, sizeof(rep_movsd), MMIO_CODE_64, &instruction));
	memcpy(device_bytes, "abcdefgh", 8);
	assert_true(mmio_execute(&state, &instruction, &guest, DEVICE_AT, false, &device));
	assert_int_equal(state.rip, 0x1000);
	assert_int_equal(state.gpr[1], 1);
	assert_int_equal(state.gpr[7], 0x5004);
	assert_true(mmio_execute(&state, &instruction, &guest, DEVICE_AT + 4, false, &device));
	assert_int_equal(state.rip, 0x1002);
	assert_int_equal(state.gpr[1], 0);
	assert_memory_equal(page_bytes, "abcdefgh", 8);
	assert_true(mmio_execute(&state, &instruction, &guest, DEVICE_AT, false, &device)); /* RCX 0: nothing */
	assert_int_equal(state.gpr[7], 0x5008);
}

static void a_move_goes_the_way_of_the_access_and_backwards(void **unused)
{
	static const uint8_t movsw[] = { 0x66, 0xa5 };
	struct mmio_instruction instruction;
	struct mmio_state state = string_state(0);

	(void)unused;
	state.rflags |= FLAG_DF;
	assert_true(mmio_decode(movsw, sizeof(movsw), MMIO_CODE_64, &instruction));
	memcpy(page_bytes, "xy", 2);
	assert_true(mmio_execute(&state, &instruction, &guest, DEVICE_AT + 8, true, &device));
	assert_memory_equal(device_bytes + 8, "xy", 2);
	assert_int_equal(state.gpr[6], 0x4ffe);
	assert_int_equal(state.gpr[7], 0x4ffe);
}

static void what_cannot_be_carried_out_changes_nothing(void **unused)
{
	static const uint8_t movsd[] = { 0xa5 }, store[] = { 0x89, 0x07 };
	struct mmio_instruction instruction;
	struct mmio_state state = string_state(0), before = state;
	uint64_t kept[16];

	(void)unused;
	state.gpr[6] = state.gpr[7] = 0x9000; /* no memory there */
	memcpy(kept, registers, sizeof(kept));
	assert_true(mmio_decode(movsd, sizeof(movsd), MMIO_CODE_64, &instruction));
	assert_false(mmio_execute(&state, &instruction, &guest, DEVICE_AT, false, &device));
	assert_false(mmio_execute(&state, &instruction, &guest, DEVICE_AT, true, &device));
	assert_memory_equal(&state, &before, sizeof(state));
	assert_memory_equal(registers, kept, sizeof(kept));
	state.gpr[6] = state.gpr[7] = 0x5ffe; /* crosses a page */
	assert_false(mmio_execute(&state, &instruction, &guest, DEVICE_AT, true, &device));
	assert_true(mmio_decode(store, sizeof(store), MMIO_CODE_64, &instruction));
	assert_false(mmio_execute(&state, &instruction, &guest, 0xfec00ffe, true, &device));
}

static void a_port_takes_and_gives_one_element_a_call(void **unused)
{
	static const uint8_t rep_outsw[] = { 0xf3, 0x66, 0x6f }, insd[] = { 0x48, 0x6d }, rep_insb[] = { 0xf3, 0x6c };
	struct mmio_instruction instruction;
	struct mmio_state state = string_state(2);
	const uint16_t port = (uint16_t)DEVICE_AT;

	(void)unused;
	assert_true(mmio_decode_port(rep_outsw, sizeof(rep_outsw), MMIO_CODE_64, &instruction));
	assert_int_equal(instruction.kind, MMIO_OUTS);
	memcpy(page_bytes, "abcdefgh", 8);
	assert_true(mmio_execute_port(&state, &instruction, &guest, port, &port_device));
	assert_memory_equal(device_bytes, "ab", 2);
	assert_int_equal(state.rip, 0x1000);
	assert_true(mmio_execute_port(&state, &instruction, &guest, port, &port_device));
	assert_memory_equal(device_bytes, "cd", 2);
	assert_int_equal(state.gpr[6], 0x5004);
	assert_int_equal(state.rip, 0x1003);
	assert_true(mmio_execute_port(&state, &instruction, &guest, port, &port_device)); /* RCX 0: nothing */
	assert_int_equal(state.gpr[6], 0x5004);

	/* No port is wider than four bytes, whatever REX.W says. */
	assert_true(mmio_decode_port(insd, sizeof(insd), MMIO_CODE_64, &instruction));
	assert_int_equal(instruction.size_bytes, 4);
	state = string_state(7);
	state.rflags |= FLAG_DF;
	memcpy(device_bytes, "WXYZ", 4);
	assert_true(mmio_execute_port(&state, &instruction, &guest, port, &port_device));
	assert_memory_equal(page_bytes, "WXYZefgh", 8);
	assert_int_equal(state.gpr[7], 0x4ffc);
	assert_int_equal(state.gpr[1], 7);
	assert_int_equal(state.rip, 0x1002);

	/* In real mode segments count, and registers are 16 bits wide. */
	assert_true(mmio_decode_port(rep_insb, sizeof(rep_insb), MMIO_CODE_16, &instruction));
	state = string_state(0xabcd0001);
	state.mode = MMIO_CODE_16;
	state.gpr[7] = 0xffff0008;
	state.segment_base[0] = 0x5000;
	assert_true(mmio_execute_port(&state, &instruction, &guest, port, &port_device));
	assert_int_equal(page_bytes[8], 'W');
	assert_int_equal(state.gpr[7], 0xffff0009);
	assert_int_equal(state.gpr[1], 0xabcd0000);
}

static void a_port_whose_memory_is_not_there_is_not_touched(void **unused)
{
	static const uint8_t insb[] = { 0x6c }, outsd[] = { 0x6f };
	struct mmio_instruction instruction;
	struct mmio_state state = string_state(0), before = state;
	uint64_t kept[16];

	(void)unused;
	state.gpr[6] = state.gpr[7] = 0x9000;
	memcpy(kept, registers, sizeof(kept));
	port_accesses = 0;
	assert_true(mmio_decode_port(insb, sizeof(insb), MMIO_CODE_64, &instruction));
	assert_false(mmio_execute_port(&state, &instruction, &guest, 1, &port_device));
	assert_true(mmio_decode_port(outsd, sizeof(outsd), MMIO_CODE_64, &instruction));
	assert_false(mmio_execute_port(&state, &instruction, &guest, 1, &port_device));
	state.gpr[6] = kept[6] = 0x5ffd; /* crosses a page */
	assert_false(mmio_execute_port(&state, &instruction, &guest, 1, &port_device));
	assert_memory_equal(&state, &before, sizeof(state));
	assert_memory_equal(registers, kept, sizeof(kept));
	assert_int_equal(port_accesses, 0);
}

/* In every mode and behind every prefix the length is Capstone's, and nothing but INS and OUTS is taken for them. */
static void port_instructions_agree_with_capstone(void **unused)
{
	static const cs_mode modes[] = { CS_MODE_16, CS_MODE_32, CS_MODE_64 };
	static const enum mmio_mode ours[] = { MMIO_CODE_16, MMIO_CODE_32, MMIO_CODE_64 };
	unsigned int compared = 0;

	(void)unused;
	for (unsigned int mode = 0; mode < 3; mode++) {
		csh handle;

		assert_int_equal(cs_open(CS_ARCH_X86, modes[mode], &handle), CS_ERR_OK);
		for (unsigned int prefix = 0; prefix < 256; prefix++)
			for (unsigned int opcode = 0; opcode < 256; opcode++) {
				const uint8_t bytes[MMIO_INSTRUCTION_BYTES] = { (uint8_t)prefix, (uint8_t)opcode };
				struct mmio_instruction instruction;
				cs_insn *judge;

				if (!mmio_decode_port(bytes, sizeof(bytes), ours[mode], &instruction))
					continue;
				assert_int_equal(cs_disasm(handle, bytes, sizeof(bytes), 0, 1, &judge), 1);
				assert_int_equal(instruction.length_bytes, judge->size);
				assert_non_null(strstr(judge->mnemonic, instruction.kind == MMIO_INS ? "ins" : "outs"));
				assert_int_equal("bwd"[instruction.size_bytes / 2],
						 judge->mnemonic[strlen(judge->mnemonic) - 1]);
				assert_false(mmio_decode(bytes, sizeof(bytes), ours[mode], &instruction));
				cs_free(judge, 1);
				compared++;
			}
		cs_close(&handle);
	}
	assert_true(compared > 3 * 4 * 256);
}

static void other_instructions_are_refused(void **unused)
{
	static const uint8_t refused[][4] = {
		{ 0x89, 0xc8 },		    /* register to register */
		{ 0xf0, 0x89, 0x07 },	    /* LOCK MOV */
		{ 0x0f, 0x11, 0x07 },	    /* MOVUPS */
		{ 0x0f, 0xb1, 0x07 },	    /* CMPXCHG */
		{ 0xc7, 0x48, 0, 0 },	    /* no MOV */
		{ 0x66, 0x66, 0x66, 0x66 }, /* only prefixes */
	};
	struct mmio_instruction instruction;

	(void)unused;
	for (unsigned int i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_false(mmio_decode(refused[i], 4, MMIO_CODE_64, &instruction));
	assert_false(mmio_decode(refused[0], 1, MMIO_CODE_64, &instruction)); /* cut off */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(agrees_with_the_processor, open_code),
		cmocka_unit_test(lengths_agree_with_capstone),
		cmocka_unit_test(a_repeated_move_does_one_element_a_call),
		cmocka_unit_test(a_move_goes_the_way_of_the_access_and_backwards),
		cmocka_unit_test(what_cannot_be_carried_out_changes_nothing),
		cmocka_unit_test(a_port_takes_and_gives_one_element_a_call),
		cmocka_unit_test(a_port_whose_memory_is_not_there_is_not_touched),
		cmocka_unit_test(port_instructions_agree_with_capstone),
		cmocka_unit_test(other_instructions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
