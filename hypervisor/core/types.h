/* SPDX-License-Identifier: MIT */
/*
 * Words every file of the core shares: addresses that cannot be mixed up, results that cannot be
 * ignored, and reads of memory that somebody else may be writing.
 */
#ifndef BULKHEAD_CORE_TYPES_H
#define BULKHEAD_CORE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bulkhead/hypercall.h>

#define MUST_USE __attribute__((warn_unused_result))

#define PAGE_SHIFT 12u
#define PAGE_BYTES 4096ull
#define TABLE_ENTRIES 512u
#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/** An address of the machine's memory. The service domain's addresses are the same numbers. */
struct phys {
	uint64_t value;
};

/** An address in a guest's own view of its memory. */
struct guest_phys {
	uint64_t value;
};

/** An address in some domain's page tables' input: what a nested walk starts from. */
struct input_address {
	uint64_t value;
};

static inline struct phys phys_at(uint64_t value)
{
	return (struct phys){ value };
}

static inline struct phys phys_plus_pages(struct phys base, uint64_t page_count)
{
	return (struct phys){ base.value + page_count * PAGE_BYTES };
}

static inline struct guest_phys guest_phys_at(uint64_t value)
{
	return (struct guest_phys){ value };
}

static inline struct guest_phys guest_phys_plus_pages(struct guest_phys base, uint64_t page_count)
{
	return (struct guest_phys){ base.value + page_count * PAGE_BYTES };
}

/** The service domain sees the machine's memory at its own addresses. */
static inline struct input_address input_of_service(struct phys page)
{
	return (struct input_address){ page.value };
}

static inline struct input_address input_of_guest(struct guest_phys page)
{
	return (struct input_address){ page.value };
}

static inline bool is_page_aligned(uint64_t value)
{
	return (value & (PAGE_BYTES - 1)) == 0;
}

/** Reads memory that another party may be writing exactly once. */
#define READ_ONCE(object) __atomic_load_n(&(object), __ATOMIC_RELAXED)
#define WRITE_ONCE(object, value) __atomic_store_n(&(object), (value), __ATOMIC_RELAXED)

#endif
