/* SPDX-License-Identifier: MIT */
/*
 * From the service domain's remapping entries to the hypervisor's. A device whose table entry asks for
 * anything but remapping is blocked; entries are copied in pieces, so that no write of the service
 * domain keeps the hypervisor busy for long; the real unit forgets the device when its copy is whole.
 */
#include "amdvi_copy.h"

#define COPY_PIECE	32u /* entries */
#define COST_LOOK	1u
#define COST_PIECE	6u
#define COST_FORGET	8u
#define TABLE_ADDRESS	0x000ffffffffff000ull
#define PAGING_MODE	(7ull << 9)

/* A 32-bit remapping entry [2.2.5.2]. */
#define ENTRY_VALID	  1u
#define ENTRY_TYPE_SHIFT  2
#define ENTRY_TYPE_MASK	  7u
#define ENTRY_ARBITRATED  1u
#define ENTRY_VECTOR_SHIFT 16
#define ENTRY_KEPT	  0x00ffff7du /* valid, type, request EOI, destination and its mode, vector */
#define LOWEST_VECTOR	  16u	      /* below, the local APIC reports an illegal vector */

uint32_t amdvi_unit_check_entry(uint32_t entry)
{
	uint32_t type = entry >> ENTRY_TYPE_SHIFT & ENTRY_TYPE_MASK;
	uint32_t vector = entry >> ENTRY_VECTOR_SHIFT & 0xff;

	if (!(entry & ENTRY_VALID) || type > ENTRY_ARBITRATED || vector < LOWEST_VECTOR)
		return 0;
	return entry & ENTRY_KEPT;
}

/* A 128-bit entry [2.2.5.3]: destination in bits 31:8 of the first half and 63:56 of the second. */
#define WIDE_GUEST_MODE	  (1ull << 7)
#define WIDE_DESTINATION  0xffff0000ull
#define WIDE_HIGH_BITS	  (0xffull << 56)

uint32_t amdvi_unit_check_wide_entry(uint64_t first, uint64_t second)
{
	if ((first & (WIDE_GUEST_MODE | WIDE_DESTINATION)) || (second & WIDE_HIGH_BITS))
		return 0;
	return amdvi_unit_check_entry((uint32_t)(first & 0xffff) |
				      (uint32_t)(second & 0xff) << ENTRY_VECTOR_SHIFT);
}

static uint32_t *table_of(const struct iommu *iommu, uint32_t slot)
{
	return (uint32_t *)(iommu->remap_tables + (uint64_t)slot * AMDVI_REMAP_TABLE_BYTES);
}

/* The device's table slot; a free one becomes its own if it has none. -1: all are taken. */
static int slot_of(struct iommu *iommu, uint16_t device, bool may_take)
{
	int own = -1, free_slot = -1;

	amdvi_lock(iommu);
	for (uint32_t i = 0; i < IOMMU_REMAP_TABLES && own < 0; i++) {
		if (iommu->remap_owners[i] == device + 1u)
			own = (int)i;
		else if (iommu->remap_owners[i] == 0 && free_slot < 0)
			free_slot = (int)i;
	}
	if (own < 0 && may_take && free_slot >= 0) {
		iommu->remap_owners[free_slot] = device + 1u;
		own = free_slot;
	}
	amdvi_unlock(iommu);
	return own;
}

static uint64_t *interrupt_word(const struct iommu *iommu, uint16_t device)
{
	return iommu->device_table + (uint32_t)device * AMDVI_DEVICE_WORDS + 2;
}

/* Sets the word of the real device table and makes the real units read it and the entries anew. */
static enum iommu_result set_interrupt_word(struct iommu *iommu, uint16_t device, uint64_t word)
{
	__atomic_store_n(interrupt_word(iommu, device), word, __ATOMIC_RELEASE);
	return amdvi_forget_device(iommu, device);
}

/* The service domain's word 2 for a device; false if it asks for nothing that can be given. */
static bool read_wish(struct amdvi_unit *unit, uint16_t device, uint64_t *wish)
{
	uint64_t table = amdvi_unit_register(unit, AMDVI_DEVICE_TABLE);
	uint64_t control = amdvi_unit_register(unit, AMDVI_CONTROL);
	uint64_t words[AMDVI_DEVICE_WORDS];
	uint64_t size = ((table & AMDVI_DEVICE_TABLE_SIZE) + 1) * 4096;
	uint64_t offset = (uint64_t)device * sizeof(words);

	if (!(control & AMDVI_CONTROL_ENABLE) || offset + sizeof(words) > size ||
	    !unit->memory.read(unit->memory.context, (table & TABLE_ADDRESS) + offset, words,
			       sizeof(words)))
		return false;
	if ((words[0] & AMDVI_DTE_TRANSLATION) && (words[0] & PAGING_MODE))
		unit->translating_devices++;
	*wish = words[2];
	return (words[2] & AMDVI_DTE_INT_VALID) &&
	       (words[2] & AMDVI_DTE_INT_CONTROL) == AMDVI_DTE_INT_REMAP;
}

/* The entry the real unit gets for one of a piece. */
static uint32_t check_one(const uint64_t *piece, uint32_t index, bool is_wide)
{
	if (is_wide)
		return amdvi_unit_check_wide_entry(piece[2 * index], piece[2 * index + 1]);
	return amdvi_unit_check_entry((uint32_t)(piece[index / 2] >> (32 * (index % 2))));
}

static void copy_piece(struct amdvi_unit *unit, uint32_t *entries, uint64_t wish)
{
	bool is_wide = amdvi_unit_register(unit, AMDVI_CONTROL) & AMDVI_CONTROL_WIDE_ENTRIES;
	uint32_t length = 1u << (wish >> 1 & 15), entry_bytes = is_wide ? 16 : 4, count = 0;
	uint64_t from = (wish & AMDVI_DTE_INT_ROOT) + (uint64_t)entry_bytes * unit->next_entry;
	uint64_t piece[2 * COPY_PIECE];

	/* Entries behind the end of the service domain's table, or out of its memory, are blocked. */
	if (unit->next_entry < length)
		count = length - unit->next_entry < COPY_PIECE ? length - unit->next_entry
							       : COPY_PIECE;
	if (count > 0 && !unit->memory.read(unit->memory.context, from, piece, count * entry_bytes))
		count = 0;
	for (uint32_t i = 0; i < COPY_PIECE; i++) {
		uint32_t checked = i < count ? check_one(piece, i, is_wide) : 0;

		__atomic_store_n(&entries[unit->next_entry + i], checked, __ATOMIC_RELAXED);
	}
	unit->next_entry += COPY_PIECE;
}

void amdvi_copy_device(struct amdvi_unit *unit, uint16_t device)
{
	unit->device = device;
	unit->next_entry = 0;
	unit->scanning = false;
	unit->work = AMDVI_WORK_COPY;
}

static void finish_device(struct amdvi_unit *unit)
{
	unit->work = unit->scanning ? AMDVI_WORK_SCAN : AMDVI_WORK_NONE;
	unit->scanning = false;
}

static uint32_t copy_step(struct amdvi_unit *unit, enum iommu_result *result)
{
	struct iommu *iommu = unit->iommu;
	uint64_t wish = 0, word = AMDVI_DTE_INT_VALID;
	bool wanted = read_wish(unit, unit->device, &wish);
	int slot = slot_of(iommu, unit->device, wanted);

	if (wanted && slot >= 0) {
		copy_piece(unit, table_of(iommu, (uint32_t)slot), wish);
		if (unit->next_entry < AMDVI_REMAP_ENTRIES)
			return COST_LOOK + COST_PIECE;
		word |= AMDVI_DTE_INT_LENGTH | AMDVI_DTE_INT_REMAP |
			(iommu->remap_tables_physical + (uint64_t)slot * AMDVI_REMAP_TABLE_BYTES);
	}
	finish_device(unit);
	*result = set_interrupt_word(iommu, unit->device, word);
	/* Only now, with the unit forgetful, may another device get the table. */
	if (!wanted && slot >= 0)
		__atomic_store_n(&iommu->remap_owners[slot], 0, __ATOMIC_RELEASE);
	return COST_LOOK + COST_PIECE + COST_FORGET;
}

/* One device of a scan: those that want a table, or have one, are copied; the others are as they were. */
static uint32_t scan_step(struct amdvi_unit *unit)
{
	uint16_t device = (uint16_t)unit->next_device++;
	uint64_t wish;

	if (unit->next_device >= AMDVI_DEVICES)
		unit->work = AMDVI_WORK_NONE;
	if (read_wish(unit, device, &wish) || slot_of(unit->iommu, device, false) >= 0) {
		amdvi_copy_device(unit, device);
		unit->scanning = unit->next_device < AMDVI_DEVICES;
	}
	return COST_LOOK;
}

uint32_t amdvi_copy_step(struct amdvi_unit *unit, enum iommu_result *result)
{
	return unit->work == AMDVI_WORK_COPY ? copy_step(unit, result) : scan_step(unit);
}
