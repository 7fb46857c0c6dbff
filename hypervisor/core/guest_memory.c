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
	struct phys page;

	*left = (uint32_t)PAGE_BYTES - offset;
	if (!memory->guest) {
		uint64_t number = (address - memory->base) / PAGE_BYTES;

		if (address < memory->base || number >= BULKHEAD_RELAY_PAGES)
			return NULL;
		return (uint8_t *)arch_page(phys_at(memory->pages[number] * PAGE_BYTES)) + offset;
	}
	if (address >> BULKHEAD_GUEST_ADDRESS_BITS)
		return NULL;
	if (!address_space_find_page(&memory->guest->space, (struct input_address){ address - offset }, &page))
		return NULL;
	return (uint8_t *)arch_page(page) + offset;
}

/** Where up to a page of bytes lies: in one page, or in two. */
struct span {
	uint8_t *part[2];
	uint32_t first_bytes; /* in part[0]; the rest is in part[1] */
};

/** Finds bytes. Returns false if any is not there, or if there are more than a page of them. */
static bool find(const struct memory *memory, uint64_t address, uint32_t size_bytes, struct span *span)
{
	uint32_t left;

	if (size_bytes > PAGE_BYTES)
		return false;
	span->part[0] = locate(memory, address, &left);
	span->part[1] = NULL;
	if (!span->part[0])
		return false;
	span->first_bytes = left < size_bytes ? left : size_bytes;
	if (left >= size_bytes)
		return true;
	span->part[1] = locate(memory, address + left, &left);
	return span->part[1];
}

/** Where bytes lie that lie in one page, as most do; NULL if they do not, or are not there. */
static uint8_t *find_in_one_page(const struct memory *memory, uint64_t address, uint32_t size_bytes)
{
	uint32_t left;

	return (address & (PAGE_BYTES - 1)) + size_bytes <= PAGE_BYTES ? locate(memory, address, &left) : NULL;
}

/** What follows @done bytes of a span, and how many (@left) of @size_bytes lie there in a row. */
static uint8_t *rest_of(const struct span *span, uint32_t done, uint32_t size_bytes, uint32_t *left)
{
	if (done < span->first_bytes) {
		*left = span->first_bytes - done;
		return span->part[0] + done;
	}
	*left = size_bytes - done;
	return span->part[1] + (done - span->first_bytes);
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
	const uint8_t *place = find_in_one_page(memory, address, size_bytes);
	struct span span;

	if (place) {
		copy(to, place, size_bytes);
		return true;
	}
	if (!find(memory, address, size_bytes, &span))
		return false;
	copy(to, span.part[0], span.first_bytes);
	copy((uint8_t *)to + span.first_bytes, span.part[1], size_bytes - span.first_bytes);
	return true;
}

bool memory_write(struct memory *memory, uint64_t address, const void *from, uint32_t size_bytes)
{
	uint8_t *place = find_in_one_page(memory, address, size_bytes);
	struct span span;

	if (place) {
		copy(place, from, size_bytes);
		return true;
	}
	if (!find(memory, address, size_bytes, &span))
		return false;
	copy(span.part[0], from, span.first_bytes);
	copy(span.part[1], (const uint8_t *)from + span.first_bytes, size_bytes - span.first_bytes);
	return true;
}

/* A copy where either side may lie in two pages. */
static bool copy_across(struct memory *to, uint64_t to_address, struct memory *from, uint64_t from_address,
			uint32_t size_bytes)
{
	struct span target, source;

	if (!find(to, to_address, size_bytes, &target) || !find(from, from_address, size_bytes, &source))
		return false;
	for (uint32_t done = 0; done < size_bytes;) {
		uint32_t left, room;
		const uint8_t *bytes = rest_of(&source, done, size_bytes, &left);
		uint8_t *place = rest_of(&target, done, size_bytes, &room);

		if (left > room)
			left = room;
		copy(place, bytes, left);
		done += left;
	}
	return true;
}

bool memory_copy(struct memory *to, uint64_t to_address, struct memory *from, uint64_t from_address,
		 uint32_t size_bytes)
{
	uint8_t *place = find_in_one_page(to, to_address, size_bytes);
	const uint8_t *bytes = place ? find_in_one_page(from, from_address, size_bytes) : NULL;

	if (bytes)
		copy(place, bytes, size_bytes);
	else if (!copy_across(to, to_address, from, from_address, size_bytes))
		return false;
	core.stats[arch_processor()].relayed_bytes += size_bytes;
	return true;
}

bool memory_look(struct memory *memory, uint64_t address, struct memory_word *word)
{
	uint32_t left;
	const uint8_t *place = locate(memory, address, &left);

	if (!place || address % sizeof(word->value))
		return false;
	word->place = (const uint64_t *)place;
	word->value = READ_ONCE(*word->place);
	return true;
}

uint64_t memory_generation(const struct memory *memory)
{
	/* Before anything is looked at: a change in between then shows as a later number. */
	return memory->guest ? __atomic_load_n(&memory->guest->space.generation, __ATOMIC_ACQUIRE) : 0;
}

enum memory_given memory_give_up(struct memory *memory, uint64_t address)
{
	struct core_locked held = core_lock();
	struct phys page;
	enum bulkhead_error error = ownership_relinquish(held, memory->guest, guest_phys_at(address), &page);

	core_unlock(held);
	if (error == BULKHEAD_NO_TABLES)
		return MEMORY_NEEDS_TABLE;
	return error ? MEMORY_KEPT : MEMORY_GIVEN;
}

bool memory_is_empty(struct memory *memory, uint64_t address)
{
	return guest_declares(memory->guest, guest_phys_at(address), 1) &&
	       address_space_lookup(&memory->guest->space, (struct input_address){ address }).access == ACCESS_NONE;
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
