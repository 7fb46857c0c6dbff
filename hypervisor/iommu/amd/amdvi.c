/* SPDX-License-Identifier: MIT */
/*
 * AMD-Vi: take-over and flush.
 *
 * One device table serves all units. Each of its 65536 entries is valid and translating, whether or not
 * firmware lists such a device: an entry that is not valid lets DMA pass untranslated, and a device can
 * appear behind any id. All entries name the same table and domain, so one command flushes everything.
 */
#include "amdvi.h"

#define PAGE_BYTES 4096u

/* IVHD flags [5.2.2, table 94] and the CONTROL bits they ask for. */
static const struct {
	uint8_t flag;
	uint64_t control;
} firmware_flags[] = {
	{0x01, AMDVI_CONTROL_HT_TUNNEL},  {0x02, AMDVI_CONTROL_PASS_PW},
	{0x04, AMDVI_CONTROL_RES_PASS_PW}, {0x08, AMDVI_CONTROL_ISOCHRONOUS},
	{0x20, AMDVI_CONTROL_COHERENT},
};

static uint64_t memory_bytes(const struct iommu *iommu)
{
	/* Device table; a page of answers; a unit's two rings and its shadow; remapping tables. */
	return AMDVI_DEVICE_TABLE_BYTES + PAGE_BYTES +
	       iommu->unit_count * (2u * AMDVI_RING_BYTES + AMDVI_WINDOW_BYTES) +
	       IOMMU_REMAP_TABLES * AMDVI_REMAP_TABLE_BYTES;
}

static void lay_out_memory(struct iommu *iommu, const struct iommu_memory *memory)
{
	uint8_t *virtual_address = memory->virtual_address;
	uint64_t offset = AMDVI_DEVICE_TABLE_BYTES, answers;

	iommu->device_table = memory->virtual_address;
	iommu->device_table_physical = memory->physical_address;
	answers = offset;
	offset += PAGE_BYTES;
	for (uint32_t i = 0; i < iommu->unit_count; i++) {
		struct iommu_unit *unit = &iommu->units[i];

		unit->completion = (uint64_t *)(virtual_address + answers + 8u * i);
		unit->completion_physical = memory->physical_address + answers + 8u * i;
		unit->commands = (uint64_t *)(virtual_address + offset);
		unit->events = (uint64_t *)(virtual_address + offset + AMDVI_RING_BYTES);
		offset += 2u * AMDVI_RING_BYTES;
	}
	iommu->remap_tables = virtual_address + offset;
	iommu->remap_tables_physical = memory->physical_address + offset;
	offset += IOMMU_REMAP_TABLES * AMDVI_REMAP_TABLE_BYTES;
	iommu->shadow = virtual_address + offset;
	iommu->shadow_physical = memory->physical_address + offset;
	for (uint32_t i = 0; i < IOMMU_REMAP_TABLES; i++)
		iommu->remap_owners[i] = 0;
}

static void fill_device_table(struct iommu *iommu, uint64_t table_root, uint32_t levels)
{
	for (uint32_t device = 0; device < AMDVI_DEVICES; device++) {
		uint64_t *entry = iommu->device_table + device * AMDVI_DEVICE_WORDS;

		entry[3] = 0;
		/* Valid with control 0 and no table: every interrupt of the device is blocked. */
		entry[2] = AMDVI_DTE_INT_VALID;
		entry[1] = AMDVI_DOMAIN;
		entry[0] = table_root | AMDVI_DTE_READ | AMDVI_DTE_WRITE |
			   (uint64_t)levels << AMDVI_DTE_LEVELS_SHIFT | AMDVI_DTE_TRANSLATION |
			   AMDVI_DTE_VALID;
	}
}

static uint64_t read_register(const struct iommu *iommu, const struct iommu_unit *unit,
			      uint32_t offset)
{
	return iommu->access.read(iommu->access.context, unit->base + offset);
}

static void write_register(const struct iommu *iommu, const struct iommu_unit *unit,
			   uint32_t offset, uint64_t value)
{
	iommu->access.write(iommu->access.context, unit->base + offset, value);
}

/*
 * Makes a unit forget whatever it cached before it was ours. Units without INVALIDATE_ALL need every
 * device named; batches keep room in the ring for the wait.
 */
static enum iommu_result forget_everything(struct iommu *iommu, struct iommu_unit *unit)
{
	enum iommu_result result = IOMMU_OK;

	if (read_register(iommu, unit, AMDVI_FEATURES) & AMDVI_FEATURE_INVALIDATE_ALL) {
		amdvi_command(iommu, unit, AMDVI_INVALIDATE_ALL << 60, 0);
		return amdvi_wait(iommu, unit);
	}
	for (uint32_t device = 0; device < AMDVI_DEVICES && result == IOMMU_OK; device++) {
		amdvi_command(iommu, unit, AMDVI_INVALIDATE_DEVICE << 60 | device, 0);
		amdvi_command(iommu, unit, AMDVI_INVALIDATE_INTERRUPT << 60 | device, 0);
		if (device % 64 == 63)
			result = amdvi_wait(iommu, unit);
	}
	for (uint32_t domain = 0; domain < AMDVI_DEVICES && result == IOMMU_OK; domain++) {
		amdvi_command(iommu, unit, AMDVI_INVALIDATE_PAGES << 60 | (uint64_t)domain << 32,
			      AMDVI_ALL_PAGES);
		if (domain % 64 == 63)
			result = amdvi_wait(iommu, unit);
	}
	return result;
}

static enum iommu_result start_unit(struct iommu *iommu, struct iommu_unit *unit)
{
	uint64_t commands = unit->completion_physical;

	/* The rings lie behind the page of answers; their physical address follows the virtual one. */
	commands += (uint64_t)((uint8_t *)unit->commands - (uint8_t *)unit->completion);
	unit->control = AMDVI_CONTROL_ENABLE | AMDVI_CONTROL_EVENT_LOG | AMDVI_CONTROL_COMMANDS;
	for (size_t i = 0; i < sizeof(firmware_flags) / sizeof(firmware_flags[0]); i++)
		if (unit->flags & firmware_flags[i].flag)
			unit->control |= firmware_flags[i].control;

	write_register(iommu, unit, AMDVI_CONTROL, 0);
	write_register(iommu, unit, AMDVI_DEVICE_TABLE,
		       iommu->device_table_physical | AMDVI_DEVICE_TABLE_SIZE);
	write_register(iommu, unit, AMDVI_COMMAND_BASE, commands | AMDVI_RING_LENGTH);
	write_register(iommu, unit, AMDVI_EVENT_BASE,
		       (commands + AMDVI_RING_BYTES) | AMDVI_RING_LENGTH);
	/* The exclusion range would let devices past the table. */
	write_register(iommu, unit, AMDVI_EXCLUSION_BASE, 0);
	write_register(iommu, unit, AMDVI_EXCLUSION_LIMIT, 0);
	write_register(iommu, unit, AMDVI_COMMAND_HEAD, 0);
	write_register(iommu, unit, AMDVI_COMMAND_TAIL, 0);
	write_register(iommu, unit, AMDVI_EVENT_HEAD, 0);
	write_register(iommu, unit, AMDVI_EVENT_TAIL, 0);
	unit->command_tail = 0;
	unit->waits = 0;
	write_register(iommu, unit, AMDVI_CONTROL, unit->control);
	return forget_everything(iommu, unit);
}

static enum iommu_result start(struct iommu *iommu, const struct iommu_memory *memory,
			       uint64_t table_root, uint32_t levels)
{
	if (memory->physical_address % PAGE_BYTES != 0 || table_root % PAGE_BYTES != 0)
		return IOMMU_NO_MEMORY;
	if (levels < 3 || levels > 6)
		return IOMMU_UNSUPPORTED;
	lay_out_memory(iommu, memory);
	fill_device_table(iommu, table_root, levels);
	for (uint32_t i = 0; i < iommu->unit_count; i++) {
		enum iommu_result result = start_unit(iommu, &iommu->units[i]);

		if (result != IOMMU_OK)
			return result;
	}
	return IOMMU_OK;
}

static enum iommu_result flush(struct iommu *iommu)
{
	enum iommu_result result = IOMMU_OK;

	amdvi_lock(iommu);
	for (uint32_t i = 0; i < iommu->unit_count; i++)
		amdvi_command(iommu, &iommu->units[i],
			      AMDVI_INVALIDATE_PAGES << 60 | AMDVI_DOMAIN << 32, AMDVI_ALL_PAGES);
	for (uint32_t i = 0; i < iommu->unit_count && result == IOMMU_OK; i++)
		result = amdvi_wait(iommu, &iommu->units[i]);
	amdvi_unlock(iommu);
	return result;
}

static const struct iommu_driver amdvi_driver = {
	.memory_bytes = memory_bytes,
	.window_bytes = AMDVI_WINDOW_BYTES,
	.start = start,
	.flush = flush,
	.next_event = amdvi_next_event,
};

enum iommu_result amdvi_find(struct iommu *iommu, const struct acpi_ivrs *ivrs)
{
	if (ivrs->unit_count == 0)
		return IOMMU_ABSENT;
	for (uint32_t i = 0; i < ivrs->unit_count; i++) {
		const struct acpi_unit *described = &ivrs->units[i];

		/* One device table covers PCI segment 0 only; a second segment's ids would clash. */
		if (described->segment != 0)
			return IOMMU_UNSUPPORTED;
		if (described->base == 0 || described->base % AMDVI_WINDOW_BYTES != 0)
			return IOMMU_BAD_TABLE;
		iommu->units[i] = (struct iommu_unit){
			.base = described->base,
			.flags = described->flags,
		};
	}
	iommu->unit_count = ivrs->unit_count;
	iommu->driver = &amdvi_driver;
	return IOMMU_OK;
}
