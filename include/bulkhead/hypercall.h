/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The hypercall interface: what code at CPL 0 of the service domain may ask of the hypervisor.
 * Used by the hypervisor, the driver and the host tools alike. docs/hypercalls.md describes every
 * call to the bit, with an error table; this file is the same in C.
 *
 * Calling convention (x86-64). VMMCALL (AMD) or VMCALL (Intel), from CPL 0 in 64-bit mode only;
 * anything else gets #UD, as on a machine without Bulkhead.
 *   in:   RAX number (enum bulkhead_call), RDI RSI RDX RCX R8 arguments
 *   out:  RAX status (enum bulkhead_error), RDX value of the call (0 if it has none)
 * Every other register is kept. Arguments a call does not use must be 0. Physical addresses are
 * those of the service domain, which are the machine's.
 *
 * Finding the hypervisor. CPUID leaf BULKHEAD_CPUID_BASE, without CPUID.1:ECX[31]: a Linux that sees
 * that bit stops loading microcode, and believes its timers and locks to be virtual.
 *   BASE+0: EAX = highest leaf of the range, EBX ECX EDX = "Bulk" "head" "Hypv"
 *   BASE+1: EAX = BULKHEAD_ABI_VERSION, EBX ECX EDX = 0
 *
 * Long work resumes. No call runs more than about 20,000 instructions of the hypervisor or copies
 * more than 64 KiB. A call that has more to do answers BULKHEAD_AGAIN: it has made progress, and is
 * to be made again with the same arguments until it answers something else. What is in between
 * belongs to nobody.
 */
#ifndef BULKHEAD_HYPERCALL_H
#define BULKHEAD_HYPERCALL_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/build_bug.h>
#else
#include <assert.h>
#include <stdint.h>
#endif

/** Changes in its upper half when an old caller would misunderstand an answer. */
#define BULKHEAD_ABI_VERSION 0x00020000u

#define BULKHEAD_CPUID_BASE  0x40480000u
#define BULKHEAD_CPUID_LAST  0x40480001u
#define BULKHEAD_CPUID_EBX   0x6b6c7542u /* "Bulk" */
#define BULKHEAD_CPUID_ECX   0x64616568u /* "head" */
#define BULKHEAD_CPUID_EDX   0x76707948u /* "Hypv" */

#define BULKHEAD_PAGE_BYTES       4096u
#define BULKHEAD_LARGE_PAGE_PAGES 512u /* 4 KiB pages in a 2 MiB page */
#define BULKHEAD_MAX_GUESTS       32u
#define BULKHEAD_MAX_VCPUS        16u /* of one guest */
#define BULKHEAD_MAX_RANGES       16u /* memory ranges of one guest */
#define BULKHEAD_GUEST_ADDRESS_BITS 40u
#define BULKHEAD_MEASUREMENT_BYTES 32u

/** Status of a call, in RAX. */
enum bulkhead_error {
	BULKHEAD_OK = 0,
	BULKHEAD_AGAIN = 1,	   /* progress made, not finished: repeat with the same arguments */
	BULKHEAD_BUSY = 2,	   /* another call or a running vCPU holds it: try later */
	BULKHEAD_UNKNOWN_CALL = 3, /* no such number in this version */
	BULKHEAD_INVALID = 4,	   /* an argument is outside its documented range */
	BULKHEAD_BAD_ADDRESS = 5,  /* not page aligned, not RAM, or crosses a 2 MiB boundary */
	BULKHEAD_NOT_OWNED = 6,	   /* the page is not the caller's to give, share, pin or take back */
	BULKHEAD_OCCUPIED = 7,	   /* the guest address is filled already */
	BULKHEAD_NOT_FILLED = 8,   /* the guest address is empty */
	BULKHEAD_NO_TABLES = 9,	   /* a page table is needed: pay one (GUEST_PAY), then repeat */
	BULKHEAD_NO_GUEST = 10,	   /* no guest has this handle */
	BULKHEAD_BAD_STATE = 11,   /* not allowed in the guest's or vCPU's present state */
	BULKHEAD_LIMIT = 12,	   /* a fixed number of objects is used up */
	BULKHEAD_ERROR_COUNT = 13,
};

/** Numbers of the calls, in RAX. 0x00-0x0f: the machine; 0x10-0x1f: guests; 0x20-0x2f: vCPUs; 0x30-0x3f: platforms. */
enum bulkhead_call {
	BULKHEAD_CALL_VERSION = 0x00,  /* -> ABI version */
	BULKHEAD_CALL_STATUS = 0x01,   /* page -> struct bulkhead_status */
	BULKHEAD_CALL_STATS = 0x02,    /* page, processor -> struct bulkhead_stats */
	BULKHEAD_CALL_LOG_READ = 0x03, /* page, position -> struct bulkhead_log; value: next position */

	BULKHEAD_CALL_GUEST_CREATE = 0x10,  /* root page, flags -> handle */
	BULKHEAD_CALL_GUEST_PAY = 0x11,	    /* handle or 0, page */
	BULKHEAD_CALL_GUEST_REFUND = 0x12,  /* handle or 0 -> page that came back */
	BULKHEAD_CALL_GUEST_RANGE = 0x13,   /* handle, guest address, pages: declare memory */
	BULKHEAD_CALL_GUEST_DONATE = 0x14,  /* handle, page, guest address, pages: give, zeroed */
	BULKHEAD_CALL_GUEST_LOAD = 0x15,    /* handle, page, guest address, pages: give, measured */
	BULKHEAD_CALL_GUEST_SHARE = 0x16,   /* handle, page, guest address, pages: lend (unprotected) */
	BULKHEAD_CALL_GUEST_UNSHARE = 0x17, /* handle, page, pages: end lending */
	BULKHEAD_CALL_GUEST_SEAL = 0x18,    /* handle */
	BULKHEAD_CALL_GUEST_MEASURE = 0x19, /* handle, page -> struct bulkhead_measurement */
	BULKHEAD_CALL_GUEST_RECLAIM = 0x1a, /* page, pages: take back what a guest gave up */
	BULKHEAD_CALL_GUEST_DESTROY = 0x1b, /* handle */

	BULKHEAD_CALL_VCPU_CREATE = 0x20, /* handle, index, pages, run page */
	BULKHEAD_CALL_VCPU_SET = 0x21,	  /* handle, index, page with the initial state */
	BULKHEAD_CALL_VCPU_GET = 0x22,	  /* handle, index, page (unprotected or unsealed only) */
	BULKHEAD_CALL_VCPU_RUN = 0x23,	  /* handle, index */

	BULKHEAD_CALL_PLATFORM_CREATE = 0x30,  /* handle, pages: give a guest interrupts, clock and PCI */
	BULKHEAD_CALL_PLATFORM_BLOB = 0x31,    /* handle, guest address, bytes: firmware configuration */
	BULKHEAD_CALL_PLATFORM_DEVICE = 0x32,  /* handle, slot, page -> bulkhead_device_description */
	BULKHEAD_CALL_PLATFORM_CONFIG = 0x33,  /* handle, slot, page, bytes -> effects */
	BULKHEAD_CALL_PLATFORM_RELAY = 0x34,   /* handle, slot << 8 | queue, page with page addresses */
	BULKHEAD_CALL_PLATFORM_LINE = 0x35,    /* handle, line, level -> effects */
	BULKHEAD_CALL_PLATFORM_BACKEND = 0x36, /* handle, slot << 8 | queue: backend called -> effects */
	BULKHEAD_CALL_PLATFORM_RELEASE = 0x37, /* handle, slot: backend has let go -> effects */
	BULKHEAD_CALL_PLATFORM_LOSE = 0x38,    /* handle, slot: backend is gone -> effects */

	BULKHEAD_CALL_COUNT = 0x40, /* size of the number space; numbers not named are refused */
};

/** Flags of BULKHEAD_CALL_GUEST_CREATE. */
#define BULKHEAD_GUEST_PROTECTED 1u /* memory is donated and sealed; without it, lent and open */

/** Facts about the machine that a report must name (struct bulkhead_status, facts). */
#define BULKHEAD_FACT_DMA_CONTAINED	  (1ull << 0) /* an IOMMU keeps devices in the service domain */
#define BULKHEAD_FACT_INTERRUPTS_CHECKED  (1ull << 1) /* devices cannot send INIT, SMI or NMI */
#define BULKHEAD_FACT_SECURE_BOOT	  (1ull << 2) /* firmware verified what it started */
#define BULKHEAD_FACT_MEASURED_BOOT	  (1ull << 3) /* firmware measured what it started into a TPM */
#define BULKHEAD_FACT_SMRAM_LOCKED	  (1ull << 4) /* firmware locked system management memory */
#define BULKHEAD_FACT_UEFI		  (1ull << 5) /* started by UEFI firmware (else Multiboot2) */

/** States of a guest (struct bulkhead_guest_status, state). */
enum bulkhead_guest_state {
	BULKHEAD_GUEST_FREE = 0,    /* the slot is unused */
	BULKHEAD_GUEST_LOADING = 1, /* memory, processors and their state are being set up */
	BULKHEAD_GUEST_SEALING = 2, /* the processors' state is being measured */
	BULKHEAD_GUEST_SEALED = 3,  /* closed (protected) or ready (unprotected): may run */
	BULKHEAD_GUEST_DYING = 4,   /* being destroyed: nothing runs, pages come back */
};

struct bulkhead_guest_status {
	uint32_t handle; /* 0: the slot is unused */
	uint8_t state;	 /* enum bulkhead_guest_state */
	uint8_t is_protected;
	uint16_t vcpu_count;
	uint64_t memory_pages; /* donated or lent, 4 KiB each */
	uint32_t table_pages;  /* page tables in use */
	uint32_t spare_pages;  /* paid table pages not yet in use */
};

/** Answer of BULKHEAD_CALL_STATUS. */
struct bulkhead_status {
	uint32_t abi_version;
	uint32_t size_bytes; /* of this structure */
	char build_id[48];   /* printable, ends with 0 */
	char back_end[16];   /* "svm", "vmx", ends with 0 */
	uint64_t facts;	     /* BULKHEAD_FACT_* */
	uint32_t processor_count;
	uint32_t vcpu_pages; /* pages VCPU_CREATE takes */
	uint64_t memory_pages;	   /* RAM the ownership record covers */
	uint64_t hypervisor_pages; /* of these, the hypervisor's own, tables not counted */
	uint64_t guest_pages;	   /* of these, given to guests */
	uint64_t table_pages;	   /* of these, page tables in use for the service domain */
	uint64_t spare_pages;	   /* of these, table pages paid for the service domain and not in use */
	uint32_t platform_pages;   /* pages PLATFORM_CREATE takes */
	uint32_t tsc_khz;	   /* rate of the time-stamp counter, as the hypervisor measured it */
	struct bulkhead_guest_status guests[BULKHEAD_MAX_GUESTS];
};

/** Why a processor left its domain, counted per processor (struct bulkhead_stats, exits). */
enum bulkhead_exit {
	BULKHEAD_EXIT_HYPERCALL = 0,
	BULKHEAD_EXIT_CPUID,
	BULKHEAD_EXIT_MSR,
	BULKHEAD_EXIT_PORT,
	BULKHEAD_EXIT_APIC,	 /* a write to the local APIC's page */
	BULKHEAD_EXIT_MEMORY,	 /* any other nested fault */
	BULKHEAD_EXIT_INTERRUPT, /* a physical interrupt while a guest ran */
	BULKHEAD_EXIT_WINDOW,	 /* a guest became ready for an interrupt */
	BULKHEAD_EXIT_NMI,
	BULKHEAD_EXIT_SMI,
	BULKHEAD_EXIT_INIT,	 /* INIT or start-up message, real or emulated */
	BULKHEAD_EXIT_EXCEPTION, /* an intercepted exception */
	BULKHEAD_EXIT_CONTROL,	 /* control or debug register, XSETBV, WBINVD and their like */
	BULKHEAD_EXIT_HALT,
	BULKHEAD_EXIT_SVM,	 /* a virtualization instruction, refused */
	BULKHEAD_EXIT_SHUTDOWN,	 /* triple fault */
	BULKHEAD_EXIT_OTHER,
	BULKHEAD_EXIT_COUNT,
};

struct bulkhead_call_stats {
	uint64_t count;	       /* calls made on this processor */
	uint64_t worst_cycles; /* longest of them, in time-stamp counter ticks */
};

/** Answer of BULKHEAD_CALL_STATS: counters of one processor, since start. */
struct bulkhead_stats {
	uint32_t processor;
	uint32_t exit_count;  /* rows used in exits[] */
	uint32_t call_count;  /* rows used in calls[] */
	uint32_t reserved;
	uint64_t flushes;     /* translation flushes this processor asked of all */
	uint64_t world_switches; /* runs of vCPUs: a change of domain there and one back, each with a branch barrier */
	uint64_t guest_flushes; /* entries into a guest that dropped all its translations */
	uint64_t relayed_bytes; /* payload that relays have copied */
	uint64_t exits[32];   /* by enum bulkhead_exit */
	struct bulkhead_call_stats calls[BULKHEAD_CALL_COUNT];
};

#define BULKHEAD_LOG_TEXT_BYTES 4080u

/**
 * Answer of BULKHEAD_CALL_LOG_READ: log text from a position (0: the oldest kept). Text older than
 * the ring holds is gone; first then says where the answer really starts.
 */
struct bulkhead_log {
	uint64_t first;	     /* position of text[0] in the whole log */
	uint32_t size_bytes; /* of text; 0: nothing newer */
	uint32_t reserved;
	char text[BULKHEAD_LOG_TEXT_BYTES];
};

/** Kinds of record in a measurement. */
enum bulkhead_record {
	BULKHEAD_RECORD_GUEST = 1, /* where: flags; content: none */
	BULKHEAD_RECORD_RANGE = 2, /* where: guest address; content: page count, 8 bytes */
	BULKHEAD_RECORD_PAGE = 3,  /* where: guest address; content: the page */
	BULKHEAD_RECORD_VCPU = 4,  /* where: index; content: the initial state page */
	BULKHEAD_RECORD_PLATFORM = 5, /* where: 0; content: none */
	BULKHEAD_RECORD_BLOB = 6,     /* where: guest address; content: size in bytes, 8 bytes */
	BULKHEAD_RECORD_DEVICE = 7,   /* where: slot; content: struct bulkhead_device_description */
};

/**
 * Answer of BULKHEAD_CALL_GUEST_MEASURE. The digest starts as 32 zero bytes; each record makes it
 * H(digest || kind (8 bytes, little endian) || where (8 bytes) || H(content)), where H is the first
 * 32 bytes of SHA-512. GUEST comes at creation, RANGE and PAGE in the order of the calls, VCPU by
 * index at the seal.
 */
struct bulkhead_measurement {
	uint8_t digest[BULKHEAD_MEASUREMENT_BYTES];
	uint64_t record_count;
	uint32_t is_sealed; /* only then is the digest final */
	uint32_t reserved;
};

static_assert(sizeof(struct bulkhead_guest_status) == 24, "ABI");
static_assert(sizeof(struct bulkhead_status) == 136 + 24 * BULKHEAD_MAX_GUESTS, "ABI");
static_assert(sizeof(struct bulkhead_stats) == 48 + 32 * 8 + 16 * BULKHEAD_CALL_COUNT, "ABI");
static_assert(sizeof(struct bulkhead_stats) <= BULKHEAD_PAGE_BYTES, "ABI");
static_assert(sizeof(struct bulkhead_log) == BULKHEAD_PAGE_BYTES, "ABI");
static_assert(sizeof(struct bulkhead_measurement) == 48, "ABI");

#endif
