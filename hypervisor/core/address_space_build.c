/* SPDX-License-Identifier: MIT */
/*
 * The service domain's identity mapping, built once at start: the machine's whole physical address
 * width, with the largest pages that lie inside one region and one memory type.
 */
#include "core.h"

#define MAPPED_BITS 48u

static enum access region_access(enum region_kind kind)
{
	static const enum access access[] = {
		[REGION_RAM] = ACCESS_ALL,	   [REGION_HYPERVISOR] = ACCESS_ZERO,
		[REGION_DEVICE] = ACCESS_CPU,	   [REGION_READ_ONLY] = ACCESS_READ,
		[REGION_NONE] = ACCESS_NONE,
	};

	return access[kind];
}

/* Walks a map upwards: both lists are read once. */
struct walk {
	const struct memory_map *map;
	uint64_t at;
	uint64_t limit;
	size_t region;
	size_t type;
};

static struct walk walk_start(const struct memory_map *map)
{
	unsigned int bits = map->address_bits < MAPPED_BITS ? map->address_bits : MAPPED_BITS;

	return (struct walk){ .map = map, .limit = 1ull << bits };
}

/* Passes what lies behind; returns where the present stretch of a list ends. */
static uint64_t region_end(struct walk *walk, enum access *access)
{
	const struct memory_map *map = walk->map;

	*access = ACCESS_CPU;
	while (walk->region < map->region_count) {
		const struct region *region = &map->regions[walk->region];

		if (walk->at < region->base.value)
			return region->base.value;
		*access = region_access(region->kind);
		if (walk->at < region->base.value + region->size_bytes)
			return region->base.value + region->size_bytes;
		*access = ACCESS_CPU;
		walk->region++;
	}
	return walk->limit;
}

static uint64_t type_end(struct walk *walk)
{
	const struct memory_map *map = walk->map;

	while (walk->type < map->type_count) {
		const struct type_range *type = &map->types[walk->type];

		if (walk->at < type->base.value)
			return type->base.value;
		if (walk->at < type->base.value + type->size_bytes)
			return type->base.value + type->size_bytes;
		walk->type++;
	}
	return walk->limit;
}

/* The next leaf: largest level that fits at the walk's address. */
static unsigned int walk_leaf(struct walk *walk, enum access *access)
{
	uint64_t end = region_end(walk, access);
	uint64_t type = type_end(walk);
	unsigned int level = LARGEST_LEAF_LEVEL;

	if (type < end)
		end = type;
	while (level > 0 && ((walk->at & (level_bytes(level) - 1)) != 0 ||
			     level_bytes(level) > end - walk->at))
		level--;
	return level;
}

uint64_t address_space_tables_for(const struct memory_map *map)
{
	uint64_t last[TABLE_LEVELS] = { ~0ull, ~0ull, ~0ull, ~0ull };
	uint64_t count = 0;
	struct walk walk = walk_start(map);

	while (walk.at < walk.limit) {
		enum access access;
		unsigned int leaf = walk_leaf(&walk, &access);

		/* The table of a level is known by the part of the address above it. */
		for (unsigned int level = leaf; level < TABLE_LEVELS - 1; level++) {
			uint64_t table = walk.at / level_bytes(level + 1);

			if (last[level] != table && access != ACCESS_NONE)
				count++;
			if (access != ACCESS_NONE)
				last[level] = table;
		}
		walk.at += level_bytes(leaf);
	}
	return count;
}

/* Aligned, sorted, free of overlap and of overflow. Each list is reduced to bases and sizes. */
static bool is_next(uint64_t *end, struct phys base, uint64_t size_bytes)
{
	if (!is_page_aligned(base.value) || !is_page_aligned(size_bytes) || size_bytes == 0)
		return false;
	if (base.value < *end || size_bytes > (1ull << 52) || base.value > (1ull << 52))
		return false;
	*end = base.value + size_bytes;
	return true;
}

bool memory_map_is_valid(const struct memory_map *map)
{
	uint64_t end = 0;

	for (size_t i = 0; i < map->region_count; i++)
		if (!is_next(&end, map->regions[i].base, map->regions[i].size_bytes))
			return false;
	end = 0;
	for (size_t i = 0; i < map->type_count; i++)
		if (!is_next(&end, map->types[i].base, map->types[i].size_bytes))
			return false;
	return map->address_bits >= 32 && map->address_bits <= 52;
}

enum bulkhead_error address_space_build(struct address_space *space, const struct memory_map *map)
{
	struct walk walk = walk_start(map);

	if (address_space_tables_for(map) > address_space_spare(space))
		return BULKHEAD_NO_TABLES;
	while (walk.at < walk.limit) {
		enum access access;
		unsigned int level = walk_leaf(&walk, &access);

		if (access != ACCESS_NONE)
			address_space_place(space, input_of_service(phys_at(walk.at)), level, access);
		walk.at += level_bytes(level);
	}
	return BULKHEAD_OK;
}
