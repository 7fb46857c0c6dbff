/* SPDX-License-Identifier: MIT */
/*
 * The emulated IOMMU under a hostile service domain: arbitrary register writes over arbitrary tables and
 * commands. Whatever it does, the real tables must still translate every device by the one table, hold
 * no entry of a forbidden type, and every single write must end.
 */
#include <stdlib.h>
#include <string.h>

#include "amd/amdvi_unit.h"

#define BASE	     0xfed80000ull
#define OWN	     0x40000000ull
#define OWN_BYTES    (4u << 20)
#define LINUX	     0x100000ull
#define LINUX_BYTES  0x10000ull
#define MOST_TURNS   4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *own, linux_memory[LINUX_BYTES];
static uint64_t ring_head, ring_base;

static uint64_t access_read(void *context, uint64_t address)
{
	return address == BASE + AMDVI_FEATURES ? AMDVI_FEATURE_INVALIDATE_ALL : 0;
}

/* The real unit answers waits at once; what it caches is not this test's matter. */
static void access_write(void *context, uint64_t address, uint64_t value)
{
	if (address == BASE + AMDVI_COMMAND_BASE)
		ring_base = value & 0x000ffffffffff000ull;
	if (address == BASE + AMDVI_COMMAND_HEAD)
		ring_head = value;
	if (address != BASE + AMDVI_COMMAND_TAIL)
		return;
	for (; ring_head != value; ring_head = (ring_head + 16) % AMDVI_RING_BYTES) {
		uint64_t command[2];

		memcpy(command, own + (ring_base - OWN) + ring_head, 16);
		if (command[0] >> 60 == AMDVI_COMPLETION_WAIT)
			memcpy(own + ((command[0] & 0x000ffffffffffff8ull) - OWN), &command[1], 8);
	}
}

static void access_relax(void *context)
{
}

static bool inside(uint64_t address, size_t size)
{
	return address >= LINUX && address - LINUX <= LINUX_BYTES - size;
}

static bool linux_read(void *context, uint64_t address, void *buffer, size_t size)
{
	if (!inside(address, size))
		return false;
	memcpy(buffer, linux_memory + (address - LINUX), size);
	return true;
}

static bool linux_write(void *context, uint64_t address, const void *buffer, size_t size)
{
	if (!inside(address, size))
		return false;
	memcpy(linux_memory + (address - LINUX), buffer, size);
	return true;
}

static void check(const struct iommu *iommu)
{
	uint64_t tables = iommu->remap_tables_physical;

	for (uint32_t i = 0; i < AMDVI_DEVICES; i++) {
		const uint64_t *entry = iommu->device_table + i * AMDVI_DEVICE_WORDS;
		uint64_t root = entry[2] & AMDVI_DTE_INT_ROOT;

		if (entry[0] != iommu->device_table[0] || entry[1] != AMDVI_DOMAIN || entry[3] != 0)
			abort();
		if (!(entry[2] & AMDVI_DTE_INT_VALID) || (entry[2] & AMDVI_DTE_INT_PASS))
			abort();
		if (entry[2] != AMDVI_DTE_INT_VALID &&
		    (root < tables ||
		     root - tables >= IOMMU_REMAP_TABLES * AMDVI_REMAP_TABLE_BYTES ||
		     (root - tables) % AMDVI_REMAP_TABLE_BYTES != 0))
			abort();
	}
	for (uint32_t i = 0; i < IOMMU_REMAP_TABLES * AMDVI_REMAP_ENTRIES; i++) {
		uint32_t entry;

		memcpy(&entry, iommu->remap_tables + i * 4u, 4);
		if (entry != amdvi_unit_check_entry(entry))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct iommu iommu;
	static struct amdvi_unit unit;
	static const uint32_t offsets[] = {0x00, 0x00, 0x08, 0x08, 0x18, 0x18, 0x2000, 0x2008};
	const struct iommu_access access = {access_read, access_write, access_relax, NULL};
	const struct amdvi_unit_memory memory = {linux_read, linux_write, NULL};
	struct iommu_memory own_memory = {NULL, OWN, OWN_BYTES};
	struct acpi_ivrs ivrs = {.unit_count = 1, .units = {{.base = BASE}}};

	if (!own) {
		own = aligned_alloc(4096, OWN_BYTES);
		memset(own, 0, OWN_BYTES);
		own_memory.virtual_address = own;
		if (amdvi_find(&iommu, &ivrs) != IOMMU_OK ||
		    iommu_start(&iommu, &access, &own_memory, 0x1000, 4) != IOMMU_OK)
			abort();
	}
	/* The real tables live on from input to input; the emulated unit starts anew. */
	amdvi_unit_init(&unit, &iommu, 0, &memory);
	memset(linux_memory, 0, sizeof(linux_memory));
	while (size >= 12) {
		uint64_t value;
		uint16_t place;
		enum amdvi_unit_result result;
		int turns = 0;

		memcpy(&value, data + 4, 8);
		memcpy(&place, data + 2, 2);
		if (data[0] & 1)
			memcpy(linux_memory + place % (LINUX_BYTES - 8), &value, 8);
		else if (offsets[data[1] & 7] < AMDVI_UNIT_SHARED_BYTES)
			unit.window[offsets[data[1] & 7] / 8] = value;
		else
			do
				result = amdvi_unit_write(&unit, offsets[data[1] & 7],
							  data[0] & 2 ? 4 : 8, value);
			while (result == AMDVI_UNIT_AGAIN && ++turns < MOST_TURNS);
		data += 12;
		size -= 12;
	}
	check(&iommu);
	return 0;
}
