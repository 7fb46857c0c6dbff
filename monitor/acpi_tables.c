/* SPDX-License-Identifier: MIT */
/*
 * Builds RSDP, XSDT, FADT, FACS, DSDT, MADT and MCFG; see acpi_tables.h. Section numbers are ACPI 6.4's.
 */
#include "acpi_tables.h"
#include "machine.h"

#include <string.h>

/** A growing block of bytes; once full, it stays full and says so. */
struct writer {
	uint8_t *bytes;
	size_t used, room;
	uint64_t address; /**< the guest's, of bytes */
	struct acpi_layout layout;
};

static void put(struct writer *writer, const void *from, size_t size)
{
	if (writer->used + size > writer->room) {
		writer->room = 0;
		writer->used = 1;
		return;
	}
	memcpy(writer->bytes + writer->used, from, size);
	writer->used += size;
}

static void put_number(struct writer *writer, uint64_t value, size_t size)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
	put(writer, bytes, size);
}

static void put_zeros(struct writer *writer, size_t count)
{
	while (count--)
		put_number(writer, 0, 1);
}

static bool full(const struct writer *writer)
{
	return writer->used > writer->room;
}

/** A pointer to what stands at an offset. */
static void put_pointer(struct writer *writer, size_t to, uint8_t size)
{
	unsigned int number = writer->layout.pointer_count++;

	writer->layout.pointers[number].at = (uint32_t)writer->used;
	writer->layout.pointers[number].size_bytes = size;
	put_number(writer, writer->address + to, size);
}

static uint8_t checksum(const uint8_t *bytes, size_t size)
{
	uint8_t sum = 0;

	while (size--)
		sum = (uint8_t)(sum + *bytes++);
	return (uint8_t)-sum;
}

/** Starts a table (5.2.6); table_end() fills length and checksum in. Returns where it starts. */
static size_t table_start(struct writer *writer, const char signature[4], uint8_t revision)
{
	size_t start;

	put_zeros(writer, (0 - writer->used) & 63);
	start = writer->used;
	put(writer, signature, 4);
	put_number(writer, 0, 4); /* length */
	put_number(writer, revision, 1);
	put_number(writer, 0, 1); /* checksum */
	put(writer, "BULKHDBULKHEAD ", 14);
	put_number(writer, 1, 4);
	put(writer, "BULK", 4);
	put_number(writer, 1, 4);
	return start;
}

static void table_end(struct writer *writer, size_t start)
{
	size_t size = writer->used - start;

	if (full(writer))
		return;
	for (int i = 0; i < 4; i++)
		writer->bytes[start + 4 + (size_t)i] = (uint8_t)(size >> 8 * i);
	writer->bytes[start + ACPI_CHECKSUM_AT] = checksum(writer->bytes + start, size);
	writer->layout.tables[writer->layout.table_count].at = (uint32_t)start;
	writer->layout.tables[writer->layout.table_count++].size_bytes = (uint32_t)size;
}

/* AML (chapter 20): packages of known size, with the two-byte form of PkgLength throughout. */

static size_t aml_open(struct writer *writer, const void *opcode, size_t opcode_bytes)
{
	put(writer, opcode, opcode_bytes);
	put_number(writer, 0, 2);
	return writer->used - 2;
}

static void aml_close(struct writer *writer, size_t length_at)
{
	size_t size = writer->used - length_at;

	if (full(writer))
		return;
	writer->bytes[length_at] = (uint8_t)(0x40 | (size & 0x0f));
	writer->bytes[length_at + 1] = (uint8_t)(size >> 4);
}

static void aml_name(struct writer *writer, const char name[4])
{
	put_number(writer, 0x08, 1);
	put(writer, name, 4);
}

static void aml_dword(struct writer *writer, uint32_t value)
{
	put_number(writer, 0x0c, 1);
	put_number(writer, value, 4);
}

/** An address space descriptor (6.4.3.5): decoded by the bridge, minimum and maximum fixed. */
static void resource(struct writer *writer, uint8_t tag, size_t width, uint8_t type, uint8_t flags, uint64_t first,
		     uint64_t last)
{
	put_number(writer, tag, 1);
	put_number(writer, 3 + 5 * width, 2);
	put_number(writer, type, 1);
	put_number(writer, 0x0c, 1);
	put_number(writer, flags, 1);
	put_number(writer, 0, width); /* granularity */
	put_number(writer, first, width);
	put_number(writer, last, width);
	put_number(writer, 0, width); /* translation */
	put_number(writer, last - first + 1, width);
}

static void write_bridge_resources(struct writer *writer)
{
	size_t length_at, content;

	aml_name(writer, "_CRS");
	length_at = aml_open(writer, "\x11", 1);
	put_number(writer, 0x0b, 1); /* the buffer's size, as a word */
	put_number(writer, 0, 2);
	content = writer->used;
	resource(writer, 0x88, 2, 2, 0, 0, 0);		  /* bus 0 */
	put(writer, "\x47\x01\xf8\x0c\xf8\x0c\x01\x08", 8); /* ports CF8h..CFFh (6.4.2.5) */
	resource(writer, 0x88, 2, 1, 3, 0x0d00, 0xffff);
	resource(writer, 0x87, 4, 0, 1, MACHINE_PCI_HOLE, MACHINE_PCI_HOLE_END - 1);
	resource(writer, 0x8a, 8, 0, 1, MACHINE_PCI_HIGH, MACHINE_PCI_HIGH + MACHINE_PCI_HIGH_BYTES - 1);
	put(writer, "\x79\x00", 2); /* end tag */
	if (!full(writer)) {
		writer->bytes[content - 2] = (uint8_t)(writer->used - content);
		writer->bytes[content - 1] = (uint8_t)((writer->used - content) >> 8);
	}
	aml_close(writer, length_at);
}

static size_t write_dsdt(struct writer *writer)
{
	size_t start = table_start(writer, "DSDT", 2), scope, device;

	aml_name(writer, "_S5_"); /* 7.4.2.6 */
	put(writer, "\x12\x06\x04\x0a", 4);
	put_number(writer, MACHINE_S5_TYPE, 1);
	put(writer, "\x00\x00\x00", 3);
	scope = aml_open(writer, "\x10", 1);
	put(writer, "_SB_", 4);
	device = aml_open(writer, "\x5b\x82", 2);
	put(writer, "PCI0", 4);
	aml_name(writer, "_HID");
	aml_dword(writer, 0x080ad041); /* PNP0A08, compressed (19.3.4): PCI Express root */
	aml_name(writer, "_CID");
	aml_dword(writer, 0x030ad041); /* PNP0A03 */
	aml_name(writer, "_UID");
	put_number(writer, 0, 1);
	write_bridge_resources(writer);
	aml_close(writer, device);
	aml_close(writer, scope);
	table_end(writer, start);
	return start;
}

/** A generic address (5.2.3.2) of an I/O port. */
static void port_address(struct writer *writer, uint16_t port, uint8_t bits, uint8_t access)
{
	put_number(writer, 1, 1);
	put_number(writer, bits, 1);
	put_number(writer, 0, 1);
	put_number(writer, access, 1);
	put_number(writer, port, 8);
}

static size_t write_fadt(struct writer *writer, size_t facs, size_t dsdt)
{
	size_t start = table_start(writer, "FACP", 6);

	put_pointer(writer, facs, 4);
	put_pointer(writer, dsdt, 4);
	put_number(writer, 0, 1);
	put_number(writer, 1, 1); /* preferred profile: desktop */
	put_number(writer, MACHINE_SCI, 2);
	put_zeros(writer, 8); /* no SMI command: ACPI is always on */
	put_number(writer, MACHINE_PM_EVENT, 4);
	put_number(writer, 0, 4);
	put_number(writer, MACHINE_PM_CONTROL, 4);
	put_zeros(writer, 8);
	put_number(writer, MACHINE_PM_TIMER, 4);
	put_zeros(writer, 8);
	put(writer, "\x04\x02\x00\x04", 4); /* lengths: events, control, control 2, timer */
	put_zeros(writer, 4);
	put_number(writer, 0xffff, 2); /* no C2 */
	put_number(writer, 0xffff, 2); /* no C3 */
	put_zeros(writer, 8);
	put_number(writer, 0x32, 1); /* the clock chip's century register */
	put_number(writer, 0x0010 | 0x0004, 2); /* no CMOS clock promised off, no VGA; MSI allowed */
	put_number(writer, 0, 1);
	/* WBINVD, C1 everywhere, no sleep button, 32-bit timer, reset register */
	put_number(writer, 1 << 0 | 1 << 2 | 1 << 5 | 1 << 8 | 1 << 10, 4);
	port_address(writer, MACHINE_RESET_PORT, 8, 1);
	put_number(writer, 6, 1);
	put_zeros(writer, 2);
	put_number(writer, 4, 1); /* minor version */
	put_pointer(writer, facs, 8);
	put_pointer(writer, dsdt, 8);
	port_address(writer, MACHINE_PM_EVENT, 32, 2);
	put_zeros(writer, 12);
	port_address(writer, MACHINE_PM_CONTROL, 16, 2);
	put_zeros(writer, 24);
	port_address(writer, MACHINE_PM_TIMER, 32, 3);
	put_zeros(writer, 24 + 24 + 8); /* no GPEs, no sleep registers, no hypervisor vendor */
	table_end(writer, start);
	return start;
}

static size_t write_madt(struct writer *writer, unsigned int processors)
{
	size_t start = table_start(writer, "APIC", 4);

	put_number(writer, MACHINE_LAPIC, 4);
	put_number(writer, 1, 4); /* 8259s are there, and must be masked */
	for (unsigned int i = 0; i < processors; i++) {
		const uint8_t entry[8] = { 0, 8, (uint8_t)i, (uint8_t)i, 1 };

		put(writer, entry, sizeof(entry));
	}
	put(writer, "\x01\x0c\x00\x00", 4);
	put_number(writer, MACHINE_IOAPIC, 4);
	put_number(writer, 0, 4);
	put(writer, "\x02\x0a\x00\x00\x02\x00\x00\x00\x00\x00", 10); /* timer: line 0 is input 2 */
	put(writer, "\x02\x0a\x00\x09\x09\x00\x00\x00\x0d\x00", 10); /* SCI: level, high */
	table_end(writer, start);
	return start;
}

static size_t write_mcfg(struct writer *writer)
{
	size_t start = table_start(writer, "MCFG", 1);

	put_zeros(writer, 8);
	put_number(writer, MACHINE_ECAM, 8);
	put_zeros(writer, 2 + 1 + 1 + 4); /* segment 0, buses 0 to 0 */
	table_end(writer, start);
	return start;
}

size_t acpi_tables_write(uint8_t *to, size_t bytes, uint64_t address, unsigned int processors,
			 struct acpi_layout *layout)
{
	struct writer writer = { .bytes = to, .room = bytes, .address = address };
	size_t facs, tables[3], xsdt;

	put_zeros(&writer, ACPI_ROOT_BYTES); /* the RSDP, once the XSDT's address is known */
	facs = writer.used;
	put(&writer, "FACS\x40\x00\x00\x00", 8);
	put_zeros(&writer, 24);
	put_number(&writer, 2, 1); /* version */
	put_zeros(&writer, 31);
	tables[0] = write_dsdt(&writer);
	tables[0] = write_fadt(&writer, facs, tables[0]);
	tables[1] = write_madt(&writer, processors);
	tables[2] = write_mcfg(&writer);
	xsdt = table_start(&writer, "XSDT", 1);
	for (unsigned int i = 0; i < 3; i++)
		put_pointer(&writer, tables[i], 8);
	table_end(&writer, xsdt);
	if (full(&writer))
		return 0;

	/* 5.2.5.3: the first checksum covers 20 bytes, the second all 36. */
	memcpy(to, "RSD PTR \0BULKHD\2", 16);
	to[20] = ACPI_ROOT_USED_BYTES;
	for (int i = 0; i < 8; i++)
		to[ACPI_ROOT_TABLES_AT + i] = (uint8_t)((address + xsdt) >> 8 * i);
	to[ACPI_ROOT_CHECKSUM_AT] = checksum(to, 20);
	to[ACPI_ROOT_CHECKSUM_ALL_AT] = checksum(to, ACPI_ROOT_USED_BYTES);
	if (layout)
		*layout = writer.layout;
	return writer.used;
}
