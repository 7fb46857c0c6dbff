/* SPDX-License-Identifier: MIT */
/*
 * Carries out, for a guest, the instruction that touched a device's memory, or moves a string through a port: what
 * Linux, OVMF and GRUB use on device registers, in 16, 32 and 64-bit code. Everything else is refused.
 *
 * The device's address comes from the hardware, never from the instruction: whatever another processor of the guest
 * has meanwhile put in the instruction's place, only the device that was really touched is touched, and the guest has
 * hurt itself. Repeated string instructions do one element a call and leave the instruction pointer where it is.
 *
 * Known: MOV, MOVZX, MOVSX, MOVSXD, XCHG, ADD OR ADC SBB AND SUB XOR CMP TEST, NOT NEG INC DEC, BT BTS BTR BTC with an
 * immediate, STOS, LODS, MOVS with or without repetition; INS, OUTS.
 */
#ifndef BULKHEAD_PLATFORM_MMIO_DECODER_H
#define BULKHEAD_PLATFORM_MMIO_DECODER_H

#include "guest_walk.h"

#define MMIO_INSTRUCTION_BYTES 15u

/** Default operand size of the code segment. */
enum mmio_mode {
	MMIO_CODE_16 = 2,
	MMIO_CODE_32 = 4,
	MMIO_CODE_64 = 8,
};

enum mmio_kind {
	MMIO_LOAD,     /**< register = memory, zero or sign extended */
	MMIO_STORE,    /**< memory = register or immediate */
	MMIO_EXCHANGE, /**< register and memory change places */
	MMIO_TO_MEMORY, /**< memory = memory op source; for CMP and TEST only flags */
	MMIO_TO_REGISTER, /**< register = register op memory */
	MMIO_STOS,
	MMIO_LODS,
	MMIO_MOVS,
	MMIO_INS,
	MMIO_OUTS,
};

/** In the order of the instruction set's own numbers, then those that have none. */
enum mmio_operation {
	MMIO_ADD, MMIO_OR, MMIO_ADC, MMIO_SBB, MMIO_AND, MMIO_SUB, MMIO_XOR, MMIO_CMP,
	MMIO_TEST, MMIO_NOT, MMIO_NEG, MMIO_INC, MMIO_DEC,
	MMIO_BT, MMIO_BTS, MMIO_BTR, MMIO_BTC,
};

#define MMIO_NO_GPR 0xffu

/** A decoded instruction. */
struct mmio_instruction {
	enum mmio_kind kind;
	enum mmio_operation operation;
	uint8_t length_bytes;
	uint8_t size_bytes;    /**< of the memory operand: 1, 2, 4, 8 */
	uint8_t target_bytes;  /**< LOAD: how much of the register is written, after extension */
	uint8_t address_bytes; /**< of the string instructions' index and count registers */
	uint8_t gpr;	       /**< register operand, or MMIO_NO_GPR: the immediate */
	bool is_high_byte;     /**< bits 15:8 of gpr */
	bool is_signed;	       /**< LOAD: sign extends */
	bool is_repeated;
	uint8_t source_segment; /**< MOVS, LODS, OUTS: index into mmio_state.segment_base */
	uint64_t immediate;
};

/** What a guest's processor must show for its instruction to be carried out. */
struct mmio_state {
	struct guest_paging paging; /**< rflags there is kept equal to rflags here */
	uint64_t *gpr;		    /**< 16: RAX RCX RDX RBX RSP RBP RSI RDI R8 .. */
	uint64_t rip, rflags;
	uint64_t segment_base[6]; /**< ES CS SS DS FS GS; zero where 64-bit mode ignores them. Of string instructions */
	enum mmio_mode mode;
};

/** The device's side. */
struct mmio_device {
	uint64_t (*read)(void *context, uint64_t address, uint32_t size_bytes);
	void (*write)(void *context, uint64_t address, uint32_t size_bytes, uint64_t value);
	void *context;
};

/**
 * Decodes an instruction.
 * @bytes, @count: what could be fetched, at most MMIO_INSTRUCTION_BYTES
 * Returns false for anything but a known instruction with a memory operand.
 */
bool mmio_decode(const uint8_t *bytes, uint32_t count, enum mmio_mode mode, struct mmio_instruction *instruction);

/** Whether an instruction uses index registers and segments, and maybe memory. */
static inline bool mmio_is_string(const struct mmio_instruction *instruction)
{
	return instruction->kind >= MMIO_STOS;
}

/**
 * Carries a decoded instruction out: registers, flags and instruction pointer of @state move on.
 * @memory: the guest's; only string moves use it
 * @address: where the device was touched, guest-physical
 * @is_write: the access that did not get through was a write (MOVS: which side is the device)
 * Returns false, and changes nothing, if it cannot be: the other side of a MOVS is not mapped, or the operand crosses
 * the device's page.
 */
bool mmio_execute(struct mmio_state *state, const struct mmio_instruction *instruction, struct memory *memory,
		  uint64_t address, bool is_write, const struct mmio_device *device);

/**
 * Decodes INS or OUTS.
 * Returns false for anything else.
 */
bool mmio_decode_port(const uint8_t *bytes, uint32_t count, enum mmio_mode mode,
		      struct mmio_instruction *instruction);

/**
 * Carries one element of INS or OUTS out.
 * @port: as the hardware says; the device is given it as its address
 * Returns false, and changes nothing, if its memory is not mapped or the element crosses a page.
 */
bool mmio_execute_port(struct mmio_state *state, const struct mmio_instruction *instruction, struct memory *memory,
		       uint16_t port, const struct mmio_device *device);

#endif
