/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A guest's platform as the driver describes it to the hypervisor: devices, relay areas, events. The calls that use
 * these structures are BULKHEAD_CALL_PLATFORM_*; docs/hypercalls.md describes them.
 */
#ifndef BULKHEAD_PLATFORM_H
#define BULKHEAD_PLATFORM_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/build_bug.h>
#else
#include <assert.h>
#include <stdint.h>
#endif

#define BULKHEAD_DEVICES_MAX	     8u /* of one guest */
#define BULKHEAD_QUEUES_MAX	     8u /* of one device */
#define BULKHEAD_DEVICE_CONFIG_BYTES 256u

/* A queue's relay area: descriptor table, available ring, used ring, each on a page, then 256 payload pages. */
#define BULKHEAD_RELAY_PAGES	  259u
#define BULKHEAD_RELAY_AREA_BYTES (BULKHEAD_RELAY_PAGES * 4096u)

/** What a virtio device is. Measured: the guest's descriptor names it. */
struct bulkhead_device_description {
	uint32_t type;	     /* virtio device id (virtio 1.2, section 5) */
	uint32_t class_code; /* PCI: class << 16 | subclass << 8 | interface */
	uint64_t features;   /* offered besides VERSION_1 */
	uint32_t queue_count;
	uint32_t queue_size_max;	/* a power of two, at most 128 */
	uint32_t config_bytes;		/* at most BULKHEAD_DEVICE_CONFIG_BYTES */
	uint32_t config_writable_bytes; /* of these, the first ones a driver may write */
};

/** What a guest's driver did with a device. */
enum bulkhead_device_event {
	BULKHEAD_DEVICE_START = 1, /* features and queues are final: start the backend on the relay areas */
	BULKHEAD_DEVICE_RESET = 2, /* stop the backend, then PLATFORM_RELEASE */
};

/*
 * Value of the calls that may give others something to do. Bits 15:0: vCPUs to wake or to take out of their run.
 * Bit 16: the backend of the queue has work, signal its kick event.
 */
#define BULKHEAD_EFFECT_VCPUS	     0xffffull
#define BULKHEAD_EFFECT_KICK_BACKEND (1ull << 16)

static_assert(sizeof(struct bulkhead_device_description) == 32, "ABI");

#endif
