/* SPDX-License-Identifier: MIT */
/*
 * Page tables of one domain. They follow the ownership record and are never asked who owns a page.
 *
 * An operation first asks how many table pages it will need (address_space_tables_needed()), and
 * changes entries only when the pool holds them: a change never stops half way. Large pages are
 * split when a part of them changes and merged when all parts are alike again.
 *
 * Memory given away is backed by one page of zeros, read-only. Two tables full of it stand for
 * 2 MiB and 1 GiB of such memory, so that giving a large page away costs no table.
 *
 * No function here flushes: the caller changes, flushes once (arch_flush()), and only then uses
 * pages that were mapped, or tables that were retired (address_space_collect()).
 */
#ifndef BULKHEAD_CORE_ADDRESS_SPACE_H
#define BULKHEAD_CORE_ADDRESS_SPACE_H

#include "table.h"

/** Tag of the service domain's address space; guest slot n has tag n + 1. */
#define SERVICE_TAG 0u

/** Pages for tables: a chain through their first words. They belong to the hypervisor. */
struct table_pool {
	struct phys first; /* 0: empty */
	uint32_t page_count;
};

struct address_space {
	const struct table_format *format;
	struct phys root;
	uint32_t tag;
	bool is_identity;	  /* the service domain's: empty means its own address */
	struct table_pool own;	   /* spare tables in the hypervisor's memory; used first */
	struct table_pool paid;	   /* spare tables somebody paid for (FRAME_TABLE) */
	struct table_pool retired; /* out of use, but processors may still walk them: flush first */
	uint32_t table_count;	  /* in use, root included */
	uint64_t generation;	  /* counts changes, each once it is made and before it is flushed */
};

/** What an address translates to. */
struct mapping {
	enum access access;
	unsigned int level;  /* of the entry that decides */
	struct phys page;    /* where the 4 KiB page of the address lies; 0 for NONE and ZERO */
};

/** What a stretch of the machine's address space is (for address_space_build()). */
enum region_kind {
	REGION_RAM,	   /* the service domain's; covered by the frame table, may be donated */
	REGION_HYPERVISOR, /* ours; covered by the frame table, reads as zeros */
	REGION_DEVICE,	   /* MMIO and reserved memory: processors only. What no region names is this */
	REGION_READ_ONLY,  /* registers whose writes must fault: processors read */
	REGION_NONE,	   /* registers that must not be seen: any access faults */
};

struct region {
	struct phys base;
	uint64_t size_bytes;
	enum region_kind kind;
};

/** Memory type of a stretch; what none names has the type DEFAULT_MEMORY_TYPE. */
struct type_range {
	struct phys base;
	uint64_t size_bytes;
	uint8_t type; /* the format's number */
};

#define DEFAULT_MEMORY_TYPE 0u
#define MAX_TYPE_RANGES	    64u

/** The machine's memory. Both lists are sorted by address, without overlap, page aligned. */
struct memory_map {
	const struct region *regions;
	size_t region_count;
	const struct type_range *types; /* no large page crosses from one to another */
	size_t type_count;
	unsigned int address_bits; /* physical address width; at most 48 are mapped */
};

/** Page of zeros and its tables, made once. Constant after address_space_init_zero(). */
struct zero_backing {
	struct phys page;
	struct phys tables[LARGEST_LEAF_LEVEL]; /* [0]: 2 MiB of zeros, [1]: 1 GiB */
};

/** Whether both lists are sorted, page aligned, free of overlap, and the width is possible. */
bool memory_map_is_valid(const struct memory_map *map);

/** Pages address_space_init_zero() takes. */
#define ZERO_BACKING_PAGES 3u

/**
 * Makes the zero page and its tables.
 * @pages: ZERO_BACKING_PAGES contiguous pages of the hypervisor
 */
void address_space_init_zero(struct zero_backing *zero, const struct table_format *format,
			     struct phys pages);

/** Adds a page that belongs to the hypervisor to a pool. */
void table_pool_add(struct table_pool *pool, struct phys page);

/** Takes a page out of a pool that is not empty. Its contents are undefined but for the first word. */
struct phys table_pool_take(struct table_pool *pool);

/** Starts an empty address space with a root table (cleared here). */
void address_space_init(struct address_space *space, const struct table_format *format,
			struct phys root, uint32_t tag);

/** Adds a spare table: to the paid ones if its frame says so, to our own otherwise. */
void address_space_add_table(struct address_space *space, struct phys page);

/** Spare tables ready for use. */
static inline unsigned int address_space_spare(const struct address_space *space)
{
	return space->own.page_count + space->paid.page_count;
}

/**
 * Builds the service domain's identity mapping over the full width, from its spare pages.
 * @space: started by address_space_init()
 * @map: the machine's memory, valid
 * Returns BULKHEAD_NO_TABLES if the spare pages do not reach.
 */
MUST_USE enum bulkhead_error address_space_build(struct address_space *space,
						 const struct memory_map *map);

/** Puts one identity leaf into tables that are being built (address_space_build()). */
void address_space_place(struct address_space *space, struct input_address at, unsigned int level,
			 enum access access);

/** Table pages that address_space_build() will take for a map (root not counted). */
uint64_t address_space_tables_for(const struct memory_map *map);

/**
 * Where the page of a guest's memory lies that an address is in: the one question of address_space_lookup() that every
 * access to a guest's memory asks, answered in a third of its instructions.
 * Returns false if there is none.
 */
bool address_space_find_page(const struct address_space *space, struct input_address at, struct phys *page);

/** What an address translates to now. */
struct mapping address_space_lookup(const struct address_space *space, struct input_address at);

/**
 * Table pages that address_space_set() will take from the pool.
 * @page_count: 1 .. 512, not crossing a 2 MiB boundary
 */
unsigned int address_space_tables_needed(const struct address_space *space,
					 struct input_address at, unsigned int page_count);

/**
 * Maps pages one after another. The pool must hold address_space_tables_needed() pages. In the service domain's space
 * all change from ACCESS_ALL to ACCESS_ZERO, or all back.
 * @at: first input address
 * @page: first page mapped there (ignored for ACCESS_NONE and ACCESS_ZERO)
 * @page_count: 1 .. 512, not crossing a 2 MiB boundary; a whole aligned 2 MiB becomes one entry
 *	where no table stands in the way
 * @access: what is allowed there
 */
void address_space_set(struct address_space *space, struct input_address at, struct phys page,
		       unsigned int page_count, enum access access);

/**
 * Makes the tables that address_space_set() of these pages will need, and leaves them as empty as they were. The pool
 * must hold address_space_tables_needed() pages.
 */
void address_space_prepare(struct address_space *space, struct input_address at, unsigned int page_count);

/** Makes retired tables spare again. Only after arch_flush() of this space. */
void address_space_collect(struct address_space *space);

/** Whether nothing is mapped at page_count addresses (1 .. 512, inside one 2 MiB area). */
bool address_space_is_empty(const struct address_space *space, struct input_address at,
			    unsigned int page_count);

/**
 * Looks for the next leaf, from an address on.
 * @at: in: where to begin; out: address of the leaf, or where to go on
 * @limit: end of the address range
 * Returns BULKHEAD_OK if there is one at *at, BULKHEAD_NOT_FILLED if there is none below limit,
 * BULKHEAD_AGAIN if one table was searched and the search must go on at *at.
 */
MUST_USE enum bulkhead_error address_space_next_leaf(const struct address_space *space,
						     struct input_address *at, uint64_t limit);

/** Takes a table without leaves or tables below it out of a space that nobody walks any more. */
bool address_space_unlink_table(struct address_space *space, struct phys *table);

#endif
