/* SPDX-License-Identifier: MIT */
/* Private to the emulated unit: bringing the real remapping tables in line with the service domain's. */
#ifndef HYPERVISOR_IOMMU_AMD_AMDVI_COPY_H
#define HYPERVISOR_IOMMU_AMD_AMDVI_COPY_H

#include "amdvi_unit.h"

/** A register as the service domain reads it. */
uint64_t amdvi_unit_register(const struct amdvi_unit *unit, uint32_t offset);

/** Makes the device's entries the next work. */
void amdvi_copy_device(struct amdvi_unit *unit, uint16_t device);

/** Does a piece of the work at hand; returns what it cost, in the units of amdvi_unit.c's budget. */
uint32_t amdvi_copy_step(struct amdvi_unit *unit, enum iommu_result *result);

#endif
