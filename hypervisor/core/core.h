/* SPDX-License-Identifier: MIT */
/*
 * The core's one piece of state, its lock, and its start.
 *
 * Lock order: the core's lock is the only one here. Whoever holds it may flush (arch_flush()): the
 * others answer flush requests while they wait for it. It is never held while a vCPU runs. Work under
 * it is bounded (docs/hypercalls.md), so waiting for it is.
 */
#ifndef BULKHEAD_CORE_CORE_H
#define BULKHEAD_CORE_CORE_H

#include "arch.h"
#include "frame.h"
#include "guest.h"
#include "log.h"

/** What the boot code found out and set aside; read during core_start() only, but for strings. */
struct core_config {
	const struct table_format *format;
	struct memory_map map; /* memory of ours is in it as REGION_HYPERVISOR */
	struct phys pages;     /* contiguous pages of ours: core_pages_needed() and spare tables */
	uint64_t page_count;   /* of them */
	void *frame_storage;   /* frame_table_bytes() bytes in memory of ours */
	const char *build_id;
	const char *back_end; /* "svm" */
	uint64_t facts;	      /* BULKHEAD_FACT_* */
	uint32_t tsc_khz;     /* rate of the time-stamp counter; 0: not known */
};

struct core {
	struct lock lock;
	struct frame_table frames;
	struct zero_backing zero;
	struct type_range types[MAX_TYPE_RANGES];
	size_t type_count;
	struct address_space service;
	struct guest guests[BULKHEAD_MAX_GUESTS];
	uint32_t next_generation;
	const char *build_id;
	const char *back_end;
	uint64_t facts;
	uint32_t tsc_khz; /* never 0 */
	struct log log;
	struct bulkhead_stats stats[MAX_PROCESSORS];
};

extern struct core core;

/** Proof that the core's lock is held: made by core_lock() only. */
struct core_locked {
	struct core *core;
};

struct core_locked core_lock(void);
void core_unlock(struct core_locked held);

/** Pages core_start() takes for a map: zero backing, root and tables. Add spare ones for splits. */
uint64_t core_pages_needed(const struct memory_map *map);

/**
 * Builds frame table and the service domain's address space. Called once, on one processor.
 * Returns BULKHEAD_INVALID, BULKHEAD_LIMIT or BULKHEAD_NO_TABLES if the configuration cannot work.
 */
MUST_USE enum bulkhead_error core_start(const struct core_config *config);

/** Adds facts found later (IOMMU taken over). */
void core_add_facts(uint64_t facts);

/** Counts an exit of this processor. */
static inline void core_count_exit(enum bulkhead_exit reason)
{
	core.stats[arch_processor()].exits[reason]++;
}

#endif
