/* SPDX-License-Identifier: MIT */
/*
 * Decodes the store that made a processor exit. Without decode assists (APM vol. 2, 15.8.4) the
 * hypervisor has to find out from the instruction's bytes what was to be written, how wide, and how
 * long the instruction is. The address comes from the hardware, never from here: whatever another
 * processor has meanwhile put in the instruction's place, the check is made on what will be written.
 *
 * Pure; known: MOV r/m,r (88 89), MOV r/m,imm (C6 C7), MOV moffs,A (A2 A3), XCHG r/m,r (86 87), STOS
 * without repetition (AA AB), OR/AND/XOR/ADD/SUB are not: no driver uses them on these registers.
 */
#ifndef BULKHEAD_X86_STORE_DECODER_H
#define BULKHEAD_X86_STORE_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSTRUCTION_BYTES 15u

struct store {
	uint8_t length_bytes; /* of the instruction */
	uint8_t size_bytes;   /* 1, 2, 4 or 8: what is written */
	uint8_t gpr;	      /* register that is the source (and, exchanging, the target), or 0xff */
	bool is_high_byte;    /* bits 15:8 of gpr */
	bool is_exchange;
	bool is_string;	      /* STOS: DI moves on by size_bytes */
	uint64_t immediate;   /* source if gpr is 0xff */
};

/**
 * Decodes an instruction.
 * @bytes, @count: what could be fetched, at most INSTRUCTION_BYTES
 * @is_64bit: the code segment is 64-bit; otherwise it has 32-bit operands
 * Returns false for anything but a known store.
 */
bool store_decode(const uint8_t *bytes, size_t count, bool is_64bit, struct store *store);

/** The value that is written, from the registers in the processor's numbering. */
uint64_t store_value(const struct store *store, const uint64_t *gprs);

/** Puts the old contents into the register of an exchange, as the processor would. */
void store_exchange(const struct store *store, uint64_t *gprs, uint64_t old);

#endif
