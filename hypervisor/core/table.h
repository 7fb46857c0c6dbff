/* SPDX-License-Identifier: MIT */
/*
 * The form of a page-table entry, as data. Nested page tables of AMD and Intel, their I/O tables
 * and arm64's stage 2 differ in bits, not in shape: 512 entries of 8 bytes, 4 KiB, 2 MiB and 1 GiB
 * leaves. A back-end describes its bits once in a struct table_format, chosen at start and constant
 * after, and the address-space code is the same for all.
 *
 * Levels count from the leaf: an entry of level 0 maps 4 KiB, of level 1 2 MiB, of level 2 1 GiB;
 * level 3 holds tables only.
 */
#ifndef BULKHEAD_CORE_TABLE_H
#define BULKHEAD_CORE_TABLE_H

#include "types.h"

#define TABLE_LEVELS 4u
#define LARGEST_LEAF_LEVEL 2u

/** Who may do what through a leaf. */
enum access {
	ACCESS_NONE = 0, /* nothing there: a fault; the whole entry is 0 */
	ACCESS_ALL,	 /* own RAM: processors and devices read and write */
	ACCESS_CPU,	 /* processors read and write, devices nothing: MMIO, and a guest's memory */
	ACCESS_READ,	 /* processors read, devices nothing */
	ACCESS_ZERO,	 /* reads give zeros, writes fault, devices nothing: memory given away */
	ACCESS_COUNT,
};

/** Bits of a back-end's entries. */
struct table_format {
	uint64_t address_mask;	      /* bits that hold the address */
	uint64_t leaf[ACCESS_COUNT];  /* bits of a leaf; [ACCESS_NONE] is 0, [ACCESS_ZERO] unused */
	uint64_t access_mask;	      /* bits that tell one access from another */
	uint64_t small_leaf;	      /* further bits of a level 0 leaf */
	uint64_t large_leaf;	      /* further bits of a level 1 or 2 leaf */
	uint64_t large_mask;	      /* above level 0: leaf if (entry & large_mask) == large_leaf */
	uint64_t table;		      /* bits of an entry that points to a table */
	uint64_t next_level_unit;     /* times the level of the entry is added to such entries, or 0 */
	uint64_t type_unit;	      /* times the memory type is added to leaves, or 0 */
	uint8_t ram_type;	      /* memory type of ordinary RAM: guests' pages, the zero page */
};

/** AMD nested paging and AMD-Vi at once: one table serves both (NextLevel, IR and IW are AMD-Vi's). */
extern const struct table_format table_format_amd;

/** Bytes a leaf of a level maps. */
static inline uint64_t level_bytes(unsigned int level)
{
	return PAGE_BYTES << (9 * level);
}

/** Which of a table's 512 entries translates an address. */
static inline unsigned int level_index(struct input_address address, unsigned int level)
{
	return (unsigned int)(address.value >> (PAGE_SHIFT + 9 * level)) & (TABLE_ENTRIES - 1);
}

#endif
