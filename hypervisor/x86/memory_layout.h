/* SPDX-License-Identifier: MIT */
/*
 * Puts the machine's memory map together: what is added later covers what was there. Pure.
 */
#ifndef BULKHEAD_X86_MEMORY_LAYOUT_H
#define BULKHEAD_X86_MEMORY_LAYOUT_H

#include "../core/address_space.h"

#define LAYOUT_MAX_REGIONS 640u

/** Sorted, without overlap. */
struct memory_layout {
	size_t count;
	bool is_full; /* something did not fit: the layout is of no use */
	struct region regions[LAYOUT_MAX_REGIONS];
};

/** Adds a region over whatever is there. Base and size are multiples of a page; size may be 0. */
void memory_layout_cover(struct memory_layout *layout, uint64_t base, uint64_t size_bytes,
			 enum region_kind kind);

/** Joins neighbours of one kind. */
void memory_layout_merge(struct memory_layout *layout);

/** What MTRRs say (APM vol. 2, 7.7). Registers as the processor gives them. */
#define MTRR_MAX_VARIABLE 16u
struct mtrr_state {
	uint64_t default_type; /* MTRRdefType */
	uint64_t fixed[11];    /* 64K_00000, 16K_80000, 16K_A0000, 4K_C0000 .. 4K_F8000 */
	uint32_t variable_count;
	uint64_t base[MTRR_MAX_VARIABLE], mask[MTRR_MAX_VARIABLE];
	unsigned int address_bits;
};

/**
 * Lists the stretches of equal memory type over the whole address width, sorted, page aligned.
 * Returns how many; 0 if they are more than the array holds.
 */
size_t mtrr_ranges(const struct mtrr_state *state, struct type_range *ranges, size_t max);

/** Type of one page. */
uint8_t mtrr_type(const struct mtrr_state *state, uint64_t address);

#endif
