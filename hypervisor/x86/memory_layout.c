/* SPDX-License-Identifier: MIT */
/*
 * See memory_layout.h.
 */
#include "memory_layout.h"

static void insert(struct memory_layout *layout, size_t at, struct region region)
{
	if (layout->count == LAYOUT_MAX_REGIONS) {
		layout->is_full = true;
		return;
	}
	for (size_t i = layout->count++; i > at; i--)
		layout->regions[i] = layout->regions[i - 1];
	layout->regions[at] = region;
}

static void delete(struct memory_layout *layout, size_t at)
{
	layout->count--;
	for (size_t i = at; i < layout->count; i++)
		layout->regions[i] = layout->regions[i + 1];
}

void memory_layout_cover(struct memory_layout *layout, uint64_t base, uint64_t size_bytes,
			 enum region_kind kind)
{
	struct region new = { phys_at(base), size_bytes, kind };
	uint64_t end = base + size_bytes;
	size_t i = 0;

	if (size_bytes == 0)
		return;
	while (i < layout->count) {
		struct region *old = &layout->regions[i];
		struct region right = *old;
		uint64_t old_end = old->base.value + old->size_bytes;

		if (old->base.value >= end)
			break;
		if (old_end <= base) {
			i++;
			continue;
		}
		right.base = phys_at(end);
		right.size_bytes = old_end > end ? old_end - end : 0;
		old->size_bytes = base > old->base.value ? base - old->base.value : 0;
		if (old->size_bytes == 0)
			delete(layout, i);
		else
			i++;
		if (right.size_bytes > 0) {
			insert(layout, i, right);
			break;
		}
	}
	insert(layout, i, new);
}

void memory_layout_merge(struct memory_layout *layout)
{
	size_t i = 0;

	while (i + 1 < layout->count) {
		struct region *region = &layout->regions[i];

		if (region->kind == region[1].kind &&
		    region->base.value + region->size_bytes == region[1].base.value) {
			region->size_bytes += region[1].size_bytes;
			delete(layout, i + 1);
		} else {
			i++;
		}
	}
}

#define MTRR_ENABLED	   (1ull << 11)
#define MTRR_FIXED_ENABLED (1ull << 10)
#define MTRR_MASK_VALID	   (1ull << 11)
#define TYPE_UNCACHED	   0u
#define TYPE_WRITE_THROUGH 4u
#define TYPE_WRITE_BACK	   6u
#define FIXED_END	   0x100000ull

static uint8_t fixed_type(const struct mtrr_state *state, uint64_t address)
{
	unsigned int index, shift;

	if (address < 0x80000) {
		index = 0;
		shift = 16;
	} else if (address < 0xc0000) {
		index = 1 + (unsigned int)((address - 0x80000) >> 17);
		shift = 14;
	} else {
		index = 3 + (unsigned int)((address - 0xc0000) >> 15);
		shift = 12;
	}
	/* Bits 3 and 4 of a fixed range's byte are AMD's RdMem and WrMem. */
	return (uint8_t)(state->fixed[index] >> ((address >> shift & 7) * 8)) & 7;
}

uint8_t mtrr_type(const struct mtrr_state *state, uint64_t address)
{
	uint64_t width = state->address_bits >= 64 ? ~0ull : (1ull << state->address_bits) - 1;
	int type = -1;

	if (!(state->default_type & MTRR_ENABLED))
		return TYPE_UNCACHED;
	if ((state->default_type & MTRR_FIXED_ENABLED) && address < FIXED_END)
		return fixed_type(state, address);
	for (uint32_t i = 0; i < state->variable_count; i++) {
		uint64_t mask = state->mask[i] & width & ~0xfffull;
		int one = (int)(state->base[i] & 7);

		if (!(state->mask[i] & MTRR_MASK_VALID) ||
		    ((address ^ state->base[i]) & mask) != 0)
			continue;
		if (type < 0 || type == one)
			type = one;
		else if (type == TYPE_UNCACHED || one == TYPE_UNCACHED)
			type = TYPE_UNCACHED;
		else
			type = TYPE_WRITE_THROUGH; /* with write-back; others are undefined */
	}
	return type < 0 ? (uint8_t)(state->default_type & 7) : (uint8_t)type;
}

/* The next address above at where some range may begin or end. */
static uint64_t next_edge(const struct mtrr_state *state, uint64_t at, uint64_t limit)
{
	uint64_t next = limit;

	if (at < FIXED_END)
		return at + 0x1000;
	for (uint32_t i = 0; i < state->variable_count; i++) {
		uint64_t mask = state->mask[i] & (limit - 1) & ~0xfffull;
		uint64_t base = state->base[i] & mask;
		uint64_t size = mask & -mask;

		if (!(state->mask[i] & MTRR_MASK_VALID) || mask == 0)
			continue;
		if (base > at && base < next)
			next = base;
		if (base + size > at && base + size < next)
			next = base + size;
		/* A mask with holes repeats: take the smallest step it can change at. */
		if ((mask + size) & (limit - 1))
			next = (at & ~(size - 1)) + size < next ? (at & ~(size - 1)) + size : next;
	}
	return next;
}

size_t mtrr_ranges(const struct mtrr_state *state, struct type_range *ranges, size_t max)
{
	uint64_t limit = 1ull << state->address_bits;
	size_t count = 0;

	for (uint64_t at = 0; at < limit;) {
		uint64_t end = next_edge(state, at, limit);
		uint8_t type = mtrr_type(state, at);

		if (count > 0 && ranges[count - 1].type == type) {
			ranges[count - 1].size_bytes += end - at;
		} else if (count < max) {
			ranges[count++] = (struct type_range){ phys_at(at), end - at, type };
		} else {
			return 0;
		}
		at = end;
	}
	return count;
}
