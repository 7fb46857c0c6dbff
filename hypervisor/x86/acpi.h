/* SPDX-License-Identifier: MIT */
/*
 * What the hypervisor needs to know from ACPI's static tables, read once at start: where the IOMMU,
 * configuration space, the event timers and the power ports are.
 *
 * Pure code: memory is reached through struct acpi_memory only, so the host tests and the fuzzer run
 * this very code over tables of their own. Every length and checksum is checked before a field is
 * believed; arrays are of fixed size and what does not fit is an error, never cut off silently.
 * AML (DSDT, SSDT) is never looked at.
 *
 * Specification: ACPI 6.4 chapter 5.2; AMD I/O Virtualization Technology (IOMMU) 3.05 chapter 5;
 * PCI Firmware 3.2 section 4.1.2 (MCFG); IA-PC HPET 1.0a section 3.2.4.
 */
#ifndef HYPERVISOR_X86_ACPI_H
#define HYPERVISOR_X86_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACPI_MAX_TABLES	    64u
#define ACPI_MAX_ECAM	    8u
#define ACPI_MAX_UNITS	    8u
#define ACPI_MAX_TABLE_BYTES (1u << 20)

/** Physical memory as the parser sees it. */
struct acpi_memory {
	/** Copies size bytes at the physical address; false if any of them cannot be read. */
	bool (*read)(void *context, uint64_t address, void *buffer, size_t size);
	void *context;
};

enum acpi_result {
	ACPI_OK = 0,
	ACPI_NOT_FOUND,	   /* no such table, or no RSDP where one was looked for */
	ACPI_UNREADABLE,   /* the memory accessor refused an address */
	ACPI_BAD_CHECKSUM, /* the bytes of a structure do not add up to 0 */
	ACPI_BAD_LENGTH,   /* a length is too small for its structure or passes the table's end */
	ACPI_TOO_MANY,	   /* more entries than the fixed arrays hold */
	ACPI_RESULT_COUNT,
};

/** One table that the root table names. Its signature, length and checksum have been checked. */
struct acpi_table {
	char signature[4];
	uint32_t length_bytes;
	uint64_t address;
};

/** The root table and all it points to. */
struct acpi_tables {
	uint32_t count;
	struct acpi_table tables[ACPI_MAX_TABLES];
};

/** A window of memory-mapped configuration space (MCFG). Bus b of it starts at base + (b << 20). */
struct acpi_ecam {
	uint64_t base;
	uint16_t segment;
};

struct acpi_mcfg {
	uint32_t count;
	struct acpi_ecam windows[ACPI_MAX_ECAM];
};

/** A register block of the FADT; length_bytes 0 means the machine has none. */
struct acpi_register {
	uint64_t address;
	uint16_t length_bytes;
	uint8_t space; /* 0: memory, 1: port, 2: configuration space */
};

#define ACPI_SPACE_MEMORY 0u
#define ACPI_SPACE_PORT	  1u

/** The FADT's ports. The hypervisor filters sleep and SMI commands that pass through them. */
struct acpi_fadt {
	uint16_t smi_command_port; /* 0: none */
	struct acpi_register pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm_timer, gpe0, reset;
	uint8_t reset_value;
};

/** An AMD IOMMU as the IVRS describes it. */
struct acpi_unit {
	uint64_t base; /* of its registers */
	uint16_t segment;
	uint8_t flags; /* IVHD flags: what firmware asks CONTROL to hold */
};

struct acpi_ivrs {
	uint32_t unit_count;
	struct acpi_unit units[ACPI_MAX_UNITS];
};

/** Names a result for a log line. */
const char *acpi_result_name(enum acpi_result result);

/**
 * Looks for the RSDP where BIOS puts it (ACPI 5.2.5.1): the first KiB of the extended BIOS data area,
 * then E0000h to FFFFFh. UEFI hands the address over instead.
 *
 * rsdp_address: receives the physical address. ACPI_NOT_FOUND if there is none.
 */
enum acpi_result acpi_find_rsdp(const struct acpi_memory *memory, uint64_t *rsdp_address)
	__attribute__((warn_unused_result));

/**
 * Reads the RSDP and lists the tables of the XSDT, or of the RSDT if there is no XSDT.
 *
 * A single damaged table is left out: firmware with one bad checksum is common
 * and must not cost the machine its IOMMU. A damaged RSDP or root table is an error.
 */
enum acpi_result acpi_read_tables(const struct acpi_memory *memory, uint64_t rsdp_address,
				  struct acpi_tables *tables) __attribute__((warn_unused_result));

/** Returns the first listed table with the signature (four characters), or NULL. */
const struct acpi_table *acpi_table_find(const struct acpi_tables *tables, const char *signature);

/**
 * The parsers of single tables. Each finds its table in the list, checks it and fills its structure,
 * which is all zero unless ACPI_OK is returned. ACPI_NOT_FOUND: the machine has no such table.
 * Of the event timers there is only the address of their registers.
 */
enum acpi_result acpi_read_mcfg(const struct acpi_memory *memory, const struct acpi_tables *tables,
				struct acpi_mcfg *mcfg) __attribute__((warn_unused_result));
enum acpi_result acpi_read_hpet(const struct acpi_memory *memory, const struct acpi_tables *tables,
				uint64_t *hpet) __attribute__((warn_unused_result));
enum acpi_result acpi_read_fadt(const struct acpi_memory *memory, const struct acpi_tables *tables,
				struct acpi_fadt *fadt) __attribute__((warn_unused_result));
enum acpi_result acpi_read_ivrs(const struct acpi_memory *memory, const struct acpi_tables *tables,
				struct acpi_ivrs *ivrs) __attribute__((warn_unused_result));

/**
 * Reads a little-endian value of 1, 2, 4 or 8 bytes at an offset of a table. For the parsers: false if
 * the value passes the table's end or cannot be read.
 */
bool acpi_table_value(const struct acpi_memory *memory, const struct acpi_table *table,
		      uint32_t offset, uint32_t size_bytes, uint64_t *value);

#endif
