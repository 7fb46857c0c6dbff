/* SPDX-License-Identifier: MIT */
/*
 * Finding ACPI's tables: RSDP, root table, the list of all others.
 * The one idea: a table enters the list only after its length and checksum held, so the parsers of
 * single tables (acpi_*.c) need to check offsets against that length and nothing else.
 */
#include "acpi.h"

#define HEADER_BYTES	  36u /* of every table: signature, length, revision, checksum, ids */
#define RSDP_V1_BYTES	  20u
#define RSDP_V2_BYTES	  36u
#define BIOS_AREA_START	  0xe0000u
#define BIOS_AREA_END	  0x100000u
#define EBDA_SEGMENT	  0x40eu /* BIOS data area: segment of the extended BIOS data area */
#define EBDA_SEARCH_BYTES 1024u

static bool same_signature(const char *left, const char *right, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (left[i] != right[i])
			return false;
	return true;
}

static uint64_t little_endian(const uint8_t *bytes, uint32_t size_bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < size_bytes; i++)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

/* Adds up size bytes. Reads in small pieces: the hypervisor has no heap to hold a whole table. */
static enum acpi_result sum_bytes(const struct acpi_memory *memory, uint64_t address, uint32_t size,
				  uint8_t *sum)
{
	uint8_t piece[64];

	*sum = 0;
	while (size > 0) {
		uint32_t count = size < sizeof(piece) ? size : sizeof(piece);

		if (!memory->read(memory->context, address, piece, count))
			return ACPI_UNREADABLE;
		for (uint32_t i = 0; i < count; i++)
			*sum = (uint8_t)(*sum + piece[i]);
		address += count;
		size -= count;
	}
	return ACPI_OK;
}

static enum acpi_result check_sum(const struct acpi_memory *memory, uint64_t address, uint32_t size)
{
	uint8_t sum;
	enum acpi_result result = sum_bytes(memory, address, size, &sum);

	if (result != ACPI_OK)
		return result;
	return sum == 0 ? ACPI_OK : ACPI_BAD_CHECKSUM;
}

const char *acpi_result_name(enum acpi_result result)
{
	static const char *const names[ACPI_RESULT_COUNT] = {
		[ACPI_OK] = "found",
		[ACPI_NOT_FOUND] = "absent",
		[ACPI_UNREADABLE] = "unreadable address",
		[ACPI_BAD_CHECKSUM] = "bad checksum",
		[ACPI_BAD_LENGTH] = "bad length",
		[ACPI_TOO_MANY] = "too many entries",
	};

	return (unsigned int)result < ACPI_RESULT_COUNT ? names[result] : "unknown result";
}

static bool is_rsdp(const struct acpi_memory *memory, uint64_t address)
{
	char signature[8];

	return memory->read(memory->context, address, signature, sizeof(signature)) &&
	       same_signature(signature, "RSD PTR ", sizeof(signature)) &&
	       check_sum(memory, address, RSDP_V1_BYTES) == ACPI_OK;
}

static bool scan_for_rsdp(const struct acpi_memory *memory, uint64_t start, uint64_t end,
			  uint64_t *rsdp_address)
{
	for (uint64_t address = start; address + RSDP_V1_BYTES <= end; address += 16) {
		if (is_rsdp(memory, address)) {
			*rsdp_address = address;
			return true;
		}
	}
	return false;
}

enum acpi_result acpi_find_rsdp(const struct acpi_memory *memory, uint64_t *rsdp_address)
{
	uint8_t segment[2];

	if (memory->read(memory->context, EBDA_SEGMENT, segment, sizeof(segment))) {
		uint64_t ebda = little_endian(segment, 2) << 4;

		if (ebda != 0 &&
		    scan_for_rsdp(memory, ebda, ebda + EBDA_SEARCH_BYTES, rsdp_address))
			return ACPI_OK;
	}
	if (scan_for_rsdp(memory, BIOS_AREA_START, BIOS_AREA_END, rsdp_address))
		return ACPI_OK;
	return ACPI_NOT_FOUND;
}

/* The header's length, or 0 if it cannot be read or is out of bounds. */
static uint32_t table_length(const struct acpi_memory *memory, uint64_t address, char signature[4])
{
	uint8_t header[8];
	uint64_t length;

	if (address > UINT64_MAX - ACPI_MAX_TABLE_BYTES ||
	    !memory->read(memory->context, address, header, sizeof(header)))
		return 0;
	length = little_endian(header + 4, 4);
	for (uint32_t i = 0; i < 4; i++)
		signature[i] = (char)header[i];
	return length >= HEADER_BYTES && length <= ACPI_MAX_TABLE_BYTES ? (uint32_t)length : 0;
}

static enum acpi_result list_table(const struct acpi_memory *memory, struct acpi_tables *tables,
				   uint64_t address)
{
	struct acpi_table table = {.address = address};

	if (address != 0)
		table.length_bytes = table_length(memory, address, table.signature);
	if (table.length_bytes == 0 ||
	    check_sum(memory, address, table.length_bytes) != ACPI_OK)
		return ACPI_OK;
	if (tables->count == ACPI_MAX_TABLES)
		return ACPI_TOO_MANY;
	tables->tables[tables->count++] = table;
	return ACPI_OK;
}

/* Walks the root table: entry_bytes is 8 in an XSDT, 4 in an RSDT. */
static enum acpi_result walk_root(const struct acpi_memory *memory, struct acpi_tables *tables,
				  uint64_t root, const char *signature, uint32_t entry_bytes)
{
	char found[4];
	uint32_t length = table_length(memory, root, found);
	enum acpi_result result;

	if (length == 0 || !same_signature(found, signature, 4))
		return ACPI_BAD_LENGTH;
	result = check_sum(memory, root, length);
	if (result != ACPI_OK)
		return result;
	for (uint32_t offset = HEADER_BYTES; offset + entry_bytes <= length; offset += entry_bytes) {
		uint8_t entry[8];

		if (!memory->read(memory->context, root + offset, entry, entry_bytes))
			return ACPI_UNREADABLE;
		result = list_table(memory, tables, little_endian(entry, entry_bytes));
		if (result != ACPI_OK)
			return result;
	}
	return ACPI_OK;
}

static enum acpi_result read_root(const struct acpi_memory *memory, uint64_t rsdp_address,
				  struct acpi_tables *tables)
{
	uint8_t rsdp[RSDP_V2_BYTES];
	uint64_t xsdt = 0;

	if (!memory->read(memory->context, rsdp_address, rsdp, RSDP_V1_BYTES))
		return ACPI_UNREADABLE;
	if (!is_rsdp(memory, rsdp_address))
		return ACPI_BAD_CHECKSUM;
	if (rsdp[15] >= 2) {
		if (!memory->read(memory->context, rsdp_address, rsdp, RSDP_V2_BYTES))
			return ACPI_UNREADABLE;
		if (check_sum(memory, rsdp_address, RSDP_V2_BYTES) != ACPI_OK)
			return ACPI_BAD_CHECKSUM;
		xsdt = little_endian(rsdp + 24, 8);
	}
	if (xsdt != 0)
		return walk_root(memory, tables, xsdt, "XSDT", 8);
	return walk_root(memory, tables, little_endian(rsdp + 16, 4), "RSDT", 4);
}

enum acpi_result acpi_read_tables(const struct acpi_memory *memory, uint64_t rsdp_address,
				  struct acpi_tables *tables)
{
	enum acpi_result result;

	*tables = (struct acpi_tables){0};
	if (rsdp_address > UINT64_MAX - RSDP_V2_BYTES)
		return ACPI_UNREADABLE;
	result = read_root(memory, rsdp_address, tables);
	if (result != ACPI_OK)
		*tables = (struct acpi_tables){0};
	return result;
}

const struct acpi_table *acpi_table_find(const struct acpi_tables *tables, const char *signature)
{
	for (uint32_t i = 0; i < tables->count; i++)
		if (same_signature(tables->tables[i].signature, signature, 4))
			return &tables->tables[i];
	return NULL;
}

bool acpi_table_value(const struct acpi_memory *memory, const struct acpi_table *table,
		      uint32_t offset, uint32_t size_bytes, uint64_t *value)
{
	uint8_t bytes[8];

	if (size_bytes > sizeof(bytes) || offset > table->length_bytes ||
	    size_bytes > table->length_bytes - offset ||
	    !memory->read(memory->context, table->address + offset, bytes, size_bytes))
		return false;
	*value = little_endian(bytes, size_bytes);
	return true;
}
