/* SPDX-License-Identifier: MIT */
/*
 * The only way the platform library reaches memory. Whoever links it (hypervisor, monitor, tests) implements these
 * functions; the library itself holds no pointer into memory that another party can write, but those of struct
 * memory_word, which it only has compared. So it can run in an address space of its own, and everything it reads is a
 * private copy: read once, checked, then used.
 */
#ifndef BULKHEAD_PLATFORM_MEMORY_H
#define BULKHEAD_PLATFORM_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/** A memory that can be reached by addresses: a guest's, or a relay area. Defined by the implementer. */
struct memory;

/**
 * Copies @size_bytes (at most 4096, here and below) at @address of @memory to @to.
 * Returns false, and leaves @to undefined, if any byte lies outside the memory.
 */
__attribute__((warn_unused_result)) bool memory_read(struct memory *memory, uint64_t address, void *to,
						     uint32_t size_bytes);

/** Copies @size_bytes from @from to @address of @memory. Returns false, and writes nothing, if any byte lies outside. */
__attribute__((warn_unused_result)) bool memory_write(struct memory *memory, uint64_t address, const void *from,
						      uint32_t size_bytes);

/** Copies between two memories. Returns false, and writes nothing, if either side lies outside. */
__attribute__((warn_unused_result)) bool memory_copy(struct memory *to, uint64_t to_address, struct memory *from,
						     uint64_t from_address, uint32_t size_bytes);

/**
 * Replaces @size_bytes (4 or 8) at an @address that is a multiple of them, if they are still @expected, in one step
 * that no other processor can come between. Returns false if they are not, or if they lie outside the memory.
 */
__attribute__((warn_unused_result)) bool memory_exchange(struct memory *memory, uint64_t address, uint32_t size_bytes,
							 uint64_t expected, uint64_t desired);

/** A word of a memory that was read once, and where, so that it can be asked later whether it is still the same. */
struct memory_word {
	const uint64_t *place; /* the implementer's */
	uint64_t value;
};

/** Reads the 8 bytes at @address, a multiple of 8. Returns false if they are not, or lie outside the memory. */
__attribute__((warn_unused_result)) bool memory_look(struct memory *memory, uint64_t address, struct memory_word *word);

/**
 * A number that is another one once an address of @memory has come to mean another place, or none. A word may be compared
 * while the number is what it was before the word was looked at, if nobody was waited for since it was asked.
 */
uint64_t memory_generation(const struct memory *memory);

/** Whether a word is what it was; see memory_generation(). */
static inline bool memory_is_same(const struct memory_word *word)
{
	return __atomic_load_n(word->place, __ATOMIC_RELAXED) == word->value;
}

/** Answers of memory_give_up(). */
enum memory_given {
	MEMORY_GIVEN = 0,	/**< the page is its former owner's no more, and cleared */
	MEMORY_KEPT = 1,	/**< it is none that can be given up; nothing has changed */
	MEMORY_NEEDS_TABLE = 2, /**< somebody has to pay a page table first; nothing has changed */
};

/**
 * Gives up the page of @memory at @address for good: what is read there afterwards is another page, cleared.
 * May wait for other processors: the caller keeps nothing that it found in memory.
 */
__attribute__((warn_unused_result)) enum memory_given memory_give_up(struct memory *memory, uint64_t address);

/** Whether @address is one where @memory has a page to be, but none is: before it was filled, or after it was given up. */
bool memory_is_empty(struct memory *memory, uint64_t address);

/** Makes earlier reads and writes visible before later ones, to other processors too. */
static inline void memory_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
