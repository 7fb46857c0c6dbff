/* SPDX-License-Identifier: MIT */
/*
 * See service_memory.h. Page tables of the service domain may point anywhere; a page is read only if
 * it is the service domain's at this moment. It stays so until this processor next answers a flush,
 * which it does not do in here: whoever takes the page away waits for that answer.
 */
#include "hypervisor.h"
#include "service_memory.h"

#define PTE_PRESENT (1ull << 0)
#define PTE_LARGE   (1ull << 7)
#define PTE_ADDRESS 0x000ffffffffff000ull

/* NULL if the page is not the service domain's RAM. */
static const uint8_t *readable(uint64_t address)
{
	const struct frame *frame = frame_of(&core.frames, phys_at(address & ~(PAGE_BYTES - 1)));

	if (!frame || (frame->state != FRAME_SERVICE && frame->state != FRAME_LENT))
		return NULL;
	return direct(address);
}

/* Physical address of a linear one, or ~0. */
static uint64_t translate(const struct view *view, uint64_t linear)
{
	uint64_t table = view->cr3 & PTE_ADDRESS;
	int top = (view->cr4 & CR4_LA57) ? 4 : 3;

	if (!(view->cr0 & CR0_PG))
		return linear & 0xffffffff;
	if (!(view->efer & EFER_LMA))
		return ~0ull; /* 32-bit page tables: no loader or kernel of ours uses them */
	for (int level = top; level >= 0; level--) {
		unsigned int shift = 12 + 9 * (unsigned int)level;
		const uint8_t *entry_at = readable(table + (linear >> shift & 511) * 8);
		uint64_t entry;

		if (!entry_at)
			return ~0ull;
		entry = READ_ONCE(*(const uint64_t *)entry_at);
		if (!(entry & PTE_PRESENT))
			return ~0ull;
		if (level == 0 || (level <= 2 && (entry & PTE_LARGE))) {
			uint64_t mask = (1ull << shift) - 1;

			return (entry & PTE_ADDRESS & ~mask) | (linear & mask);
		}
		table = entry & PTE_ADDRESS;
	}
	return ~0ull;
}

size_t service_memory_fetch(const struct view *view, uint64_t linear, uint8_t *bytes, size_t size)
{
	size_t count = 0;

	while (count < size) {
		uint64_t physical = translate(view, linear + count);
		const uint8_t *from = physical == ~0ull ? NULL : readable(physical);
		size_t left = PAGE_BYTES - (linear + count) % PAGE_BYTES;

		if (!from)
			break;
		for (size_t i = 0; i < left && count < size; i++)
			bytes[count++] = from[i];
	}
	return count;
}
