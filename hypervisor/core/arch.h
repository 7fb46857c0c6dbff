/* SPDX-License-Identifier: MIT */
/*
 * What the core needs from a machine. The x86 code implements these functions for the hypervisor;
 * tests/unit/hypervisor/fake_arch.c does for the host, with processors and an IOMMU that keep every
 * translation until they are told to drop it.
 *
 * Nothing here may fail: the core calls a function only after every check has passed.
 */
#ifndef BULKHEAD_CORE_ARCH_H
#define BULKHEAD_CORE_ARCH_H

#include "types.h"

struct address_space;
struct vcpu;

/** Highest number of processors the core keeps counters for. */
#define MAX_PROCESSORS 128u

/** A lock. Zero is unlocked. */
struct lock {
	uint32_t word;
};

/**
 * Takes a lock. While it waits it must keep answering other processors' flush requests
 * (arch_flush), because their owner may hold this very lock.
 */
void arch_lock(struct lock *lock);
void arch_unlock(struct lock *lock);

/** Number of the processor this runs on: 0 .. arch_processor_count() - 1. */
unsigned int arch_processor(void);

/** Processors running under the hypervisor. Constant once the service domain has started. */
unsigned int arch_processor_count(void);

/** Time-stamp counter or its like; only differences mean something. */
uint64_t arch_cycles(void);

/**
 * Where the hypervisor sees a page of RAM.
 * @page: page aligned, in RAM that the frame table covers
 * Returns a pointer to its 4096 bytes, valid for good.
 */
void *arch_page(struct phys page);

/** Writes zeros over a page. */
void arch_clear_page(struct phys page);

/** Copies one page over another. */
void arch_copy_page(struct phys to, struct phys from);

/**
 * Makes every processor, and for the service domain's address space every IOMMU, drop all
 * translations and cached page-table entries of an address space. Returns only when all have
 * done so: after it, a page that is no longer in the tables can no longer be reached. Counts itself
 * in core.stats[].flushes.
 */
void arch_flush(const struct address_space *space);

/** Writes text to the machine's early console (serial). Length in bytes; no terminator. */
void arch_console(const char *text, size_t size_bytes);

/** Writes what the machine's units have noted since the last call to the core's log: a few lines at most. */
void arch_log_events(void);

/** Pages of private memory the back-end needs for one vCPU, contiguous. */
unsigned int arch_vcpu_pages(void);

/**
 * Sets a vCPU up in its private pages, as after power-on. The pages are cleared.
 * The vCPU's guest and pages are filled in; the back-end may use vcpu->arch.
 */
void arch_vcpu_init(struct vcpu *vcpu);

/**
 * Checks a state that a monitor wants a vCPU to start with.
 * @state: BULKHEAD_PAGE_BYTES bytes in hypervisor memory (nobody else writes it)
 * Returns BULKHEAD_OK, or BULKHEAD_INVALID if some register in it is not allowed.
 */
MUST_USE enum bulkhead_error arch_vcpu_check_state(const void *state);

/** Gives a vCPU the registers of a state that arch_vcpu_check_state() accepted. */
void arch_vcpu_set_state(struct vcpu *vcpu, const void *state);

/** Writes a vCPU's registers to a page in the same format. */
void arch_vcpu_get_state(const struct vcpu *vcpu, void *state);

/**
 * Runs a vCPU on this processor until it needs the service domain or a physical interrupt arrives,
 * and writes why to its run page. The core's lock is not held; the vCPU is bound to this processor.
 */
void arch_vcpu_run(struct vcpu *vcpu);

#endif
