/* SPDX-License-Identifier: MIT */
/*
 * The IVRS: which AMD IOMMUs there are.
 * A unit may be described several times (types 10h, 11h, 40h carry ever more detail); the blocks of
 * one base address make one unit. Their device entries are not looked at: every entry of the device table
 * is made valid anyway, whatever firmware lists. Nor are blocks of memory that firmware wants devices to
 * reach (IVMD): they reach all that is the service domain's.
 */
#include "acpi.h"

#define IVRS_BLOCKS 48u

enum ivrs_block {
	IVRS_IVHD_10 = 0x10,
	IVRS_IVHD_11 = 0x11,
	IVRS_IVHD_40 = 0x40,
};

/* The unit with the base address, newly added if it is the first of its kind; NULL when full. */
static struct acpi_unit *unit_at(struct acpi_ivrs *ivrs, uint64_t base)
{
	for (uint32_t i = 0; i < ivrs->unit_count; i++)
		if (ivrs->units[i].base == base)
			return &ivrs->units[i];
	if (ivrs->unit_count == ACPI_MAX_UNITS)
		return NULL;
	ivrs->units[ivrs->unit_count] = (struct acpi_unit){.base = base};
	return &ivrs->units[ivrs->unit_count++];
}

static enum acpi_result read_ivhd(const struct acpi_memory *memory, const struct acpi_table *table,
				  uint32_t offset, uint32_t length, uint64_t type,
				  struct acpi_ivrs *ivrs)
{
	uint64_t flags, base, segment;
	struct acpi_unit *unit;

	if (length < (type == IVRS_IVHD_10 ? 24u : 40u))
		return ACPI_BAD_LENGTH;
	if (!acpi_table_value(memory, table, offset + 1, 1, &flags) ||
	    !acpi_table_value(memory, table, offset + 8, 8, &base) ||
	    !acpi_table_value(memory, table, offset + 16, 2, &segment))
		return ACPI_UNREADABLE;
	unit = unit_at(ivrs, base);
	if (!unit)
		return ACPI_TOO_MANY;
	unit->flags = (uint8_t)flags;
	unit->segment = (uint16_t)segment;
	return ACPI_OK;
}

static enum acpi_result read_block(const struct acpi_memory *memory, const struct acpi_table *table,
				   uint32_t offset, struct acpi_ivrs *ivrs, uint32_t *block_bytes)
{
	uint64_t type, length;

	if (!acpi_table_value(memory, table, offset, 1, &type) ||
	    !acpi_table_value(memory, table, offset + 2, 2, &length))
		return ACPI_UNREADABLE;
	if (length < 4 || length > table->length_bytes - offset)
		return ACPI_BAD_LENGTH;
	*block_bytes = (uint32_t)length;
	switch (type) {
	case IVRS_IVHD_10:
	case IVRS_IVHD_11:
	case IVRS_IVHD_40:
		return read_ivhd(memory, table, offset, *block_bytes, type, ivrs);
	default:
		return ACPI_OK;
	}
}

enum acpi_result acpi_read_ivrs(const struct acpi_memory *memory, const struct acpi_tables *tables,
				struct acpi_ivrs *ivrs)
{
	const struct acpi_table *table = acpi_table_find(tables, "IVRS");
	enum acpi_result result = ACPI_OK;

	*ivrs = (struct acpi_ivrs){0};
	if (!table)
		return ACPI_NOT_FOUND;
	for (uint32_t offset = IVRS_BLOCKS; offset < table->length_bytes && result == ACPI_OK;) {
		uint32_t block_bytes = 0;

		if (table->length_bytes - offset < 4)
			result = ACPI_BAD_LENGTH;
		else
			result = read_block(memory, table, offset, ivrs, &block_bytes);
		offset += block_bytes;
	}
	if (result != ACPI_OK)
		*ivrs = (struct acpi_ivrs){0};
	return result;
}
