/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's own page tables.
 *
 * Low half: our block of memory at its own addresses; code to execute, constants to read, the rest to
 * write, nothing both writable and executable, guard pages and address 0 not mapped.
 * High half: all RAM and devices below the highest RAM, at DIRECT_BASE, never to execute; our code and
 * constants are not in it.
 */
#ifndef BULKHEAD_X86_HOST_TABLES_H
#define BULKHEAD_X86_HOST_TABLES_H

#include "../boot/boot_info.h"
#include "processor.h"

#define DIRECT_BASE 0xffff800000000000ull

/** Where we see a physical address. */
static inline void *direct(uint64_t physical)
{
	return (void *)(DIRECT_BASE + physical);
}

/** Memory of our block, handed out once and never freed. Physical and virtual addresses are equal. */
struct own_memory {
	uint64_t base, next, end;
};

/** Zeroed bytes, or NULL if the block is used up. @align: a power of 2 */
void *own_memory_take(struct own_memory *own, uint64_t size_bytes, uint64_t align);

/**
 * Builds the tables. Runs while a loader's identity mapping is still in use.
 * @direct_end: bytes of physical memory to see in the high half
 * @blocks, @block_count: processors' blocks, for their guard pages
 * Returns the physical address of the root, or 0 if our memory is used up.
 */
uint64_t host_tables_build(struct own_memory *own, const struct boot_info *info, uint64_t direct_end,
			   uint64_t blocks, uint32_t block_count);

#endif
