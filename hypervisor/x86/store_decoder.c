/* SPDX-License-Identifier: MIT */
/*
 * See store_decoder.h. Encoding: APM volume 3, chapter 1.
 */
#include "store_decoder.h"

#define NO_GPR 0xffu

struct cursor {
	const uint8_t *bytes;
	size_t count, at;
	bool is_short; /* an instruction that needs more bytes than there are */
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

struct prefixes {
	bool operand_16, address_other;
	uint8_t rex; /* 0: none */
};

/* False for prefixes that change what the store means: LOCK and repetition. */
static bool read_prefixes(struct cursor *cursor, bool is_64bit, struct prefixes *prefixes,
			  uint8_t *opcode)
{
	for (unsigned int i = 0; i < INSTRUCTION_BYTES; i++) {
		uint8_t byte = next(cursor);

		switch (byte) {
		case 0x66:
			prefixes->operand_16 = true;
			break;
		case 0x67:
			prefixes->address_other = true;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
			break; /* segments: the address is known */
		case 0xf0:
		case 0xf2:
		case 0xf3:
			return false;
		default:
			if (is_64bit && (byte & 0xf0) == 0x40) {
				prefixes->rex = byte;
				byte = next(cursor);
			}
			*opcode = byte;
			return true;
		}
	}
	return false;
}

/* Skips a memory operand's address; returns ModRM, or -1 if it names a register. */
static int skip_address(struct cursor *cursor, bool is_16bit)
{
	uint8_t modrm = next(cursor);
	uint8_t mod = modrm >> 6, rm = modrm & 7;

	if (mod == 3)
		return -1;
	if (is_16bit) {
		cursor->at += mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0;
	} else {
		if (rm == 4 && (next(cursor) & 7) == 5 && mod == 0)
			cursor->at += 4;
		cursor->at += mod == 1 ? 1 : mod == 2 || (mod == 0 && rm == 5) ? 4 : 0;
	}
	if (cursor->at > cursor->count)
		cursor->is_short = true;
	return modrm;
}

static void set_register(struct store *store, const struct prefixes *prefixes, unsigned int reg)
{
	store->gpr = (uint8_t)(reg | ((prefixes->rex & 4) ? 8 : 0));
	/* Without REX, byte registers 4 to 7 are AH, CH, DH, BH. */
	if (store->size_bytes == 1 && !prefixes->rex && reg >= 4) {
		store->is_high_byte = true;
		store->gpr -= 4;
	}
}

static bool decode_operands(struct cursor *cursor, bool is_64bit, const struct prefixes *prefixes,
			    uint8_t opcode, struct store *store)
{
	bool is_16bit = !is_64bit && prefixes->address_other;
	int modrm;

	switch (opcode & 0xfe) {
	case 0x86: /* XCHG */
		store->is_exchange = true;
		/* fall through */
	case 0x88: /* MOV r/m, r */
		modrm = skip_address(cursor, is_16bit);
		if (modrm < 0)
			return false;
		set_register(store, prefixes, modrm >> 3 & 7);
		return true;
	case 0xc6: /* MOV r/m, imm */
		modrm = skip_address(cursor, is_16bit);
		if (modrm < 0 || (modrm >> 3 & 7) != 0)
			return false;
		store->immediate = next_value(cursor, store->size_bytes == 8 ? 4 : store->size_bytes);
		if (store->size_bytes == 8)
			store->immediate = (uint64_t)(int64_t)(int32_t)store->immediate;
		return true;
	case 0xa2: /* MOV moffs, A */
		(void)next_value(cursor, is_64bit ? (prefixes->address_other ? 4 : 8) :
						    (is_16bit ? 2 : 4));
		store->gpr = 0;
		return true;
	case 0xaa: /* STOS */
		store->is_string = true;
		store->gpr = 0;
		return true;
	default:
		return false;
	}
}

bool store_decode(const uint8_t *bytes, size_t count, bool is_64bit, struct store *store)
{
	struct cursor cursor = { bytes, count < INSTRUCTION_BYTES ? count : INSTRUCTION_BYTES, 0,
				 false };
	struct prefixes prefixes = { 0 };
	uint8_t opcode;

	*store = (struct store){ .gpr = NO_GPR };
	if (!read_prefixes(&cursor, is_64bit, &prefixes, &opcode))
		return false;
	if (!(opcode & 1))
		store->size_bytes = 1;
	else if (prefixes.rex & 8)
		store->size_bytes = 8;
	else
		store->size_bytes = prefixes.operand_16 ? 2 : 4;
	if (!decode_operands(&cursor, is_64bit, &prefixes, opcode, store) || cursor.is_short)
		return false;
	store->length_bytes = (uint8_t)cursor.at;
	return true;
}

static uint64_t size_mask(unsigned int size_bytes)
{
	return size_bytes == 8 ? ~0ull : (1ull << (8 * size_bytes)) - 1;
}

uint64_t store_value(const struct store *store, const uint64_t *gprs)
{
	uint64_t value = store->gpr == NO_GPR ? store->immediate : gprs[store->gpr & 15];

	if (store->is_high_byte)
		value >>= 8;
	return value & size_mask(store->size_bytes);
}

void store_exchange(const struct store *store, uint64_t *gprs, uint64_t old)
{
	uint64_t *gpr = &gprs[store->gpr & 15];
	uint64_t mask = size_mask(store->size_bytes);

	if (store->is_high_byte)
		*gpr = (*gpr & ~0xff00ull) | (old & 0xff) << 8;
	else if (store->size_bytes == 4)
		*gpr = old & mask; /* 32-bit results clear the upper half */
	else
		*gpr = (*gpr & ~mask) | (old & mask);
}
