/* SPDX-License-Identifier: MIT */
/*
 * The frame table: who owns each page of RAM. One entry of 8 bytes a page (0.2 % of memory), and the
 * only record of ownership: page tables are made from it.
 *
 * A page is in exactly one state:
 *
 *   NOBODY      between two owners: in no page table, no translation of it left, perhaps not cleared
 *   HYPERVISOR  ours
 *   SERVICE     the service domain's
 *   LENT        the service domain's, also mapped by one unprotected guest (guest, where)
 *   GUEST       one guest's, at one address of it (guest, where)
 *   RELEASED    given up by a guest and cleared; waits for the service domain to take it back
 *   TABLE       paid for tables of a guest, or of the service domain (guest = NO_GUEST); ours to write
 *   VCPU        paid for a vCPU of a guest or for its platform; ours to write
 *
 * Pins count users inside the hypervisor of a page of the service domain (run pages, relay areas): a pinned page
 * cannot be given away.
 */
#ifndef BULKHEAD_CORE_FRAME_H
#define BULKHEAD_CORE_FRAME_H

#include "address_space.h"

enum frame_state {
	FRAME_NOBODY = 0,
	FRAME_HYPERVISOR,
	FRAME_SERVICE,
	FRAME_LENT,
	FRAME_GUEST,
	FRAME_RELEASED,
	FRAME_TABLE,
	FRAME_VCPU,
	FRAME_STATE_COUNT,
};

#define NO_GUEST 0xffu

struct frame {
	uint8_t state; /* enum frame_state */
	uint8_t guest; /* slot, or NO_GUEST */
	uint16_t pins;
	uint32_t where; /* guest page number; for TABLE: entries unlike a fresh split's */
};

static_assert(sizeof(struct frame) == 8, "at most 0.3 % of memory");

#define MAX_RAM_RANGES 128u

struct frame_range {
	uint64_t first_page;
	uint64_t page_count;
	struct frame *frames;
};

/** Records of all RAM, sorted by address. */
struct frame_table {
	uint32_t range_count;
	struct frame_range ranges[MAX_RAM_RANGES];
	uint64_t page_count;		       /* in all ranges */
	uint64_t count[FRAME_STATE_COUNT];     /* pages in each state */
};

/** Bytes of storage frame_table_init() needs for a map: 8 for each page of RAM and of ours. */
uint64_t frame_table_bytes(const struct memory_map *map);

/**
 * Records every page of RAM as SERVICE and every page of ours as HYPERVISOR.
 * @storage: frame_table_bytes() bytes, 8-byte aligned, in memory of ours
 * @map: valid (memory_map_is_valid())
 * Returns BULKHEAD_LIMIT if the map has more ranges than MAX_RAM_RANGES.
 */
MUST_USE enum bulkhead_error frame_table_init(struct frame_table *table,
					      const struct memory_map *map, void *storage);

/** The record of a page, or NULL if the address is not a page of RAM. */
struct frame *frame_of(const struct frame_table *table, struct phys page);

/**
 * The records of page_count pages from a page on, or NULL if not all are RAM of one range.
 * @page: page aligned or NULL is returned
 */
struct frame *frame_run(const struct frame_table *table, struct phys page, uint64_t page_count);

/** Changes the record of pages, at least one, that all have one state. The only place that writes a state. */
void frame_set(struct frame_table *table, struct frame *frames, uint64_t page_count,
	       enum frame_state state, uint8_t guest, uint32_t where);

#endif
