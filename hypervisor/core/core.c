/* SPDX-License-Identifier: MIT */
/*
 * Start of the core, its lock and its state.
 */
#include "core.h"

struct core core;

struct core_locked core_lock(void)
{
	arch_lock(&core.lock);
	return (struct core_locked){ &core };
}

void core_unlock(struct core_locked held)
{
	arch_unlock(&held.core->lock);
}

uint64_t core_pages_needed(const struct memory_map *map)
{
	return ZERO_BACKING_PAGES + 1 + address_space_tables_for(map);
}

void core_add_facts(uint64_t facts)
{
	struct core_locked held = core_lock();

	core.facts |= facts;
	core_unlock(held);
}

static bool pages_are_ours(const struct core_config *config)
{
	const struct frame *frames = frame_run(&core.frames, config->pages, config->page_count);

	for (uint64_t i = 0; frames && i < config->page_count; i++)
		if (frames[i].state != FRAME_HYPERVISOR)
			return false;
	return frames != NULL;
}

enum bulkhead_error core_start(const struct core_config *config)
{
	const struct memory_map *map = &config->map;
	struct phys next = config->pages;
	enum bulkhead_error error;
	uint64_t spare;

	if (!memory_map_is_valid(map))
		return BULKHEAD_INVALID;
	if (config->page_count < ZERO_BACKING_PAGES + 1)
		return BULKHEAD_NO_TABLES;
	if (map->type_count > MAX_TYPE_RANGES)
		return BULKHEAD_LIMIT;
	for (size_t i = 0; i < map->type_count; i++)
		core.types[i] = map->types[i];
	core.type_count = map->type_count;
	core.build_id = config->build_id;
	core.back_end = config->back_end;
	core.facts = config->facts;
	core.tsc_khz = config->tsc_khz ? config->tsc_khz : LOCAL_APIC_TIMER_KHZ;
	core.next_generation = 1;
	error = frame_table_init(&core.frames, map, config->frame_storage);
	if (error)
		return error;
	if (!pages_are_ours(config))
		return BULKHEAD_INVALID;
	address_space_init_zero(&core.zero, config->format, next);
	next = phys_plus_pages(next, ZERO_BACKING_PAGES);
	address_space_init(&core.service, config->format, next, SERVICE_TAG);
	spare = config->page_count - ZERO_BACKING_PAGES - 1;
	for (uint64_t i = 0; i < spare; i++)
		address_space_add_table(&core.service, phys_plus_pages(next, 1 + i));
	return address_space_build(&core.service, map);
}
