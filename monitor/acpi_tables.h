/* SPDX-License-Identifier: MIT */
/*
 * The guest's ACPI tables (ACPI 6.4): what a kernel needs to find processors, the I/O APIC, the PCI bus and the power
 * switch of the monitor's platform. Made from numbers, not templates, so that they always agree with the platform.
 */
#ifndef BULKHEAD_MONITOR_ACPI_TABLES_H
#define BULKHEAD_MONITOR_ACPI_TABLES_H

#include <stddef.h>
#include <stdint.h>

/**
 * Writes all tables, RSDP first.
 * @to: where they lie in this process; @bytes: room there
 * @address: the guest address of @to, below 4 GiB and aligned to 64 bytes
 * Returns the bytes used, or 0 if there is not enough room.
 */
size_t acpi_tables_write(uint8_t *to, size_t bytes, uint64_t address, unsigned int processors);

#endif
