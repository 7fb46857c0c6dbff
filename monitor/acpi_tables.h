/* SPDX-License-Identifier: MIT */
/*
 * The guest's ACPI tables (ACPI 6.4): what a kernel needs to find processors, the I/O APIC, the PCI bus and the power
 * switch of the monitor's platform. Made from numbers, not templates, so that they always agree with the platform.
 */
#ifndef BULKHEAD_MONITOR_ACPI_TABLES_H
#define BULKHEAD_MONITOR_ACPI_TABLES_H

#include <stddef.h>
#include <stdint.h>

#define ACPI_ROOT_BYTES		  64u /**< that the RSDP takes; the tables follow */
#define ACPI_ROOT_USED_BYTES	  36u
#define ACPI_ROOT_TABLES_AT	  24u /**< in the RSDP: 8 bytes, address of the XSDT */
#define ACPI_ROOT_CHECKSUM_AT	  8u  /**< of its first 20 bytes */
#define ACPI_ROOT_CHECKSUM_ALL_AT 32u
#define ACPI_CHECKSUM_AT	  9u /**< in every table */

/** Where tables and pointers stand, the RSDP's apart, from the RSDP's start on: for somebody who moves them. */
struct acpi_layout {
	struct {
		uint32_t at, size_bytes;
	} tables[8];
	unsigned int table_count;
	struct {
		uint32_t at;
		uint8_t size_bytes;
	} pointers[16];
	unsigned int pointer_count;
};

/**
 * Writes all tables, RSDP first.
 * @to: where they lie in this process; @bytes: room there
 * @address: the guest address of @to, below 4 GiB and aligned to 64 bytes
 * @layout: filled; may be NULL
 * Returns the bytes used, or 0 if there is not enough room.
 */
size_t acpi_tables_write(uint8_t *to, size_t bytes, uint64_t address, unsigned int processors,
			 struct acpi_layout *layout);

#endif
