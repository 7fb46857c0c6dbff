/* SPDX-License-Identifier: MIT */
/*
 * From instruction bytes to struct mmio_instruction; see mmio_decoder.h. Encoding: APM volume 3, chapter 1, appendix A.
 */
#include "mmio_decoder.h"

enum { SEGMENT_ES, SEGMENT_CS, SEGMENT_SS, SEGMENT_DS, SEGMENT_FS, SEGMENT_GS };

/** Reads bytes one after the other; remembers if there were too few. */
struct cursor {
	const uint8_t *bytes;
	uint32_t count, at;
	bool is_short;
};

struct prefixes {
	bool operand, address, repeat, lock;
	uint8_t rex; /**< 0: none */
	uint8_t segment;
};

struct decoding {
	struct cursor cursor;
	struct prefixes prefixes;
	enum mmio_mode mode;
	struct mmio_instruction *out;
	uint8_t operand_bytes; /**< of a word operand: 2, 4 or 8 */
	uint8_t modrm;
};

static uint8_t next(struct cursor *cursor)
{
	if (cursor->at >= cursor->count) {
		cursor->is_short = true;
		return 0;
	}
	return cursor->bytes[cursor->at++];
}

static uint64_t next_value(struct cursor *cursor, unsigned int size_bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size_bytes; i++)
		value |= (uint64_t)next(cursor) << (8 * i);
	return value;
}

static uint64_t sign_extend(uint64_t value, unsigned int size_bytes)
{
	unsigned int shift = 64 - 8 * size_bytes;

	return (uint64_t)((int64_t)(value << shift) >> shift);
}

/** Takes one legacy prefix. Returns whether it was one. */
static bool take_prefix(struct prefixes *prefixes, uint8_t byte)
{
	static const uint8_t segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };

	for (uint8_t i = 0; i < sizeof(segments); i++)
		if (byte == segments[i]) {
			prefixes->segment = i;
			return true;
		}
	switch (byte) {
	case 0x66:
		return prefixes->operand = true;
	case 0x67:
		return prefixes->address = true;
	case 0xf0:
		return prefixes->lock = true;
	case 0xf2:
	case 0xf3:
		return prefixes->repeat = true;
	default:
		return false;
	}
}

static uint8_t take_prefixes(struct decoding *decoding)
{
	struct prefixes *prefixes = &decoding->prefixes;
	uint8_t byte = next(&decoding->cursor);

	prefixes->segment = SEGMENT_DS;
	while (take_prefix(prefixes, byte))
		byte = next(&decoding->cursor);
	if (decoding->mode == MMIO_CODE_64 && (byte & 0xf0) == 0x40) {
		prefixes->rex = byte;
		byte = next(&decoding->cursor);
	}
	return byte;
}

static void set_sizes(struct decoding *decoding)
{
	const struct prefixes *prefixes = &decoding->prefixes;
	bool is_16 = (decoding->mode == MMIO_CODE_16) != prefixes->operand;

	decoding->operand_bytes = prefixes->rex & 8 ? 8 : is_16 ? 2 : 4;
	if (decoding->mode == MMIO_CODE_64)
		decoding->out->address_bytes = prefixes->address ? 4 : 8;
	else
		decoding->out->address_bytes = (decoding->mode == MMIO_CODE_16) != prefixes->address ? 2 : 4;
}

/** Reads ModRM and skips the address it describes. Returns false if it names a register instead. */
static bool take_modrm(struct decoding *decoding)
{
	struct cursor *cursor = &decoding->cursor;
	uint8_t modrm = next(cursor), mode = modrm >> 6, base = modrm & 7;
	unsigned int displacement = mode == 1 ? 1 : mode == 2 ? 4 : 0;

	decoding->modrm = modrm;
	if (mode == 3)
		return false;
	if (decoding->out->address_bytes == 2) {
		displacement = mode == 1 ? 1 : mode == 2 || base == 6 ? 2 : 0;
	} else {
		if (base == 4)
			base = next(cursor) & 7;
		if (mode == 0 && base == 5)
			displacement = 4;
	}
	(void)next_value(cursor, displacement);
	return true;
}

/** The register that ModRM's middle field names. */
static void set_register(struct decoding *decoding, unsigned int size_bytes)
{
	struct mmio_instruction *out = decoding->out;
	uint8_t number = (uint8_t)((decoding->modrm >> 3 & 7) | (decoding->prefixes.rex & 4) << 1);

	out->is_high_byte = size_bytes == 1 && !decoding->prefixes.rex && number >= 4;
	out->gpr = out->is_high_byte ? number - 4 : number;
}

static unsigned int operation_of(const struct decoding *decoding)
{
	return decoding->modrm >> 3 & 7;
}

static bool take_immediate(struct decoding *decoding, unsigned int size_bytes)
{
	unsigned int stored = size_bytes > 4 ? 4 : size_bytes;

	decoding->out->immediate = sign_extend(next_value(&decoding->cursor, stored), stored);
	return true;
}

/** ADD .. CMP: opcodes 00 to 3B, in steps of eight. */
static bool decode_arithmetic(struct decoding *decoding, uint8_t opcode)
{
	struct mmio_instruction *out = decoding->out;

	if ((opcode & 7) > 3 || !take_modrm(decoding))
		return false;
	out->operation = (enum mmio_operation)(opcode >> 3);
	out->kind = opcode & 2 ? MMIO_TO_REGISTER : MMIO_TO_MEMORY;
	out->size_bytes = opcode & 1 ? decoding->operand_bytes : 1;
	set_register(decoding, out->size_bytes);
	return true;
}

/** Opcodes 80, 81, 83: ADD .. CMP with an immediate. */
static bool decode_arithmetic_immediate(struct decoding *decoding, uint8_t opcode)
{
	struct mmio_instruction *out = decoding->out;

	if (!take_modrm(decoding))
		return false;
	out->operation = (enum mmio_operation)operation_of(decoding);
	out->kind = MMIO_TO_MEMORY;
	out->size_bytes = opcode == 0x80 ? 1 : decoding->operand_bytes;
	return take_immediate(decoding, opcode == 0x81 ? out->size_bytes : 1);
}

/** Opcodes F6, F7: TEST, NOT, NEG. FE, FF: INC, DEC. */
static bool decode_unary(struct decoding *decoding, uint8_t opcode)
{
	static const enum mmio_operation of_f6[] = { MMIO_TEST, MMIO_TEST, MMIO_NOT, MMIO_NEG };
	struct mmio_instruction *out = decoding->out;
	bool is_f6 = opcode < 0xfe;

	if (!take_modrm(decoding) || operation_of(decoding) > (is_f6 ? 3u : 1u))
		return false;
	out->kind = MMIO_TO_MEMORY;
	out->size_bytes = opcode & 1 ? decoding->operand_bytes : 1;
	if (!is_f6)
		out->operation = operation_of(decoding) ? MMIO_DEC : MMIO_INC;
	else
		out->operation = of_f6[operation_of(decoding)];
	return out->operation != MMIO_TEST || take_immediate(decoding, out->size_bytes);
}

/** MOV and XCHG and TEST with a register: 84 to 8B. */
static bool decode_move(struct decoding *decoding, uint8_t opcode)
{
	static const enum mmio_kind kinds[] = { MMIO_TO_MEMORY, MMIO_EXCHANGE, MMIO_STORE, MMIO_LOAD };
	struct mmio_instruction *out = decoding->out;

	if (!take_modrm(decoding))
		return false;
	out->kind = kinds[(opcode - 0x84) / 2];
	out->operation = MMIO_TEST;
	out->size_bytes = out->target_bytes = opcode & 1 ? decoding->operand_bytes : 1;
	set_register(decoding, out->size_bytes);
	return true;
}

/** MOV between the accumulator and an absolute address: A0 to A3. */
static bool decode_absolute(struct decoding *decoding, uint8_t opcode)
{
	struct mmio_instruction *out = decoding->out;

	(void)next_value(&decoding->cursor, out->address_bytes);
	out->kind = opcode & 2 ? MMIO_STORE : MMIO_LOAD;
	out->size_bytes = out->target_bytes = opcode & 1 ? decoding->operand_bytes : 1;
	out->gpr = 0;
	return true;
}

/** MOVS, STOS, LODS: A4 A5 AA AB AC AD. */
static bool decode_string(struct decoding *decoding, uint8_t opcode)
{
	struct mmio_instruction *out = decoding->out;

	out->kind = opcode < 0xaa ? MMIO_MOVS : opcode < 0xac ? MMIO_STOS : MMIO_LODS;
	out->size_bytes = out->target_bytes = opcode & 1 ? decoding->operand_bytes : 1;
	out->is_repeated = decoding->prefixes.repeat;
	out->source_segment = decoding->prefixes.segment;
	out->gpr = 0;
	return true;
}

static bool decode_store_immediate(struct decoding *decoding, uint8_t opcode)
{
	struct mmio_instruction *out = decoding->out;

	if (!take_modrm(decoding) || operation_of(decoding) != 0)
		return false;
	out->kind = MMIO_STORE;
	out->size_bytes = opcode & 1 ? decoding->operand_bytes : 1;
	return take_immediate(decoding, out->size_bytes);
}

/** MOVSXD: 63, in 64-bit code only. */
static bool decode_move_extended(struct decoding *decoding)
{
	struct mmio_instruction *out = decoding->out;

	if (decoding->mode != MMIO_CODE_64 || !take_modrm(decoding))
		return false;
	out->kind = MMIO_LOAD;
	out->size_bytes = decoding->operand_bytes < 4 ? 2 : 4;
	out->target_bytes = decoding->operand_bytes;
	out->is_signed = true;
	set_register(decoding, out->target_bytes);
	return true;
}

/** Opcodes behind 0F: MOVZX, MOVSX, and BT .. BTC with an immediate. */
static bool decode_two_bytes(struct decoding *decoding)
{
	struct mmio_instruction *out = decoding->out;
	uint8_t opcode = next(&decoding->cursor);

	switch (opcode) {
	case 0xb6:
	case 0xb7:
	case 0xbe:
	case 0xbf:
		if (!take_modrm(decoding))
			return false;
		out->kind = MMIO_LOAD;
		out->size_bytes = opcode & 1 ? 2 : 1;
		out->target_bytes = decoding->operand_bytes;
		out->is_signed = opcode & 8;
		set_register(decoding, out->target_bytes);
		return true;
	case 0xba:
		if (!take_modrm(decoding) || operation_of(decoding) < 4)
			return false;
		out->kind = MMIO_TO_MEMORY;
		out->operation = (enum mmio_operation)(MMIO_BT + operation_of(decoding) - 4);
		out->size_bytes = decoding->operand_bytes;
		return take_immediate(decoding, 1);
	default:
		return false;
	}
}

static bool decode_opcode(struct decoding *decoding, uint8_t opcode)
{
	if (opcode == 0x0f)
		return decode_two_bytes(decoding);
	if (opcode < 0x40)
		return decode_arithmetic(decoding, opcode);
	switch (opcode) {
	case 0x63:
		return decode_move_extended(decoding);
	case 0x80:
	case 0x81:
	case 0x83:
		return decode_arithmetic_immediate(decoding, opcode);
	case 0x84 ... 0x8b:
		return decode_move(decoding, opcode);
	case 0xa0 ... 0xa3:
		return decode_absolute(decoding, opcode);
	case 0xa4:
	case 0xa5:
	case 0xaa ... 0xad:
		return decode_string(decoding, opcode);
	case 0xc6:
	case 0xc7:
		return decode_store_immediate(decoding, opcode);
	case 0xf6:
	case 0xf7:
	case 0xfe:
	case 0xff:
		return decode_unary(decoding, opcode);
	default:
		return false;
	}
}

/** LOCK is allowed before what reads, changes and writes memory (APM volume 3, 1.2.5). */
static bool may_be_locked(const struct mmio_instruction *instruction)
{
	if (instruction->kind == MMIO_EXCHANGE)
		return true;
	return instruction->kind == MMIO_TO_MEMORY && instruction->operation != MMIO_CMP &&
	       instruction->operation != MMIO_TEST && instruction->operation != MMIO_BT;
}

/** Everything before the opcode. Returns the opcode. */
static uint8_t start(struct decoding *decoding, const uint8_t *bytes, uint32_t count, enum mmio_mode mode,
		     struct mmio_instruction *instruction)
{
	uint8_t opcode;

	*decoding = (struct decoding){
		.cursor = { bytes, count < MMIO_INSTRUCTION_BYTES ? count : MMIO_INSTRUCTION_BYTES, 0, false },
		.mode = mode,
		.out = instruction,
	};
	opcode = take_prefixes(decoding);
	*instruction = (struct mmio_instruction){ .gpr = MMIO_NO_GPR };
	set_sizes(decoding);
	return opcode;
}

bool mmio_decode(const uint8_t *bytes, uint32_t count, enum mmio_mode mode, struct mmio_instruction *instruction)
{
	struct decoding decoding;
	uint8_t opcode = start(&decoding, bytes, count, mode, instruction);

	if (!decode_opcode(&decoding, opcode) || decoding.cursor.is_short)
		return false;
	if (decoding.prefixes.lock && !may_be_locked(instruction))
		return false;
	instruction->length_bytes = (uint8_t)decoding.cursor.at;
	return true;
}

bool mmio_decode_port(const uint8_t *bytes, uint32_t count, enum mmio_mode mode,
		      struct mmio_instruction *instruction)
{
	struct decoding decoding;
	uint8_t opcode = start(&decoding, bytes, count, mode, instruction);
	uint8_t word_bytes = decoding.operand_bytes == 2 ? 2 : 4; /* ports are no wider */

	if (opcode < 0x6c || opcode > 0x6f || decoding.cursor.is_short || decoding.prefixes.lock)
		return false;
	instruction->kind = opcode < 0x6e ? MMIO_INS : MMIO_OUTS;
	instruction->size_bytes = opcode & 1 ? word_bytes : 1;
	instruction->is_repeated = decoding.prefixes.repeat;
	instruction->source_segment = decoding.prefixes.segment;
	instruction->length_bytes = (uint8_t)decoding.cursor.at;
	return true;
}
