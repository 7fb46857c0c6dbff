/* SPDX-License-Identifier: MIT */
/* The vendor seam: finds the units, then hands every call to the driver that knows them. */
#include "iommu.h"

#include "amd/amdvi.h"

const char *iommu_result_name(enum iommu_result result)
{
	static const char *const names[IOMMU_RESULT_COUNT] = {
		[IOMMU_OK] = "running",
		[IOMMU_ABSENT] = "no IOMMU",
		[IOMMU_BAD_TABLE] = "damaged ACPI table",
		[IOMMU_UNSUPPORTED] = "unsupported unit",
		[IOMMU_NO_MEMORY] = "too little memory",
		[IOMMU_TIMEOUT] = "unit does not answer",
	};

	return (unsigned int)result < IOMMU_RESULT_COUNT ? names[result] : "unknown result";
}

enum iommu_result iommu_find(struct iommu *iommu, const struct acpi_memory *memory,
			     const struct acpi_tables *tables)
{
	struct acpi_ivrs ivrs;

	*iommu = (struct iommu){0};
	switch (acpi_read_ivrs(memory, tables, &ivrs)) {
	case ACPI_OK:
		return amdvi_find(iommu, &ivrs);
	case ACPI_NOT_FOUND:
		return IOMMU_ABSENT;
	default:
		return IOMMU_BAD_TABLE;
	}
}

uint64_t iommu_memory_bytes(const struct iommu *iommu)
{
	return iommu->driver ? iommu->driver->memory_bytes(iommu) : 0;
}

enum iommu_result iommu_start(struct iommu *iommu, const struct iommu_access *access,
			      const struct iommu_memory *memory, uint64_t table_root, uint32_t levels)
{
	enum iommu_result result;

	if (!iommu->driver)
		return IOMMU_ABSENT;
	if (memory->size_bytes < iommu_memory_bytes(iommu))
		return IOMMU_NO_MEMORY;
	iommu->access = *access;
	result = iommu->driver->start(iommu, memory, table_root, levels);
	iommu->is_running = result == IOMMU_OK;
	return result;
}

enum iommu_result iommu_flush(struct iommu *iommu)
{
	return iommu->is_running ? iommu->driver->flush(iommu) : IOMMU_OK;
}

bool iommu_next_event(struct iommu *iommu, struct iommu_event *event)
{
	return iommu->is_running && iommu->driver->next_event(iommu, event);
}

struct iommu_window iommu_window(const struct iommu *iommu, uint32_t index)
{
	return (struct iommu_window){
		.base = iommu->units[index].base,
		.size_bytes = iommu->driver->window_bytes,
	};
}
