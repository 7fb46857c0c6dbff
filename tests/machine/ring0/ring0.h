/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * /dev/ring0: a hole in the service domain's kernel, for tests and attacks only.
 *
 * Lets a program do single things at CPL 0 on a chosen processor, each guarded by an exception fix-up,
 * so that "the hypervisor answers with #GP" is a result that can be read and not a crash.
 */
#ifndef BULKHEAD_TESTS_RING0_H
#define BULKHEAD_TESTS_RING0_H

#ifdef __KERNEL__
#include <linux/ioctl.h>
#include <linux/types.h>
#else
#include <stdint.h>
#include <sys/ioctl.h>
#endif

#define RING0_DEVICE "/dev/ring0"

/** What to do, and which fields of struct ring0 it reads and writes. */
enum ring0_operation {
	RING0_READ,	   /* address, width 1 2 4 8 -> value[0]: a physical address, cached */
	RING0_WRITE,	   /* address, width, value[0] */
	RING0_READ_MMIO,   /* as READ, uncached */
	RING0_WRITE_MMIO,  /* as WRITE, uncached */
	RING0_RDMSR,	   /* address -> value[0] */
	RING0_WRMSR,	   /* address, value[0] */
	RING0_IN,	   /* address, width 1 2 4 -> value[0] */
	RING0_OUT,	   /* address, width, value[0] */
	RING0_CPUID,	   /* address = leaf, value[0] = subleaf -> value[0..3] = eax ebx ecx edx */
	RING0_CALL,	   /* address = RAX, value[0..4] = RDI RSI RDX RCX R8 -> value[0] = RAX, [1] = RDX */
	RING0_INSTRUCTION, /* address = enum ring0_instruction, value[0..2] = RAX RCX RDX -> value[0] */
	RING0_ALLOCATE,	   /* width = order -> value[0] = physical address; freed with the module */
	RING0_FIND,	   /* value[0] = complement of eight bytes -> value[0] = where in RAM they stand, or ~0 */
	RING0_TRIPLE_FAULT, /* does not come back on a bare machine */
	RING0_OPERATIONS,
};

/** Instructions by name; RAX, RCX and RDX are loaded before, RAX read after. */
enum ring0_instruction {
	RING0_VMRUN,
	RING0_VMLOAD,
	RING0_VMSAVE,
	RING0_STGI,
	RING0_CLGI,
	RING0_SKINIT,
	RING0_INVLPGA,
	RING0_VMMCALL,
	RING0_VMCALL,
	RING0_XSETBV,
	RING0_WBINVD,
	RING0_INVD,
	RING0_MOV_TO_CR0,
	RING0_MOV_FROM_CR0,
	RING0_MOV_TO_CR4,
	RING0_MOV_FROM_CR4,
	RING0_MOV_TO_DR7,
	RING0_MOV_FROM_DR7,
	RING0_RDPMC,
	RING0_RSM,
	RING0_INSTRUCTIONS,
};

#define RING0_ORDER_MAX 10 /* of an allocation: 4 MiB */
#define RING0_NO_FAULT 0xffffffffu

struct ring0 {
	uint32_t operation; /* enum ring0_operation */
	uint32_t processor; /* where to do it */
	uint64_t address;
	uint32_t width;
	uint32_t fault; /* out: vector of the exception raised, or RING0_NO_FAULT */
	uint64_t value[5];
};

#define RING0_RUN _IOWR('0', 0x01, struct ring0)

#endif
