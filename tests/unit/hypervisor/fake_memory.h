/* SPDX-License-Identifier: MIT */
/*
 * Memory for tests of the platform library: a block of bytes that begins at some address and counts what is copied.
 */
#ifndef BULKHEAD_TESTS_FAKE_MEMORY_H
#define BULKHEAD_TESTS_FAKE_MEMORY_H

#include "memory.h"

struct memory {
	uint8_t *bytes; /**< a multiple of 8, like @start */
	uint64_t start, size_bytes;
	uint64_t generation;
};

/** What memory_give_up() answers: MEMORY_GIVEN clears the page. Called with its address before. */
extern enum memory_given (*fake_memory_give_up)(uint64_t address);

/** What memory_is_empty() answers for addresses inside; NULL: false. */
extern bool (*fake_memory_is_empty)(uint64_t address);

/** Another processor's chance to change what memory_look() will see; NULL: none. */
extern void (*fake_memory_before_look)(uint64_t address);

/** Bytes that memory_copy() moved since this was last set to 0. */
extern uint64_t fake_memory_copied;

/** How often an address was looked for. */
extern uint64_t fake_memory_asked;

#endif
