/* SPDX-License-Identifier: MIT */
/*
 * Nested faults of the service domain: writes to registers that are filtered, and what it must not do.
 */
#ifndef BULKHEAD_X86_MEMORY_FAULT_H
#define BULKHEAD_X86_MEMORY_FAULT_H

#include "processor.h"

/** What is filtered in a window. */
enum window_kind {
	WINDOW_APIC,
	WINDOW_HPET,
	WINDOW_CONFIG, /* configuration space of one function; function says which */
	WINDOW_IOMMU,  /* ring pointers of the emulated IOMMU; function is its number */
};

/** Adds a window; the nested tables must make it read-only. Before the service domain starts. */
void memory_fault_add_window(enum window_kind kind, uint64_t base, uint64_t size_bytes,
			     uint16_t function);

/**
 * Handles a nested fault: a filtered write is done, anything else is #GP.
 * @address: physical
 * @is_final: the access itself, not the walk of page tables
 */
void memory_fault(struct processor *processor, uint64_t address, bool is_write, bool is_final);

/**
 * What of a write to the event timers may pass. Pure. Timers may not send messages (FSB interrupts):
 * these are writes to any address, and no IOMMU sees them.
 * @offset: in the timers' page; *value is changed
 * Returns false if nothing may be written.
 */
bool hpet_write_filter(uint32_t offset, unsigned int size_bytes, uint64_t *value);

#endif
