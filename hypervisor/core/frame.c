/* SPDX-License-Identifier: MIT */
/*
 * The frame table: finding records, and the one place that changes their state.
 */
#include "frame.h"

static bool kind_has_frames(enum region_kind kind)
{
	return kind == REGION_RAM || kind == REGION_HYPERVISOR;
}

uint64_t frame_table_bytes(const struct memory_map *map)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < map->region_count; i++)
		if (kind_has_frames(map->regions[i].kind))
			bytes += map->regions[i].size_bytes / PAGE_BYTES * sizeof(struct frame);
	return bytes;
}

/* One range for touching regions, so that a large page across RAM and RAM stays one run. */
static enum bulkhead_error add_range(struct frame_table *table, const struct region *region,
				     struct frame *frames)
{
	struct frame_range *last = table->range_count ? &table->ranges[table->range_count - 1] : NULL;
	uint64_t first_page = region->base.value / PAGE_BYTES;
	uint64_t page_count = region->size_bytes / PAGE_BYTES;

	if (last && last->first_page + last->page_count == first_page) {
		last->page_count += page_count;
		return BULKHEAD_OK;
	}
	if (table->range_count == MAX_RAM_RANGES)
		return BULKHEAD_LIMIT;
	table->ranges[table->range_count++] = (struct frame_range){
		.first_page = first_page,
		.page_count = page_count,
		.frames = frames,
	};
	return BULKHEAD_OK;
}

enum bulkhead_error frame_table_init(struct frame_table *table, const struct memory_map *map,
				     void *storage)
{
	struct frame *next = storage;

	*table = (struct frame_table){ 0 };
	for (size_t i = 0; i < map->region_count; i++) {
		const struct region *region = &map->regions[i];
		uint64_t page_count = region->size_bytes / PAGE_BYTES;
		bool is_ours = region->kind == REGION_HYPERVISOR;
		enum bulkhead_error error;

		if (!kind_has_frames(region->kind))
			continue;
		error = add_range(table, region, next);
		if (error)
			return error;
		for (uint64_t page = 0; page < page_count; page++)
			next[page] = (struct frame){ .guest = NO_GUEST };
		table->page_count += page_count;
		table->count[FRAME_NOBODY] += page_count;
		frame_set(table, next, page_count, is_ours ? FRAME_HYPERVISOR : FRAME_SERVICE,
			  NO_GUEST, 0);
		next += page_count;
	}
	return BULKHEAD_OK;
}

struct frame *frame_run(const struct frame_table *table, struct phys page, uint64_t page_count)
{
	uint64_t first = page.value / PAGE_BYTES;

	if (!is_page_aligned(page.value))
		return NULL;
	for (uint32_t low = 0, high = table->range_count; low < high;) {
		uint32_t middle = (low + high) / 2;
		const struct frame_range *range = &table->ranges[middle];

		if (first < range->first_page)
			high = middle;
		else if (first - range->first_page >= range->page_count)
			low = middle + 1;
		else if (page_count > range->page_count - (first - range->first_page))
			return NULL;
		else
			return &range->frames[first - range->first_page];
	}
	return NULL;
}

struct frame *frame_of(const struct frame_table *table, struct phys page)
{
	return frame_run(table, page, 1);
}

void frame_set(struct frame_table *table, struct frame *frames, uint64_t page_count,
	       enum frame_state state, uint8_t guest, uint32_t where)
{
	/* A guest's pages lie one after the other in it; any other state keeps one number. */
	uint32_t step = state == FRAME_GUEST || state == FRAME_LENT;

	table->count[frames->state] -= page_count;
	table->count[state] += page_count;
	for (struct frame *frame = frames; frame < frames + page_count; frame++, where += step)
		*frame = (struct frame){ (uint8_t)state, guest, frame->pins, where };
}
