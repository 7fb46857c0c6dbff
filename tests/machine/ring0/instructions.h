/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Single instructions with an exception fix-up. Each function returns the vector of the exception the
 * instruction raised, or RING0_NO_FAULT.
 */
#ifndef BULKHEAD_TESTS_RING0_INSTRUCTIONS_H
#define BULKHEAD_TESTS_RING0_INSTRUCTIONS_H

#include "ring0.h"

/** Reads @width bytes at the kernel address @from into *@value. */
u32 instruction_read(const void *from, u32 width, u64 *value);

/** Writes the low @width bytes of @value at the kernel address @to. */
u32 instruction_write(void *to, u32 width, u64 value);

u32 instruction_rdmsr(u32 number, u64 *value);
u32 instruction_wrmsr(u32 number, u64 value);
u32 instruction_in(u16 port, u32 width, u64 *value);
u32 instruction_out(u16 port, u32 width, u64 value);

/** One hypercall: @registers are RDI RSI RDX RCX R8 in, RAX and RDX in the first two out. */
u32 instruction_call(u64 number, u64 registers[5]);

/** One of enum ring0_instruction; @registers are RAX RCX RDX in, RAX in the first out. */
u32 instruction_by_name(u32 which, u64 registers[5]);

/** Loads an empty interrupt table and faults. */
void instruction_triple_fault(void);

#endif
