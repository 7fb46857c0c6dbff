/* SPDX-License-Identifier: MIT */
/*
 * What the hypervisor keeps for each processor: one block of BOOT_PROCESSOR_BYTES with stacks, guard
 * pages between them, the state below and the back-end's pages. GS points to the state while the
 * hypervisor runs.
 */
#ifndef BULKHEAD_X86_PROCESSOR_H
#define BULKHEAD_X86_PROCESSOR_H

/* Offsets for assembly; checked below. */
#define PROCESSOR_GPR	     0x08
#define PROCESSOR_RUN_STATE   0x88
#define PROCESSOR_HOST_STATE 0x90
#define PROCESSOR_STACK	     0x98
#define PROCESSOR_FIXUP	     0xa0
#define PROCESSOR_NMI_COUNT  0xa8

/* Pages of a block. A page that has no name is a guard: not mapped. */
#define BLOCK_NMI_STACK	   1
#define BLOCK_DF_STACK	   3
#define BLOCK_MC_STACK	   5
#define BLOCK_STACK	   7 /* four pages */
#define BLOCK_STACK_END	   11
#define BLOCK_STATE	   12
#define BLOCK_BACK_END	   13 /* three pages */

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/arch.h"
#include "cpu.h"

enum gpr {
	GPR_RAX,
	GPR_RCX,
	GPR_RDX,
	GPR_RBX,
	GPR_RSP,
	GPR_RBP,
	GPR_RSI,
	GPR_RDI,
	GPR_R8,
	GPR_COUNT = 16,
};

/** What one processor may ask of another; bits of struct processor's requests. */
enum request {
	REQUEST_INIT = 1u << 8,	   /* the service domain sent it INIT */
	REQUEST_STARTUP = 1u << 9, /* and a start-up message, whose vector is in bits 7:0 */
	REQUEST_STOP = 1u << 10,   /* park for good: the machine ends */
	REQUEST_NMI = 1u << 11,	   /* the service domain sent it an NMI */
};

/** State segment in the form the processor reads it (APM vol. 2, 12.2.5). */
struct task_state {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3;
	uint16_t io_map;
} __attribute__((packed));

struct processor {
	struct processor *self;
	uint64_t gpr[GPR_COUNT]; /* the service domain's, or the running guest's */
	uint64_t run_state;	 /* what runs next, in the back-end's form (physical) */
	uint64_t host_state;	 /* our FS, GS, TR, LDTR and system-call registers */
	uint64_t stack;		 /* top of the stack exits are handled on */
	uint64_t fixup;		 /* where to go if the next instruction faults, or 0 */
	uint64_t nmi_count;	 /* NMIs taken by the hypervisor */
	uint32_t index;
	uint32_t apic_id;
	uint32_t logical;	 /* logical destination and its format, as last written */
	uint32_t format;
	uint32_t is_online;	 /* inside BOOT_ENTER or beyond */
	uint32_t is_waiting;	 /* for a start-up message, after INIT */
	uint32_t is_stopped;	 /* parked for good */
	uint32_t is_nmi_blocked; /* an NMI was handed on and has not returned */
	uint32_t is_nmi_pending;
	uint32_t is_machine_check_pending;
	uint32_t requests;	 /* enum request; written by all */
	uint32_t doorbell;	 /* a ring is on its way; written by all */
	uint64_t flush_wanted;	 /* number of the last flush asked of this processor */
	uint64_t flush_done;
	uint64_t nmi_accounted;	 /* nmi_count when somebody last asked whose they were */
	uint64_t gdt[7];
	struct task_state tss;
};

static_assert(offsetof(struct processor, gpr) == PROCESSOR_GPR, "assembly");
static_assert(offsetof(struct processor, run_state) == PROCESSOR_RUN_STATE, "assembly");
static_assert(offsetof(struct processor, host_state) == PROCESSOR_HOST_STATE, "assembly");
static_assert(offsetof(struct processor, stack) == PROCESSOR_STACK, "assembly");
static_assert(offsetof(struct processor, fixup) == PROCESSOR_FIXUP, "assembly");
static_assert(offsetof(struct processor, nmi_count) == PROCESSOR_NMI_COUNT, "assembly");
static_assert(sizeof(struct processor) <= 4096, "one page");

/** Selectors of our descriptor table. */
#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TASK 0x18

/** The processor this runs on. */
static inline struct processor *this_processor(void)
{
	struct processor *self;

	__asm__("mov %%gs:0, %0" : "=r"(self));
	return self;
}

/** State of a processor by number, below arch_processor_count(). */
struct processor *processor_at(unsigned int index);

/** A page of a processor's block, see BLOCK_*. */
static inline void *processor_page(struct processor *processor, unsigned int page)
{
	return (uint8_t *)processor + ((int)page - BLOCK_STATE) * 4096;
}

/** Lays out the blocks of all processors at base. */
void processor_init_all(uint8_t *base, uint32_t count);

/** Gives the calling processor a number: BOOT_ENTER's first act. NULL: it is one too many. */
struct processor *processor_claim(uint32_t apic_id);

/** Loads our descriptor tables and GS on the calling processor. @with_tss: task register as well */
void processor_load_tables(struct processor *processor, bool with_tss);

/** Gives a loader its descriptor tables back. @selectors: DS, ES, SS, CS */
void processor_restore_tables(const struct descriptor_table *gdtr,
			      const struct descriptor_table *idtr, const uint16_t *selectors);

/** Fills the interrupt descriptor table. @with_stacks: NMI, #DF and #MC on stacks of their own */
void processor_init_idt(bool with_stacks);

/** Asks something of another processor and rings its doorbell. */
void processor_request(struct processor *processor, uint32_t requests);

/**
 * Accounts for NMIs that were taken: answers the doorbell, and makes an NMI pending for the service domain if nobody
 * rang or another source may share it. Call wherever one may have been taken, before requests are looked at.
 */
void nmi_account(struct processor *processor);

/** Does what a flush asks, wherever this processor is; called in every waiting loop. */
void processor_poll_flush(void);

/** Stops all other processors and returns once they are parked. */
void processor_stop_others(void);

#endif
#endif
