/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine control block and SVM's numbers (APM volume 2, chapter 15 and appendices B, C).
 */
#ifndef BULKHEAD_X86_SVM_VMCB_H
#define BULKHEAD_X86_SVM_VMCB_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct vmcb_segment {
	uint16_t selector;
	uint16_t attributes; /* descriptor bits 55:52 and 47:40 */
	uint32_t limit;
	uint64_t base;
};

struct vmcb {
	/* Control area. */
	uint32_t intercept_cr;
	uint32_t intercept_dr;
	uint32_t intercept_exceptions;
	uint32_t intercept1; /* INTERCEPT1_* */
	uint32_t intercept2; /* INTERCEPT2_* */
	uint32_t intercept3;
	uint8_t reserved0[0x3c - 0x18];
	uint16_t pause_threshold;
	uint16_t pause_count;
	uint64_t iopm;
	uint64_t msrpm;
	uint64_t tsc_offset;
	uint32_t asid;
	uint8_t tlb_control;
	uint8_t reserved1[3];
	uint64_t virtual_interrupt;
	uint64_t interrupt_shadow; /* bit 0 */
	uint64_t exit_code;
	uint64_t exit_info1;
	uint64_t exit_info2;
	uint64_t exit_interrupt;
	uint64_t nested_control; /* bit 0: nested paging */
	uint64_t avic_bar;
	uint64_t ghcb;
	uint64_t event;
	uint64_t nested_root;
	uint64_t lbr_control;
	uint32_t clean;
	uint32_t reserved2;
	uint64_t next_rip;
	uint8_t fetched_count;
	uint8_t fetched[15];
	uint8_t reserved3[0x400 - 0xe0];
	/* State save area. */
	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	uint8_t reserved4[0x4cb - 0x4a0];
	uint8_t cpl;
	uint32_t reserved5;
	uint64_t efer;
	uint8_t reserved6[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t reserved7[0x5d8 - 0x580];
	uint64_t rsp;
	uint8_t reserved8[0x5f8 - 0x5e0];
	uint64_t rax;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t cr2;
	uint8_t reserved9[0x668 - 0x648];
	uint64_t pat, debugctl, branch_from, branch_to, exception_from, exception_to;
	uint8_t reserved10[0x1000 - 0x698];
};
static_assert(offsetof(struct vmcb, iopm) == 0x40, "APM");
static_assert(offsetof(struct vmcb, asid) == 0x58, "APM");
static_assert(offsetof(struct vmcb, exit_code) == 0x70, "APM");
static_assert(offsetof(struct vmcb, event) == 0xa8, "APM");
static_assert(offsetof(struct vmcb, next_rip) == 0xc8, "APM");
static_assert(offsetof(struct vmcb, es) == 0x400, "APM");
static_assert(offsetof(struct vmcb, cpl) == 0x4cb, "APM");
static_assert(offsetof(struct vmcb, efer) == 0x4d0, "APM");
static_assert(offsetof(struct vmcb, cr4) == 0x548, "APM");
static_assert(offsetof(struct vmcb, rip) == 0x578, "APM");
static_assert(offsetof(struct vmcb, rsp) == 0x5d8, "APM");
static_assert(offsetof(struct vmcb, rax) == 0x5f8, "APM");
static_assert(offsetof(struct vmcb, cr2) == 0x640, "APM");
static_assert(offsetof(struct vmcb, pat) == 0x668, "APM");
static_assert(sizeof(struct vmcb) == 4096, "one page");

#define INTERCEPT_CR8 (1u << 8 | 1u << 24) /* reads, writes; in intercept_cr */

#define INTERCEPT1_INTR	    (1u << 0)
#define INTERCEPT1_NMI	    (1u << 1)
#define INTERCEPT1_SMI	    (1u << 2)
#define INTERCEPT1_INIT	    (1u << 3)
#define INTERCEPT1_VINTR    (1u << 4)
#define INTERCEPT1_RDPMC    (1u << 15)
#define INTERCEPT1_CPUID    (1u << 18)
#define INTERCEPT1_IRET	    (1u << 20)
#define INTERCEPT1_INVD	    (1u << 22)
#define INTERCEPT1_HLT	    (1u << 24)
#define INTERCEPT1_INVLPGA  (1u << 26)
#define INTERCEPT1_IO	    (1u << 27)
#define INTERCEPT1_MSR	    (1u << 28)
#define INTERCEPT1_SHUTDOWN (1u << 31)

#define INTERCEPT2_VMRUN    (1u << 0)
#define INTERCEPT2_VMMCALL  (1u << 1)
#define INTERCEPT2_VMLOAD   (1u << 2)
#define INTERCEPT2_VMSAVE   (1u << 3)
#define INTERCEPT2_STGI	    (1u << 4)
#define INTERCEPT2_CLGI	    (1u << 5)
#define INTERCEPT2_SKINIT   (1u << 6)
#define INTERCEPT2_RDTSCP   (1u << 7)
#define INTERCEPT2_WBINVD   (1u << 9)
#define INTERCEPT2_MONITOR  (1u << 10)
#define INTERCEPT2_MWAIT    (1u << 11)
#define INTERCEPT2_MWAIT_ARMED (1u << 12)
#define INTERCEPT2_XSETBV   (1u << 13)
#define INTERCEPT2_RDPRU    (1u << 14)

#define TLB_FLUSH_ALL 1u

/** virtual_interrupt (15.21.1, 15.21.4). */
#define VIRTUAL_REQUEST	 (1ull << 8)
#define VIRTUAL_PRIORITY (0xfull << 16) /* of the request */
#define VIRTUAL_ANYWAY	 (1ull << 20)	/* whatever the task priority is */
#define VIRTUAL_VECTOR_SHIFT 32
#define VIRTUAL_MASKING	 (1ull << 24)	/* the host's IF decides about exits */

#define CODE_64BIT (1u << 9) /* segment attributes: L, D */
#define CODE_32BIT (1u << 10)

#define EVENT_VALID	(1ull << 31)
#define EVENT_ERROR	(1ull << 11)
#define EVENT_NMI	(2ull << 8)
#define EVENT_EXCEPTION (3ull << 8)
#define EVENT_INTERRUPT (0ull << 8)
#define EVENT_SOFTWARE	(4ull << 8)
#define EVENT_KIND	0x7ffull /* type and vector */

/** Exit codes (appendix C). Compare the low 32 bits: emulators differ on EXIT_INVALID's upper half. */
enum exit_code {
	EXIT_READ_CR8 = 0x08,
	EXIT_WRITE_CR8 = 0x18,
	EXIT_EXCEPTION = 0x40, /* + vector */
	EXIT_INTR = 0x60,
	EXIT_NMI = 0x61,
	EXIT_SMI = 0x62,
	EXIT_INIT = 0x63,
	EXIT_VINTR = 0x64,
	EXIT_RDPMC = 0x6f,
	EXIT_CPUID = 0x72,
	EXIT_IRET = 0x74,
	EXIT_INVD = 0x76,
	EXIT_HLT = 0x78,
	EXIT_INVLPGA = 0x7a,
	EXIT_IO = 0x7b,
	EXIT_MSR = 0x7c,
	EXIT_SHUTDOWN = 0x7f,
	EXIT_VMRUN = 0x80,
	EXIT_VMMCALL = 0x81,
	EXIT_VMLOAD = 0x82,
	EXIT_VMSAVE = 0x83,
	EXIT_STGI = 0x84,
	EXIT_CLGI = 0x85,
	EXIT_SKINIT = 0x86,
	EXIT_WBINVD = 0x89,
	EXIT_XSETBV = 0x8d,
	EXIT_NESTED_FAULT = 0x400,
	EXIT_INVALID = -1,
};

/** exit_info1 of a nested fault (15.25.6). */
#define NESTED_FAULT_WRITE (1ull << 1)
#define NESTED_FAULT_FETCH (1ull << 4)
#define NESTED_FAULT_FINAL (1ull << 32) /* the access itself, not the walk of its page tables */

/** exit_info1 of a port access (15.10.2). */
#define IO_IN	    (1ull << 0)
#define IO_STRING   (1ull << 2)
#define IO_REPEATED (1ull << 3)

/** CPUID 8000000Ah, EDX. */
#define SVM_FEATURE_NPT		  (1u << 0)

#endif
