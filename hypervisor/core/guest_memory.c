/* SPDX-License-Identifier: MIT */
/*
 * The platform's memory accessors inside the hypervisor: a guest's memory through its own page tables, a relay area
 * through the list of its pinned pages. guest_platform.h says why a page found here may be used.
 */
#include "guest_platform.h"

#include <memory.h>

/** Where one byte lies and how many follow it in its page; NULL if it is not there. */
static uint8_t *locate(const struct memory *memory, uint64_t address, uint32_t *left)
{
	uint32_t offset = (uint32_t)(address & (PAGE_BYTES - 1));
	struct mapping mapping;

	*left = (uint32_t)PAGE_BYTES - offset;
	if (!memory->guest) {
		uint64_t number = (address - memory->base) / PAGE_BYTES;

		if (address < memory->base || number >= BULKHEAD_RELAY_PAGES)
			return NULL;
		return (uint8_t *)arch_page(phys_at(memory->pages[number] * PAGE_BYTES)) + offset;
	}
	if (address >> BULKHEAD_GUEST_ADDRESS_BITS)
		return NULL;
	mapping = address_space_lookup(&memory->guest->space,
				       (struct input_address){ address - offset });
	if (mapping.access != ACCESS_CPU)
		return NULL;
	return (uint8_t *)arch_page(mapping.page) + offset;
}

/** Whether all bytes are there. */
static bool is_there(const struct memory *memory, uint64_t address, uint32_t size_bytes)
{
	uint32_t left;

	for (uint64_t done = 0; done < size_bytes; done += left)
		if (address + done < address || !locate(memory, address + done, &left))
			return false;
	return true;
}

/*
 * Copies inside one page on each side. What the other party reads or writes as one word is one access here too, so
 * that an index is never seen half changed.
 */
static void copy(uint8_t *to, const uint8_t *from, uint32_t size_bytes)
{
	if (size_bytes == 2 && !(((uintptr_t)to | (uintptr_t)from) & 1))
		WRITE_ONCE(*(uint16_t *)to, READ_ONCE(*(const uint16_t *)from));
	else if (size_bytes == 8 && !(((uintptr_t)to | (uintptr_t)from) & 7))
		WRITE_ONCE(*(uint64_t *)to, READ_ONCE(*(const uint64_t *)from));
	else
		__builtin_memcpy(to, from, size_bytes);
}

bool memory_read(struct memory *memory, uint64_t address, void *to, uint32_t size_bytes)
{
	uint8_t *target = to;

	while (size_bytes > 0) {
		uint32_t left;
		const uint8_t *from = locate(memory, address, &left);

		if (!from)
			return false;
		if (left > size_bytes)
			left = size_bytes;
		copy(target, from, left);
		target += left;
		address += left;
		size_bytes -= left;
	}
	return true;
}

bool memory_write(struct memory *memory, uint64_t address, const void *from, uint32_t size_bytes)
{
	const uint8_t *source = from;

	if (!is_there(memory, address, size_bytes))
		return false;
	while (size_bytes > 0) {
		uint32_t left;
		uint8_t *to = locate(memory, address, &left);

		if (!to)
			return false;
		if (left > size_bytes)
			left = size_bytes;
		copy(to, source, left);
		source += left;
		address += left;
		size_bytes -= left;
	}
	return true;
}

bool memory_copy(struct memory *to, uint64_t to_address, struct memory *from, uint64_t from_address,
		 uint32_t size_bytes)
{
	if (!is_there(to, to_address, size_bytes) || !is_there(from, from_address, size_bytes))
		return false;
	while (size_bytes > 0) {
		uint32_t left, room;
		const uint8_t *source = locate(from, from_address, &left);
		uint8_t *target = locate(to, to_address, &room);

		if (!source || !target)
			return false;
		if (left > room)
			left = room;
		if (left > size_bytes)
			left = size_bytes;
		copy(target, source, left);
		to_address += left;
		from_address += left;
		size_bytes -= left;
	}
	return true;
}

bool memory_exchange(struct memory *memory, uint64_t address, uint32_t size_bytes, uint64_t expected,
		     uint64_t desired)
{
	uint32_t left, narrow = (uint32_t)expected;
	uint8_t *place = locate(memory, address, &left);

	if (!place || address % size_bytes)
		return false;
	if (size_bytes == 4)
		return __atomic_compare_exchange_n((uint32_t *)place, &narrow, (uint32_t)desired,
						   false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return __atomic_compare_exchange_n((uint64_t *)place, &expected, desired, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
