/* SPDX-License-Identifier: MIT */
/*
 * From a decoded instruction to its effect on registers, flags and a device; see mmio_decoder.h.
 */
#include "mmio_decoder.h"

#define PAGE_BYTES 4096u

#define FLAG_CF (1ull << 0)
#define FLAG_PF (1ull << 2)
#define FLAG_AF (1ull << 4)
#define FLAG_ZF (1ull << 6)
#define FLAG_SF (1ull << 7)
#define FLAG_DF (1ull << 10)
#define FLAG_OF (1ull << 11)
#define FLAGS_RESULT (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

enum { GPR_RAX = 0, GPR_RCX = 1, GPR_RSI = 6, GPR_RDI = 7, SEGMENT_ES = 0 };

static uint64_t mask_of(unsigned int size_bytes)
{
	return ~0ull >> (64 - 8 * size_bytes);
}

static uint64_t sign_of(unsigned int size_bytes)
{
	return 1ull << (8 * size_bytes - 1);
}

static uint64_t sign_extend(uint64_t value, unsigned int size_bytes)
{
	unsigned int shift = 64 - 8 * size_bytes;

	return (uint64_t)((int64_t)(value << shift) >> shift);
}

static uint64_t source_of(const struct mmio_state *state, const struct mmio_instruction *instruction)
{
	uint64_t value = instruction->immediate;

	if (instruction->gpr != MMIO_NO_GPR)
		value = state->gpr[instruction->gpr] >> (instruction->is_high_byte ? 8 : 0);
	return value & mask_of(instruction->size_bytes);
}

/** Writes a register as the processor does: four bytes clear the upper half, fewer leave the rest alone. */
static void set_gpr(struct mmio_state *state, const struct mmio_instruction *instruction, unsigned int size_bytes,
		    uint64_t value)
{
	unsigned int shift = instruction->is_high_byte ? 8 : 0;
	uint64_t *gpr = &state->gpr[instruction->gpr];
	uint64_t mask;

	if (size_bytes == 4) {
		*gpr = (uint32_t)value;
		return;
	}
	mask = mask_of(size_bytes) << shift;
	*gpr = (*gpr & ~mask) | (value << shift & mask);
}

static void advance(struct mmio_state *state, const struct mmio_instruction *instruction)
{
	state->rip += instruction->length_bytes;
	if (state->mode != MMIO_CODE_64)
		state->rip = (uint32_t)state->rip;
}

/** SF, ZF and PF of a result. */
static uint64_t flags_of_result(uint64_t result, unsigned int size_bytes)
{
	uint64_t flags = 0;

	result &= mask_of(size_bytes);
	if (result == 0)
		flags |= FLAG_ZF;
	if (result & sign_of(size_bytes))
		flags |= FLAG_SF;
	if (!__builtin_parity((unsigned int)(result & 0xff)))
		flags |= FLAG_PF;
	return flags;
}

static uint64_t add(uint64_t a, uint64_t b, bool carry, unsigned int size_bytes, uint64_t *flags)
{
	uint64_t mask = mask_of(size_bytes), sign = sign_of(size_bytes), result = (a + b + carry) & mask;

	*flags = flags_of_result(result, size_bytes);
	if (result < a || (carry && result == a))
		*flags |= FLAG_CF;
	if ((a ^ result) & (b ^ result) & sign)
		*flags |= FLAG_OF;
	if ((a ^ b ^ result) & 16)
		*flags |= FLAG_AF;
	return result;
}

static uint64_t subtract(uint64_t a, uint64_t b, bool borrow, unsigned int size_bytes, uint64_t *flags)
{
	uint64_t mask = mask_of(size_bytes), sign = sign_of(size_bytes), result = (a - b - borrow) & mask;

	*flags = flags_of_result(result, size_bytes);
	if (a < b || (borrow && a == b))
		*flags |= FLAG_CF;
	if ((a ^ b) & (a ^ result) & sign)
		*flags |= FLAG_OF;
	if ((a ^ b ^ result) & 16)
		*flags |= FLAG_AF;
	return result;
}

/** BT, BTS, BTR, BTC: CF is the old bit, the other flags stay. */
static uint64_t change_bit(enum mmio_operation operation, uint64_t value, uint64_t number, unsigned int size_bytes,
			   uint64_t *flags)
{
	uint64_t bit = 1ull << (number & (8 * size_bytes - 1));

	*flags = (*flags & ~FLAG_CF) | (value & bit ? FLAG_CF : 0);
	switch (operation) {
	case MMIO_BTS:
		return value | bit;
	case MMIO_BTR:
		return value & ~bit;
	case MMIO_BTC:
		return value ^ bit;
	default:
		return value;
	}
}

/** INC, DEC, NEG, NOT. */
static uint64_t change_one(enum mmio_operation operation, uint64_t value, unsigned int size_bytes, uint64_t *flags)
{
	uint64_t carry = *flags & FLAG_CF, result;

	switch (operation) {
	case MMIO_NOT:
		return ~value & mask_of(size_bytes);
	case MMIO_NEG:
		return subtract(0, value, false, size_bytes, flags);
	case MMIO_INC:
		result = add(value, 1, false, size_bytes, flags);
		break;
	default:
		result = subtract(value, 1, false, size_bytes, flags);
		break;
	}
	*flags = (*flags & ~FLAG_CF) | carry; /* these two leave it alone */
	return result;
}

/** a op b, both masked; *flags: the result flags before and after. */
static uint64_t operate(enum mmio_operation operation, uint64_t a, uint64_t b, unsigned int size_bytes, uint64_t *flags)
{
	bool carry = *flags & FLAG_CF;
	uint64_t result;

	switch (operation) {
	case MMIO_ADD:
		return add(a, b, false, size_bytes, flags);
	case MMIO_ADC:
		return add(a, b, carry, size_bytes, flags);
	case MMIO_SBB:
		return subtract(a, b, carry, size_bytes, flags);
	case MMIO_SUB:
	case MMIO_CMP:
		return subtract(a, b, false, size_bytes, flags);
	case MMIO_OR:
		result = a | b;
		break;
	case MMIO_XOR:
		result = a ^ b;
		break;
	case MMIO_AND:
	case MMIO_TEST:
		result = a & b;
		break;
	case MMIO_BT:
	case MMIO_BTS:
	case MMIO_BTR:
	case MMIO_BTC:
		return change_bit(operation, a, b, size_bytes, flags);
	default:
		return change_one(operation, a, size_bytes, flags);
	}
	*flags = flags_of_result(result, size_bytes);
	return result;
}

static bool only_sets_flags(enum mmio_operation operation)
{
	return operation == MMIO_CMP || operation == MMIO_TEST || operation == MMIO_BT;
}

/** Apart, as strings are: nearly all accesses are loads and stores, which then need few registers. */
static __attribute__((noinline)) void calculate(struct mmio_state *state, const struct mmio_instruction *instruction,
						uint64_t address, const struct mmio_device *device)
{
	unsigned int size = instruction->size_bytes;
	uint64_t memory = device->read(device->context, address, size) & mask_of(size);
	uint64_t source = source_of(state, instruction), flags = state->rflags & FLAGS_RESULT, result;
	bool to_memory = instruction->kind == MMIO_TO_MEMORY;

	result = operate(instruction->operation, to_memory ? memory : source, to_memory ? source : memory, size,
			 &flags);
	state->rflags = (state->rflags & ~FLAGS_RESULT) | flags;
	if (only_sets_flags(instruction->operation))
		return;
	if (to_memory)
		device->write(device->context, address, size, result);
	else
		set_gpr(state, instruction, size, result);
}

/** Moves an index register on by one element, in its address size. */
static void advance_index(struct mmio_state *state, const struct mmio_instruction *instruction, unsigned int gpr)
{
	uint64_t step = state->rflags & FLAG_DF ? -(uint64_t)instruction->size_bytes : instruction->size_bytes;
	struct mmio_instruction target = { .gpr = (uint8_t)gpr };

	set_gpr(state, &target, instruction->address_bytes, state->gpr[gpr] + step);
}

/** Where one side of a string instruction lies in guest memory. */
static bool find_memory(const struct mmio_state *state, const struct mmio_instruction *instruction,
			struct memory *memory, bool is_source, uint64_t *physical)
{
	uint64_t index = state->gpr[is_source ? GPR_RSI : GPR_RDI] & mask_of(instruction->address_bytes);
	uint64_t linear = index + state->segment_base[is_source ? instruction->source_segment : SEGMENT_ES];

	if ((linear & (PAGE_BYTES - 1)) + instruction->size_bytes > PAGE_BYTES)
		return false;
	return guest_walk(memory, &state->paging, linear, is_source ? GUEST_READ : GUEST_WRITE, physical);
}

/** One element of a MOVS, with the device on one side. */
static bool move_element(struct mmio_state *state, const struct mmio_instruction *instruction, struct memory *memory,
			 uint64_t address, bool is_write, const struct mmio_device *device)
{
	uint64_t physical, value = 0;

	if (!find_memory(state, instruction, memory, is_write, &physical))
		return false;
	if (is_write) {
		if (!memory_read(memory, physical, &value, instruction->size_bytes))
			return false;
		device->write(device->context, address, instruction->size_bytes, value);
	} else {
		/* The device is read last: a read may change it, and must not be lost. */
		if (!memory_read(memory, physical, &value, instruction->size_bytes))
			return false;
		value = device->read(device->context, address, instruction->size_bytes);
		if (!memory_write(memory, physical, &value, instruction->size_bytes))
			return false;
	}
	advance_index(state, instruction, GPR_RSI);
	advance_index(state, instruction, GPR_RDI);
	return true;
}

/** One element of INS or OUTS. */
static bool pass_element(struct mmio_state *state, const struct mmio_instruction *instruction, struct memory *memory,
			 uint64_t port, const struct mmio_device *device)
{
	bool is_out = instruction->kind == MMIO_OUTS;
	uint64_t physical, value = 0;

	/* An input's place is tried before the device is read: a read may change it, and must not be lost. */
	if (!find_memory(state, instruction, memory, is_out, &physical) ||
	    !memory_read(memory, physical, &value, instruction->size_bytes))
		return false;
	if (is_out) {
		device->write(device->context, port, instruction->size_bytes, value);
	} else {
		value = device->read(device->context, port, instruction->size_bytes);
		if (!memory_write(memory, physical, &value, instruction->size_bytes))
			return false;
	}
	advance_index(state, instruction, is_out ? GPR_RSI : GPR_RDI);
	return true;
}

/** One element of a string instruction. */
static bool string_element(struct mmio_state *state, const struct mmio_instruction *instruction, struct memory *memory,
			   uint64_t address, bool is_write, const struct mmio_device *device)
{
	unsigned int size = instruction->size_bytes;

	switch (instruction->kind) {
	case MMIO_STOS:
		device->write(device->context, address, size, state->gpr[GPR_RAX] & mask_of(size));
		advance_index(state, instruction, GPR_RDI);
		return true;
	case MMIO_LODS:
		set_gpr(state, instruction, size, device->read(device->context, address, size));
		advance_index(state, instruction, GPR_RSI);
		return true;
	case MMIO_INS:
	case MMIO_OUTS:
		return pass_element(state, instruction, memory, address, device);
	default:
		return move_element(state, instruction, memory, address, is_write, device);
	}
}

static __attribute__((noinline)) bool run_string(struct mmio_state *state, const struct mmio_instruction *instruction,
						 struct memory *memory, uint64_t address, bool is_write,
						 const struct mmio_device *device)
{
	static const struct mmio_instruction count = { .gpr = GPR_RCX };
	uint64_t left = state->gpr[GPR_RCX] & mask_of(instruction->address_bytes);

	if (instruction->is_repeated && left == 0) {
		advance(state, instruction);
		return true;
	}
	if (!string_element(state, instruction, memory, address, is_write, device))
		return false;
	if (instruction->is_repeated)
		set_gpr(state, &count, instruction->address_bytes, left - 1);
	if (!instruction->is_repeated || left == 1)
		advance(state, instruction);
	return true;
}

static void load(struct mmio_state *state, const struct mmio_instruction *instruction, uint64_t address,
		 const struct mmio_device *device)
{
	unsigned int size = instruction->size_bytes;
	uint64_t value = device->read(device->context, address, size) & mask_of(size);

	if (instruction->is_signed)
		value = sign_extend(value, size);
	set_gpr(state, instruction, instruction->target_bytes, value);
}

static __attribute__((noinline)) void exchange(struct mmio_state *state, const struct mmio_instruction *instruction,
					       uint64_t address, const struct mmio_device *device)
{
	unsigned int size = instruction->size_bytes;
	uint64_t source = source_of(state, instruction);

	set_gpr(state, instruction, size, device->read(device->context, address, size));
	device->write(device->context, address, size, source);
}

bool mmio_execute(struct mmio_state *state, const struct mmio_instruction *instruction, struct memory *memory,
		  uint64_t address, bool is_write, const struct mmio_device *device)
{
	if ((address & (PAGE_BYTES - 1)) + instruction->size_bytes > PAGE_BYTES)
		return false;
	switch (instruction->kind) {
	case MMIO_LOAD:
		load(state, instruction, address, device);
		break;
	case MMIO_STORE:
		device->write(device->context, address, instruction->size_bytes, source_of(state, instruction));
		break;
	case MMIO_EXCHANGE:
		exchange(state, instruction, address, device);
		break;
	case MMIO_TO_MEMORY:
	case MMIO_TO_REGISTER:
		calculate(state, instruction, address, device);
		break;
	default:
		return run_string(state, instruction, memory, address, is_write, device);
	}
	advance(state, instruction);
	return true;
}

bool mmio_execute_port(struct mmio_state *state, const struct mmio_instruction *instruction, struct memory *memory,
		       uint16_t port, const struct mmio_device *device)
{
	return run_string(state, instruction, memory, port, instruction->kind == MMIO_OUTS, device);
}
