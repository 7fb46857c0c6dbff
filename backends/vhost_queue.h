/*
 * A split virtqueue (virtio 1.1, 2.6) as a device sees it. The guest may write anything into it at any time: every field
 * is read once, checked, then used; a queue that makes no sense is stopped, never followed.
 */
#ifndef BULKHEAD_BACKENDS_VHOST_QUEUE_H
#define BULKHEAD_BACKENDS_VHOST_QUEUE_H

#include "vhost_memory.h"

#include <stdbool.h>
#include <sys/uio.h>

#define VHOST_QUEUE_SIZE_MAX 1024u
#define VHOST_CHAIN_MAX	     1024u

/** One request: what the guest wrote for the device, and where the device may write. */
struct vhost_request {
	uint16_t head;
	unsigned int queue; /**< its number; set by whoever runs the queue */
	unsigned int out_count, in_count;
	uint64_t out_bytes, in_bytes;
	struct iovec *out, *in; /**< in @segments; point into the guest's memory */
	struct iovec segments[VHOST_CHAIN_MAX];
};

/** Record of what is in flight (vhost-user, inflight descriptors of split queues); survives in the front-end's hands. */
struct vhost_inflight_entry {
	uint8_t inflight, padding[5];
	uint16_t next;
	uint64_t counter;
};

struct vhost_inflight {
	uint64_t features;
	uint16_t version, size, last_batch_head, used_index;
	struct vhost_inflight_entry entries[];
};
_Static_assert(sizeof(struct vhost_inflight) == 16 && sizeof(struct vhost_inflight_entry) == 16, "shared");

struct vring_desc;
struct vring_avail;
struct vring_used;

struct vhost_queue {
	uint32_t size;				     /**< entries; a power of two; 0: not set */
	uint64_t desc_user, used_user, avail_user;   /**< where the front-end says the rings are */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t last_avail, used_index, signalled;  /**< free-running */
	bool event_index, signalled_valid;
	struct vhost_inflight *inflight;	     /**< NULL: not kept */
	uint64_t inflight_counter;
	uint16_t resubmit[VHOST_QUEUE_SIZE_MAX];     /**< heads to serve again after a restart */
	unsigned int resubmit_count, resubmit_next;
	bool broken;
};

/**
 * Finds the rings in memory and starts at @queue->last_avail, or where the record of what is in flight says.
 * Returns 0, or -EFAULT if they do not lie in memory or are not aligned.
 */
int vhost_queue_start(struct vhost_queue *queue, const struct vhost_memory *memory);

/**
 * Takes the next request. Returns 1, 0 if there is none (the guest will then notify), or -EPROTO: the queue is broken.
 */
int vhost_queue_pop(struct vhost_queue *queue, const struct vhost_memory *memory, struct vhost_request *request);

/** Whether another request waits. */
bool vhost_queue_has_more(const struct vhost_queue *queue);

/** Gives a request back. Returns whether the guest wants to be notified. */
bool vhost_queue_push(struct vhost_queue *queue, uint16_t head, uint32_t written_bytes);

/** Copies from or to the segments of a request, at @offset. Returns false if they are shorter. */
bool vhost_copy_from(const struct iovec *segments, unsigned int count, uint64_t offset, void *to, size_t bytes);
bool vhost_copy_to(const struct iovec *segments, unsigned int count, uint64_t offset, const void *from, size_t bytes);

/** Bytes of the record of one queue of @size entries, rounded so that the next is aligned. */
size_t vhost_inflight_bytes(uint16_t size);

#endif
