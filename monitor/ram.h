/* SPDX-License-Identifier: MIT */
/*
 * A guest's RAM when it is shared with the service domain (stock KVM, or an unprotected guest): one memfd, in pieces of
 * the guest's address map, that backends can map too. Implements the platform library's memory accessors.
 */
#ifndef BULKHEAD_MONITOR_RAM_H
#define BULKHEAD_MONITOR_RAM_H

#include <memory.h>

#include <stddef.h>
#include <stdint.h>

struct memory {
	int fd;
	uint8_t *bytes;
	uint64_t size_bytes; /**< of the file: all pieces */
	uint64_t low_bytes;  /**< from guest address 0 */
	uint64_t high_bytes; /**< from 4 GiB; in the file behind the low part */
	uint64_t top_bytes;  /**< up to 4 GiB: firmware and what it is told; in the file behind the high part */
};

#define RAM_HIGH_START 0x100000000ull

/**
 * Makes RAM of @size_bytes, of which at most @low_limit lies below 4 GiB, and @top_bytes besides that end there.
 * Returns 0 or a negative errno.
 */
int ram_create(struct memory *ram, uint64_t size_bytes, uint64_t low_limit, uint64_t top_bytes);
void ram_destroy(struct memory *ram);

/** Where @size_bytes at a guest address lie in this process, or NULL if any byte is not RAM. */
void *ram_at(struct memory *ram, uint64_t address, uint64_t size_bytes);

#endif
