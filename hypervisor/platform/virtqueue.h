/* SPDX-License-Identifier: MIT */
/*
 * The device's side of a split virtqueue (virtio 1.2, section 2.7), over memory accessors.
 *
 * The driver is not trusted: every field is read once into a private copy and checked before use. Loops, lengths
 * that wrap, rings that outgrow their size and addresses outside memory all end in VIRTQUEUE_BROKEN, after which the
 * queue does nothing until it is reset.
 */
#ifndef BULKHEAD_PLATFORM_VIRTQUEUE_H
#define BULKHEAD_PLATFORM_VIRTQUEUE_H

#include "memory.h"

/** Longest queue offered to a driver. */
#define VIRTQUEUE_SIZE_MAX 128u

/** Segments of one chain, at most: those of an indirect table or of the ring. */
#define VIRTQUEUE_SEGMENTS_MAX 128u

enum virtqueue_result {
	VIRTQUEUE_EMPTY = 0,  /**< nothing to do */
	VIRTQUEUE_CHAIN = 1,  /**< a chain was taken */
	VIRTQUEUE_BROKEN = 2, /**< the driver broke the rules; only a reset helps */
};

/** One piece of a request's memory in the guest. */
struct virtqueue_segment {
	uint64_t address;
	uint32_t size_bytes;
	bool device_writes; /**< else the device reads it */
};

/** One request: its pieces, those the device reads first. */
struct virtqueue_chain {
	uint16_t head; /**< what virtqueue_complete() wants back */
	uint16_t segment_count;
	uint16_t descriptor_count; /**< looked at: what taking it cost */
	uint32_t read_bytes, write_bytes; /**< sums over the segments */
	struct virtqueue_segment segments[VIRTQUEUE_SEGMENTS_MAX];
};

struct virtqueue {
	struct memory *memory;
	uint64_t descriptors, available, used; /**< addresses in memory, as the driver set them */
	uint16_t size;			       /**< entries, a power of two */
	uint16_t available_seen;	       /**< next entry of the available ring to take */
	uint16_t used_written;		       /**< next entry of the used ring to write */
	uint16_t used_signalled;	       /**< used_written when the driver was last told */
	bool event_index;		       /**< VIRTIO_F_EVENT_IDX was negotiated */
	bool ready, broken;
};

/**
 * Starts a queue with the addresses and size a driver has set.
 * Returns false (queue stays off) if the size is no power of two up to VIRTQUEUE_SIZE_MAX or an address is not
 * aligned as section 2.7 demands (16, 2 and 4 bytes).
 */
bool virtqueue_start(struct virtqueue *queue, struct memory *memory, uint16_t size, uint64_t descriptors,
		     uint64_t available, uint64_t used, bool event_index);

/** Takes the next request. Looks at no more than VIRTQUEUE_SEGMENTS_MAX + 1 descriptors. */
enum virtqueue_result virtqueue_take(struct virtqueue *queue, struct virtqueue_chain *chain);

/**
 * Gives a request back.
 * @head: from the chain
 * @written_bytes: how much of its writable segments was filled, from their start
 * @interrupt: set to whether the driver wants to be told (2.7.7, 2.7.10); not cleared
 * Returns false if the queue is broken (also by this).
 */
bool virtqueue_complete(struct virtqueue *queue, uint16_t head, uint32_t written_bytes, bool *interrupt);

/**
 * Asks the driver to notify at the next request, or (@wanted false) to save itself the notification.
 * Returns true if requests are there already, which a driver may not notify again.
 */
bool virtqueue_want_notify(struct virtqueue *queue, bool wanted);

/**
 * Whether the ring, which was found empty, needs no further look: it is still empty and the driver will say when it is not,
 * or it is broken. A driver that uses the event index says so only for the entry that was asked for.
 */
bool virtqueue_is_drained(struct virtqueue *queue);

#endif
