/* SPDX-License-Identifier: MIT */
/*
 * The tables that describe the machine around the processors: MCFG, HPET and FADT.
 * Layouts are in the specifications that acpi.h names; offsets below are theirs.
 */
#include "acpi.h"

#define MCFG_ENTRIES 44u

enum acpi_result acpi_read_mcfg(const struct acpi_memory *memory, const struct acpi_tables *tables,
				struct acpi_mcfg *mcfg)
{
	const struct acpi_table *table = acpi_table_find(tables, "MCFG");
	struct acpi_mcfg found = {0};

	*mcfg = found;
	if (!table)
		return ACPI_NOT_FOUND;
	for (uint32_t offset = MCFG_ENTRIES; offset + 16 <= table->length_bytes; offset += 16) {
		uint64_t base, segment, first, last;

		if (found.count == ACPI_MAX_ECAM)
			return ACPI_TOO_MANY;
		if (!acpi_table_value(memory, table, offset, 8, &base) ||
		    !acpi_table_value(memory, table, offset + 8, 2, &segment) ||
		    !acpi_table_value(memory, table, offset + 10, 1, &first) ||
		    !acpi_table_value(memory, table, offset + 11, 1, &last))
			return ACPI_UNREADABLE;
		if (last < first || (base & 0xfffff) != 0 || base > UINT64_MAX - (256ull << 20))
			return ACPI_BAD_LENGTH;
		found.windows[found.count++] = (struct acpi_ecam){
			.base = base,
			.segment = (uint16_t)segment,
		};
	}
	*mcfg = found;
	return ACPI_OK;
}

enum acpi_result acpi_read_hpet(const struct acpi_memory *memory, const struct acpi_tables *tables,
				uint64_t *hpet)
{
	const struct acpi_table *table = acpi_table_find(tables, "HPET");
	uint64_t space, address;

	*hpet = 0;
	if (!table)
		return ACPI_NOT_FOUND;
	if (table->length_bytes < 52)
		return ACPI_BAD_LENGTH;
	if (!acpi_table_value(memory, table, 40, 1, &space) ||
	    !acpi_table_value(memory, table, 44, 8, &address))
		return ACPI_UNREADABLE;
	if (space != ACPI_SPACE_MEMORY || address == 0)
		return ACPI_NOT_FOUND;
	*hpet = address;
	return ACPI_OK;
}

/*
 * A register block appears in the FADT twice: a 32-bit port with a length of its own, and (from
 * revision 3) a generic address. The generic one wins when it is set (ACPI 5.2.9).
 */
struct fadt_block {
	uint8_t legacy, legacy_length; /* offsets; 0: not in the old form */
	uint16_t generic;	       /* offset */
	uint16_t field;		       /* in struct acpi_fadt */
	uint8_t fixed_length;	       /* where no length byte exists */
};

#define FIELD(name) offsetof(struct acpi_fadt, name)

static const struct fadt_block fadt_blocks[] = {
	{56, 88, 148, FIELD(pm1a_event), 0},   {60, 88, 160, FIELD(pm1b_event), 0},
	{64, 89, 172, FIELD(pm1a_control), 0}, {68, 89, 184, FIELD(pm1b_control), 0},
	{76, 91, 208, FIELD(pm_timer), 0},     {80, 92, 220, FIELD(gpe0), 0},
	{0, 0, 116, FIELD(reset), 1},
};

static bool read_fadt_block(const struct acpi_memory *memory, const struct acpi_table *table,
			    const struct fadt_block *block, struct acpi_register *out)
{
	uint64_t address = 0, length = block->fixed_length, space = ACPI_SPACE_PORT;

	if (block->legacy != 0 &&
	    (!acpi_table_value(memory, table, block->legacy, 4, &address) ||
	     !acpi_table_value(memory, table, block->legacy_length, 1, &length)))
		return false;
	if (table->length_bytes >= block->generic + 12u) {
		uint64_t generic, generic_space;

		if (!acpi_table_value(memory, table, block->generic, 1, &generic_space) ||
		    !acpi_table_value(memory, table, block->generic + 4u, 8, &generic))
			return false;
		if (generic != 0) {
			address = generic;
			space = generic_space;
		}
	}
	*out = (struct acpi_register){0};
	if (address != 0 && length != 0)
		*out = (struct acpi_register){
			.address = address,
			.length_bytes = (uint16_t)length,
			.space = (uint8_t)space,
		};
	return true;
}

enum acpi_result acpi_read_fadt(const struct acpi_memory *memory, const struct acpi_tables *tables,
				struct acpi_fadt *fadt)
{
	const struct acpi_table *table = acpi_table_find(tables, "FACP");
	struct acpi_fadt found = {0};
	uint64_t smi, reset_value;

	*fadt = found;
	if (!table)
		return ACPI_NOT_FOUND;
	if (table->length_bytes < 116)
		return ACPI_BAD_LENGTH;
	if (!acpi_table_value(memory, table, 48, 4, &smi))
		return ACPI_UNREADABLE;
	for (size_t i = 0; i < sizeof(fadt_blocks) / sizeof(fadt_blocks[0]); i++) {
		void *field = (uint8_t *)&found + fadt_blocks[i].field;

		if (!read_fadt_block(memory, table, &fadt_blocks[i], field))
			return ACPI_UNREADABLE;
	}
	if (table->length_bytes >= 129) {
		if (!acpi_table_value(memory, table, 128, 1, &reset_value))
			return ACPI_UNREADABLE;
		found.reset_value = (uint8_t)reset_value;
	}
	found.smi_command_port = (uint16_t)smi;
	*fadt = found;
	return ACPI_OK;
}
