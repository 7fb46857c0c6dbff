/* SPDX-License-Identifier: MIT */
/*
 * See device_interrupts.h. The emulated units reach the service domain's memory page by page under the
 * core's lock, so that no page changes hands while it is read or written. Lock order: a unit's, then the
 * core's or the IOMMU's.
 */
#include "../iommu/amd/amdvi_unit.h"
#include "device_interrupts.h"
#include "../core/ownership.h"
#include "hypervisor.h"
#include "memory_fault.h"

#define POINTER_PAGE 0x2000u /* of the window: the ring pointers */

static struct {
	struct amdvi_unit units[IOMMU_MAX_UNITS];
	bool told_about_translation;
} interrupts;

/* Copies between a buffer and memory of the service domain's; false if some of it is not its own. */
static bool copy(uint64_t address, uint8_t *buffer, size_t size, bool is_write)
{
	while (size > 0) {
		size_t offset = address & (PAGE_BYTES - 1);
		size_t count = size < PAGE_BYTES - offset ? size : PAGE_BYTES - offset;
		struct core_locked held = core_lock();
		uint8_t *page = ownership_service_page(held, phys_at(address - offset));

		if (page && is_write)
			__builtin_memcpy(page + offset, buffer, count);
		else if (page)
			__builtin_memcpy(buffer, page + offset, count);
		core_unlock(held);
		if (!page)
			return false;
		address += count;
		buffer += count;
		size -= count;
	}
	return true;
}

static bool service_read(void *context, uint64_t address, void *buffer, size_t size)
{
	(void)context;
	return copy(address, buffer, size, false);
}

static bool service_write(void *context, uint64_t address, const void *buffer, size_t size)
{
	(void)context;
	return copy(address, (uint8_t *)buffer, size, true);
}

static void map_page(uint64_t at, uint64_t page, enum access access)
{
	address_space_set(&core.service, input_of_service(phys_at(at)), phys_at(page), 1, access);
}

void device_interrupts_start(void)
{
	static const struct amdvi_unit_memory memory = { service_read, service_write, NULL };

	for (uint32_t i = 0; i < machine.iommu.unit_count; i++) {
		uint64_t base = iommu_window(&machine.iommu, i).base;
		uint64_t shadow = amdvi_unit_shadow(&machine.iommu, i);

		amdvi_unit_init(&interrupts.units[i], &machine.iommu, i, &memory);
		map_page(base, shadow, ACCESS_CPU);
		for (uint64_t at = PAGE_BYTES; at < AMDVI_WINDOW_BYTES; at += PAGE_BYTES)
			map_page(base + at, shadow + at, ACCESS_READ);
		memory_fault_add_window(WINDOW_IOMMU, base + POINTER_PAGE, PAGE_BYTES, (uint16_t)i);
	}
}

bool device_interrupts_write(unsigned int index, uint32_t offset, unsigned int size_bytes,
			     uint64_t value)
{
	struct amdvi_unit *unit = &interrupts.units[index];
	enum amdvi_unit_result result =
		amdvi_unit_write(unit, POINTER_PAGE + offset, size_bytes, value);

	if (result == AMDVI_UNIT_FAILED)
		panic("the IOMMU does not answer");
	if (unit->translating_devices != 0 && !interrupts.told_about_translation) {
		interrupts.told_about_translation = true;
		log_warning("iommu", "the service domain asks for address translation, which is "
				     "not its own: boot it with iommu=pt");
	}
	return result != AMDVI_UNIT_AGAIN;
}
