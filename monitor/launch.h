/* SPDX-License-Identifier: MIT */
/*
 * A guest of Bulkhead before it runs: everything that will be measured, in one structure. The monitor gives it to the
 * driver (bulkhead_guest.c), or computes from it, without any driver, the measurement that the guest will have.
 *
 * Of memory only pages that hold something are loaded; the rest arrive as zeros, which is what they are here.
 */
#ifndef BULKHEAD_MONITOR_LAUNCH_H
#define BULKHEAD_MONITOR_LAUNCH_H

#include <bulkhead/hypercall.h>
#include <bulkhead/platform.h>
#include <bulkhead/vcpu.h>

#include <stddef.h>
#include <stdint.h>

#define LAUNCH_RANGES_MAX 3u

/** A piece of the guest's memory, declared as a whole. */
struct launch_range {
	uint64_t address, size_bytes; /**< whole pages */
	const uint8_t *bytes;	      /**< its first content */
	int fd;			      /**< sparse file behind @bytes, to skip its holes; -1: none */
	uint64_t fd_offset;
};

struct launch_device {
	uint32_t slot;
	struct bulkhead_device_description description;
};

struct launch {
	uint32_t flags; /**< BULKHEAD_GUEST_PROTECTED or 0 */
	struct launch_range ranges[LAUNCH_RANGES_MAX];
	unsigned int range_count;
	uint64_t blob_address, blob_bytes; /**< firmware configuration; 0 bytes: none */
	struct launch_device devices[BULKHEAD_DEVICES_MAX];
	unsigned int device_count;
	struct bulkhead_vcpu_state first; /**< of processor 0; the others start after power-on */
	unsigned int processors;
};

/** A processor after power-on, as the driver makes them. */
void launch_state_reset(struct bulkhead_vcpu_state *state);

/**
 * Visits every run of pages that hold something, by address.
 * @visit: returns 0 to go on; anything else ends the walk and is returned
 */
int launch_each_run(const struct launch *launch,
		    int (*visit)(void *context, uint64_t address, const uint8_t *bytes, uint64_t size_bytes),
		    void *context);

/** Computes the measurement (include/bulkhead/hypercall.h, struct bulkhead_measurement). Returns 0 or -errno. */
int launch_measure(const struct launch *launch, uint8_t digest[BULKHEAD_MEASUREMENT_BYTES]);

#endif
