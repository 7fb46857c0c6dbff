/* SPDX-License-Identifier: MIT */
/*
 * See host_tables.h. Memory types are left to the MTRRs: write-back here, combined with theirs.
 */
#include "host_tables.h"
#include "hypervisor.h"

#define PRESENT	   (1ull << 0)
#define WRITABLE   (1ull << 1)
#define LARGE	   (1ull << 7)
#define NO_EXECUTE (1ull << 63)
#define ADDRESS	   0x000ffffffffff000ull
#define LARGE_BYTES 0x200000ull

void *own_memory_take(struct own_memory *own, uint64_t size_bytes, uint64_t align)
{
	uint64_t at = (own->next + align - 1) & ~(align - 1);

	if (at > own->end || size_bytes > own->end - at)
		return NULL;
	own->next = at + size_bytes;
	__builtin_memset((void *)at, 0, size_bytes);
	return (void *)at;
}

/* The entry that maps an address at a level (0: 4 KiB, 1: 2 MiB), or NULL without memory. */
static uint64_t *entry_for(struct own_memory *own, uint64_t *root, uint64_t address,
			   unsigned int level)
{
	uint64_t *table = root;

	for (unsigned int at = 3; at > level; at--) {
		uint64_t *entry = &table[address >> (12 + 9 * at) & 511];

		if (!(*entry & PRESENT)) {
			void *page = own_memory_take(own, 4096, 4096);

			if (!page)
				return NULL;
			*entry = (uint64_t)page | PRESENT | WRITABLE;
		}
		table = (uint64_t *)(*entry & ADDRESS);
	}
	return &table[address >> (12 + 9 * level) & 511];
}

static bool is_guard(uint64_t page, uint64_t blocks, uint32_t block_count)
{
	uint64_t offset = page - blocks;
	unsigned int in_block = (unsigned int)(offset % BOOT_PROCESSOR_BYTES / 4096);

	if (page < blocks || offset >= (uint64_t)block_count * BOOT_PROCESSOR_BYTES)
		return false;
	return in_block == 0 || in_block == BLOCK_NMI_STACK + 1 || in_block == BLOCK_DF_STACK + 1 ||
	       in_block == BLOCK_MC_STACK + 1 || in_block == BLOCK_STACK_END;
}

/* What may be done with a page of our block; 0: not mapped. */
static uint64_t own_rights(uint64_t page, uint64_t blocks, uint32_t block_count, bool is_direct)
{
	uint64_t start = (uint64_t)image_start, rodata = (uint64_t)image_rodata;
	uint64_t data = (uint64_t)image_data;

	if (page >= start && page < rodata)
		return is_direct ? 0 : PRESENT;
	if (page >= rodata && page < data)
		return is_direct ? 0 : PRESENT | NO_EXECUTE;
	if (is_guard(page, blocks, block_count))
		return 0;
	return PRESENT | WRITABLE | NO_EXECUTE;
}

static bool map_own(struct own_memory *own, uint64_t *root, const struct boot_info *info,
		    uint64_t blocks, uint32_t block_count, uint64_t offset)
{
	for (uint64_t page = info->own_base; page < info->own_base + info->own_bytes; page += 4096) {
		uint64_t rights = own_rights(page, blocks, block_count, offset != 0);
		uint64_t *entry = entry_for(own, root, page + offset, 0);

		if (!entry)
			return false;
		*entry = rights ? page | rights : 0;
	}
	return true;
}

uint64_t host_tables_build(struct own_memory *own, const struct boot_info *info, uint64_t direct_end,
			   uint64_t blocks, uint32_t block_count)
{
	uint64_t *root = own_memory_take(own, 4096, 4096);

	if (!root)
		return 0;
	for (uint64_t at = 0; at < direct_end; at += LARGE_BYTES) {
		bool is_own = at >= info->own_base && at < info->own_base + info->own_bytes;
		uint64_t *entry = is_own ? NULL : entry_for(own, root, DIRECT_BASE + at, 1);

		if (!is_own && !entry)
			return 0;
		if (entry)
			*entry = at | PRESENT | WRITABLE | NO_EXECUTE | LARGE;
	}
	if (!map_own(own, root, info, blocks, block_count, 0) ||
	    !map_own(own, root, info, blocks, block_count, DIRECT_BASE))
		return 0;
	return (uint64_t)root;
}
