/* SPDX-License-Identifier: MIT */
/*
 * Memory for tests of the platform library: a block of bytes that begins at some address and counts what is copied.
 */
#ifndef BULKHEAD_TESTS_FAKE_MEMORY_H
#define BULKHEAD_TESTS_FAKE_MEMORY_H

#include "memory.h"

struct memory {
	uint8_t *bytes;
	uint64_t start, size_bytes;
};

/** Bytes that memory_copy() moved since this was last set to 0. */
extern uint64_t fake_memory_copied;

#endif
