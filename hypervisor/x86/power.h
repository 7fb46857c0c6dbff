/* SPDX-License-Identifier: MIT */
/*
 * How the machine ends: reset, power-off, a triple fault. Memory survives a reset, so guests' memory
 * is cleared first, with all other processors stopped. Sleep states that would bring the machine up
 * again without the hypervisor are refused.
 */
#ifndef BULKHEAD_X86_POWER_H
#define BULKHEAD_X86_POWER_H

#include "hypervisor.h"

/** Clears what must not survive, then resets the machine. */
__attribute__((noreturn)) void power_reset(const char *reason);

/** Stops this processor for good. */
__attribute__((noreturn)) void power_park(void);

/** A write of the service domain's to PM1 control (ACPI 6.4, 4.8.3.2). */
void power_pm_control(uint16_t port, unsigned int size_bytes, uint32_t value);

/** Learns from the DSDT which sleep type is power-off. */
void power_find_off_type(const struct acpi_memory *memory, const struct acpi_tables *tables);

/** Closes system management memory, or learns that firmware did. Fills REGION_HYPERVISOR's stub. */
void smm_close(void);

/** Whether system management code is out of the service domain's reach. */
bool power_smm_is_locked(void);

#endif
