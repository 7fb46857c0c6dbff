/* SPDX-License-Identifier: MIT */
/*
 * The IVRS: which AMD IOMMUs there are and which requester id the I/O APICs use.
 * A unit may be described several times (types 10h, 11h, 40h carry ever more detail); the blocks of
 * one base address make one unit. Device entries other than the I/O APIC's are stepped over: every
 * entry of the device table is made valid anyway, whatever firmware lists.
 */
#include "acpi.h"

#define IVRS_BLOCKS 48u

enum ivrs_block {
	IVRS_IVHD_10 = 0x10,
	IVRS_IVHD_11 = 0x11,
	IVRS_IVHD_40 = 0x40,
	IVRS_IVMD_ALL = 0x20,
	IVRS_IVMD_SPECIFIC = 0x21,
	IVRS_IVMD_RANGE = 0x22,
};

/* Device entries (IOMMU specification 5.2.2.1): the type's top two bits give the size. */
#define IVHD_SPECIAL	     0x48u
#define IVHD_ACPI_DEVICE     0xf0u
#define IVHD_VARIETY_IOAPIC  1u
#define IVHD_SETTING_INIT    0x01u
#define IVHD_SETTING_NMI     0x04u
#define IVHD_ACPI_FIXED_PART 22u

static uint32_t device_entry_bytes(const struct acpi_memory *memory, const struct acpi_table *table,
				   uint32_t offset, uint64_t type)
{
	uint64_t uid_length;

	switch (type >> 6) {
	case 0:
		return 4;
	case 1:
		return 8;
	default:
		if (type != IVHD_ACPI_DEVICE ||
		    !acpi_table_value(memory, table, offset + IVHD_ACPI_FIXED_PART - 1, 1,
				      &uid_length))
			return 0;
		return IVHD_ACPI_FIXED_PART + (uint32_t)uid_length;
	}
}

static bool read_special(const struct acpi_memory *memory, const struct acpi_table *table,
			 uint32_t offset, struct acpi_unit *unit)
{
	uint64_t setting, handle, device, variety;

	if (!acpi_table_value(memory, table, offset + 3, 1, &setting) ||
	    !acpi_table_value(memory, table, offset + 4, 1, &handle) ||
	    !acpi_table_value(memory, table, offset + 5, 2, &device) ||
	    !acpi_table_value(memory, table, offset + 7, 1, &variety))
		return false;
	if (variety == IVHD_VARIETY_IOAPIC) {
		unit->ioapic_device = (int32_t)device;
		unit->ioapic_id = (uint8_t)handle;
		unit->ioapic_passes_init = (setting & IVHD_SETTING_INIT) != 0;
		unit->ioapic_passes_nmi = (setting & IVHD_SETTING_NMI) != 0;
	}
	return true;
}

static enum acpi_result read_device_entries(const struct acpi_memory *memory,
					    const struct acpi_table *table, uint32_t offset,
					    uint32_t end, struct acpi_unit *unit)
{
	while (offset < end) {
		uint64_t type;
		uint32_t size;

		if (!acpi_table_value(memory, table, offset, 1, &type))
			return ACPI_UNREADABLE;
		size = device_entry_bytes(memory, table, offset, type);
		if (size == 0 || size > end - offset)
			return ACPI_BAD_LENGTH;
		if (type == IVHD_SPECIAL && !read_special(memory, table, offset, unit))
			return ACPI_UNREADABLE;
		offset += size;
	}
	return ACPI_OK;
}

/* The unit with the base address, newly added if it is the first of its kind; NULL when full. */
static struct acpi_unit *unit_at(struct acpi_ivrs *ivrs, uint64_t base)
{
	for (uint32_t i = 0; i < ivrs->unit_count; i++)
		if (ivrs->units[i].base == base)
			return &ivrs->units[i];
	if (ivrs->unit_count == ACPI_MAX_UNITS)
		return NULL;
	ivrs->units[ivrs->unit_count] = (struct acpi_unit){.base = base, .ioapic_device = -1};
	return &ivrs->units[ivrs->unit_count++];
}

static enum acpi_result read_ivhd(const struct acpi_memory *memory, const struct acpi_table *table,
				  uint32_t offset, uint32_t length, uint64_t type,
				  struct acpi_ivrs *ivrs)
{
	uint32_t header = type == IVRS_IVHD_10 ? 24 : 40;
	uint64_t flags, device, capability, base, segment;
	struct acpi_unit *unit;

	if (length < header)
		return ACPI_BAD_LENGTH;
	if (!acpi_table_value(memory, table, offset + 1, 1, &flags) ||
	    !acpi_table_value(memory, table, offset + 4, 2, &device) ||
	    !acpi_table_value(memory, table, offset + 6, 2, &capability) ||
	    !acpi_table_value(memory, table, offset + 8, 8, &base) ||
	    !acpi_table_value(memory, table, offset + 16, 2, &segment))
		return ACPI_UNREADABLE;
	unit = unit_at(ivrs, base);
	if (!unit)
		return ACPI_TOO_MANY;
	unit->flags = (uint8_t)flags;
	unit->device = (uint16_t)device;
	unit->capability_offset = (uint16_t)capability;
	unit->segment = (uint16_t)segment;
	return read_device_entries(memory, table, offset + header, offset + length, unit);
}

static enum acpi_result read_ivmd(const struct acpi_memory *memory, const struct acpi_table *table,
				  uint32_t offset, uint32_t length, struct acpi_ivrs *ivrs)
{
	uint64_t flags, base, size;

	if (length < 32)
		return ACPI_BAD_LENGTH;
	if (ivrs->unity_count == ACPI_MAX_UNITS)
		return ACPI_TOO_MANY;
	if (!acpi_table_value(memory, table, offset + 1, 1, &flags) ||
	    !acpi_table_value(memory, table, offset + 16, 8, &base) ||
	    !acpi_table_value(memory, table, offset + 24, 8, &size))
		return ACPI_UNREADABLE;
	ivrs->unities[ivrs->unity_count++] =
		(struct acpi_unity){.base = base, .size_bytes = size, .flags = (uint8_t)flags};
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
	case IVRS_IVMD_ALL:
	case IVRS_IVMD_SPECIFIC:
	case IVRS_IVMD_RANGE:
		return read_ivmd(memory, table, offset, *block_bytes, ivrs);
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
