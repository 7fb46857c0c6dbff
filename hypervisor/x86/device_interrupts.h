/* SPDX-License-Identifier: MIT */
/*
 * Checked device interrupts: shows the service domain an emulated IOMMU in the real one's place
 * (iommu/amd/amdvi_unit.h) and hands its writes over.
 */
#ifndef BULKHEAD_X86_DEVICE_INTERRUPTS_H
#define BULKHEAD_X86_DEVICE_INTERRUPTS_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Maps the emulated units' registers over the real ones', which no table maps. Once, after core and
 * IOMMU have started, before the service domain runs.
 */
void device_interrupts_start(void);

/**
 * A write to the ring pointers of a unit that faulted.
 * @index: of the unit; @offset: from its window's start
 * Returns false if the processor has to execute the same write again, so that work goes on in pieces.
 */
bool device_interrupts_write(unsigned int index, uint32_t offset, unsigned int size_bytes,
			     uint64_t value);

#endif
