/* SPDX-License-Identifier: MIT */
/*
 * Loads the hypervisor and takes every processor with it: all are checked first, then the hypervisor
 * builds itself, then they enter one after the other, this one last.
 */
#include <bulkhead/hypercall.h>

#include "../elf_load.h"
#include "loader.h"

#define LARGE_PAGE    0x200000ull
#define LOW_MEMORY    0x100000000ull
/* Chipsets lay stolen memory and SMRAM over the top of low RAM (TSEG, T_EN): stay clear of it. */
#define TOP_CLEARANCE (64ull << 20)
#define SMM_STUB      0x30000ull
#define SMM_PAGES     16u

extern const uint8_t hypervisor_file[], hypervisor_file_end[];

static struct boot_info info;

/* The firmware's memory map in a pool buffer. */
struct map {
	uint8_t *entries;
	uint64_t size, entry_bytes;
};

static bool read_map(struct loader *loader, struct map *map)
{
	uint64_t key, room;
	uint32_t version;

	map->size = 0;
	map->entries = NULL;
	loader->boot->get_memory_map(&map->size, NULL, &key, &map->entry_bytes, &version);
	room = map->size + 16 * map->entry_bytes; /* allocating it adds entries */
	if (loader->boot->allocate_pool(EFI_LOADER_DATA, room, (void **)&map->entries))
		return false;
	map->size = room;
	return loader->boot->get_memory_map(&map->size, map->entries, &key, &map->entry_bytes,
					    &version) == EFI_SUCCESS;
}

static const struct efi_memory *map_entry(const struct map *map, uint64_t index)
{
	return (const void *)(map->entries + index * map->entry_bytes);
}

static uint64_t map_count(const struct map *map)
{
	return map->size / map->entry_bytes;
}

static bool is_ram(uint32_t type)
{
	return (type >= EFI_LOADER_CODE && type <= EFI_CONVENTIONAL) || type == EFI_ACPI_RECLAIM ||
	       type == EFI_ACPI_NVS;
}

/* The highest free place below what the chipset may cover. */
static uint64_t find_place(const struct map *map, uint64_t bytes)
{
	uint64_t low_end = 0, best = 0;

	for (uint64_t i = 0; i < map_count(map); i++) {
		const struct efi_memory *entry = map_entry(map, i);
		uint64_t end = entry->base + entry->pages * 4096;

		if (is_ram(entry->type) && end <= LOW_MEMORY && end > low_end)
			low_end = end;
	}
	if (low_end < TOP_CLEARANCE)
		return 0;
	low_end -= TOP_CLEARANCE;
	for (uint64_t i = 0; i < map_count(map); i++) {
		const struct efi_memory *entry = map_entry(map, i);
		uint64_t end = entry->base + entry->pages * 4096, at;

		if (entry->type != EFI_CONVENTIONAL)
			continue;
		if (end > low_end)
			end = low_end;
		if (end < bytes + LARGE_PAGE)
			continue;
		at = (end - bytes) & ~(LARGE_PAGE - 1);
		if (at >= entry->base && at > best)
			best = at;
	}
	return best;
}

static uint64_t ram_bytes(const struct map *map)
{
	uint64_t bytes = 0;

	for (uint64_t i = 0; i < map_count(map); i++)
		if (is_ram(map_entry(map, i)->type))
			bytes += map_entry(map, i)->pages * 4096;
	return bytes;
}

static enum boot_result reserve(struct loader *loader)
{
	struct map map;
	uint64_t stub = SMM_STUB;

	if (!read_map(loader, &map))
		return BOOT_TOO_LITTLE_MEMORY;
	info.own_bytes = boot_own_bytes(ram_bytes(&map), info.processor_count);
	info.own_base = find_place(&map, info.own_bytes);
	loader->boot->free_pool(map.entries);
	if (info.own_base == 0 ||
	    loader->boot->allocate_pages(EFI_ALLOCATE_ADDRESS, EFI_RESERVED, info.own_bytes / 4096,
					 &info.own_base))
		return BOOT_TOO_LITTLE_MEMORY;
	/* Where system management mode starts on a machine whose firmware never moved it. */
	if (loader->boot->allocate_pages(EFI_ALLOCATE_ADDRESS, EFI_RESERVED, SMM_PAGES, &stub) ==
	    EFI_SUCCESS)
		info.smm_stub = SMM_STUB;
	return BOOT_OK;
}

static enum boot_result describe_memory(struct loader *loader)
{
	struct map map;

	if (!read_map(loader, &map))
		return BOOT_TOO_LITTLE_MEMORY;
	for (uint64_t i = 0; i < map_count(&map); i++) {
		const struct efi_memory *entry = map_entry(&map, i);
		struct boot_region *last = &info.regions[info.region_count - 1];
		uint64_t kind = is_ram(entry->type) ? BOOT_MEMORY_RAM : BOOT_MEMORY_RESERVED;

		if (info.region_count > 0 && last->kind == kind &&
		    last->base + last->size_bytes == entry->base) {
			last->size_bytes += entry->pages * 4096;
			continue;
		}
		if (info.region_count == BOOT_MAX_REGIONS)
			return BOOT_BAD_MEMORY_MAP;
		info.regions[info.region_count++] =
			(struct boot_region){ entry->base, entry->pages * 4096, kind };
	}
	return BOOT_OK;
}

static bool is_guid(const struct efi_guid *one, const struct efi_guid *other)
{
	return __builtin_memcmp(one, other, sizeof(*one)) == 0;
}

static void find_rsdp(struct loader *loader)
{
	for (uint64_t i = 0; i < loader->system->table_count; i++) {
		const struct efi_configuration_table *table = &loader->system->tables[i];

		if (is_guid(&table->guid, &efi_guid_acpi20))
			info.rsdp = (uint64_t)table->table;
		else if (is_guid(&table->guid, &efi_guid_acpi10) && info.rsdp == 0)
			info.rsdp = (uint64_t)table->table;
	}
}

/* What all processors run; the worst answer counts. */
struct everywhere {
	boot_entry *entry;
	uint64_t operation;
	uint32_t worst;
};

static void EFIAPI run_operation(void *argument)
{
	struct everywhere *work = argument;
	uint32_t result = work->entry(work->operation, &info);

	if (result != BOOT_OK)
		__atomic_store_n(&work->worst, result, __ATOMIC_SEQ_CST);
}

static enum boot_result run_everywhere(struct efi_mp_services *mp, boot_entry *entry,
				       uint64_t operation)
{
	struct everywhere work = { entry, operation, BOOT_OK };

	if (info.processor_count > 1 &&
	    mp->start_all(mp, run_operation, 0, NULL, 0, &work, NULL) != EFI_SUCCESS)
		return BOOT_TOO_MANY_PROCESSORS;
	run_operation(&work);
	return work.worst;
}

/* Firmware that forbids executing reserved memory has this protocol; older firmware does not forbid it. */
static void allow_execution(struct loader *loader, uint64_t bytes)
{
	struct efi_memory_attributes *attributes = NULL;

	if (loader->boot->locate_protocol(&efi_guid_memory_attributes, NULL, (void **)&attributes) ==
		    EFI_SUCCESS &&
	    attributes)
		attributes->clear(attributes, info.own_base, bytes, EFI_MEMORY_NO_EXECUTE);
}

enum boot_result launch(struct loader *loader)
{
	size_t file_bytes = (size_t)(hypervisor_file_end - hypervisor_file);
	struct efi_mp_services *mp = NULL;
	uint64_t total = 1, enabled = 1;
	struct elf_layout layout;
	enum boot_result result;
	boot_entry *entry;

	if (loader->boot->locate_protocol(&efi_guid_mp_services, NULL, (void **)&mp) == EFI_SUCCESS)
		mp->count(mp, &total, &enabled);
	info.magic = BOOT_INFO_MAGIC;
	info.processor_count = (uint32_t)enabled;
	info.log_level = loader->config.log_level;
	info.facts = loader->facts | BULKHEAD_FACT_UEFI;
	find_rsdp(loader);
	result = reserve(loader);
	if (result != BOOT_OK)
		return result;
	if (!elf_measure(hypervisor_file, file_bytes, &layout) ||
	    !elf_place(hypervisor_file, file_bytes, (uint8_t *)info.own_base, &layout))
		return BOOT_BAD_MEMORY_MAP;
	info.image_bytes = layout.image_bytes;
	allow_execution(loader, layout.image_bytes);
	entry = (boot_entry *)(info.own_base + layout.entry);
	result = describe_memory(loader);
	if (result == BOOT_OK)
		result = run_everywhere(mp, entry, BOOT_CHECK);
	if (result == BOOT_OK)
		result = entry(BOOT_START, &info);
	return result == BOOT_OK ? run_everywhere(mp, entry, BOOT_ENTER) : result;
}
