/* SPDX-License-Identifier: MIT */
/*
 * The virtio relay: between a protected guest's virtqueue and a backend that cannot see the guest's memory.
 *
 * For each queue the relay drives a second, ordinary split virtqueue in a relay area, pages that the backend maps.
 * It takes requests from the guest's ring, copies what the device reads into the relay area, and copies what the
 * device wrote back. Descriptor i of the relay ring always begins at page i of the area, so the relay keeps nothing but
 * a list of free descriptors; whole pages that lie there in a row go out as one. And it never reads back from the area
 * what it wrote there: it remembers.
 *
 * Neither side is trusted. The guest may write anything into its rings; the backend may write anything into the area
 * at any moment. The most either can do is to break its own queue. Work is bounded: a call copies at most
 * @budget_bytes and goes on where it stopped; a request waits in the guest's ring while the area is full.
 *
 * Without a backend, until the driver resets the device, a queue is lost: requests that only give something are taken, and
 * what they give is lost; those that ask for something get no answer. See relay_lost.h.
 */
#ifndef BULKHEAD_PLATFORM_RELAY_H
#define BULKHEAD_PLATFORM_RELAY_H

#include "relay_split.h"
#include "virtqueue.h"

/** Descriptors of a relay ring, and payload pages of its area. */
#define RELAY_DESCRIPTORS 256u

#define RELAY_PAGE_BYTES 4096u

/* Layout of a queue's relay area, in bytes from its start. */
#define RELAY_DESCRIPTOR_TABLE 0u     /**< 256 × 16 */
#define RELAY_AVAILABLE_RING   4096u  /**< 4 + 256 × 2 + 2 */
#define RELAY_USED_RING	       8192u  /**< 4 + 256 × 8 + 2 */
#define RELAY_PAYLOAD	       12288u /**< 256 pages */
#define RELAY_AREA_BYTES       (RELAY_PAYLOAD + RELAY_DESCRIPTORS * RELAY_PAGE_BYTES)

/** What a call found to do for others. */
struct relay_effects {
	bool notify_backend;  /**< requests were added: kick its eventfd */
	bool interrupt_guest; /**< requests were completed and the driver wants to know */
	bool more;	      /**< stopped at the budget: call again */
	bool guest_broken;    /**< the guest's ring is broken: set DEVICE_NEEDS_RESET */
	bool backend_broken;  /**< the backend broke the rules: the device needs a reset and a new backend */
};

/** What the relay remembers about one relay descriptor in use. */
struct relay_piece {
	uint64_t guest_address;
	uint16_t size_bytes; /**< 1 .. 4096 */
	uint16_t next;	     /**< RELAY_DESCRIPTORS ends the chain or the free list */
	bool device_writes;
	bool is_continuation; /**< the descriptor of the piece before it names this one too */
};

/** State of one queue. Private to the hypervisor; about 10 KiB. Treat as opaque. */
struct relay_queue {
	struct virtqueue guest;
	struct memory *area;
	uint64_t area_base; /**< address of the queue's area in @area */

	struct relay_piece pieces[RELAY_DESCRIPTORS];
	uint16_t head_of[RELAY_DESCRIPTORS]; /**< guest's head, by relay head */
	bool is_head[RELAY_DESCRIPTORS];     /**< relay heads the backend has */
	uint16_t free_first, free_count;
	uint16_t available_written, used_seen;

	/* A request taken from the guest, not all copied yet. */
	struct virtqueue_chain chain; /**< taken, waits for free descriptors (chain_waits) */
	bool chain_waits;
	struct relay_split split; /**< of the waiting chain, if it is too large to be sent as a whole */
	uint16_t sending_head, sending_at; /**< RELAY_DESCRIPTORS: none */

	/* A request the backend completed, not all copied back yet. */
	uint16_t returning_head, returning_at; /**< RELAY_DESCRIPTORS: none */
	uint32_t returning_total, returning_left;

	bool is_disk;
	bool backend_broken;
	bool is_lost;
	uint16_t lost_next; /**< descriptor from which on requests that the backend had are looked at; while it is lost */
};

/**
 * Starts relaying a queue that the guest's driver has set up.
 * @guest: a started virtqueue; copied
 * @is_disk: its requests are a disk's, and are split if they are larger than the area
 * @area, @area_base: RELAY_AREA_BYTES there belong to this queue; the rings in it are cleared
 * Returns false if the area is not all there.
 */
bool relay_start(struct relay_queue *queue, const struct virtqueue *guest, bool is_disk, struct memory *area,
		 uint64_t area_base);

/** Stops relaying: requests in flight are forgotten, as a device reset demands. */
void relay_stop(struct relay_queue *queue);

/** The backend is gone, or not to be spoken to again: nothing is read from the area or written to it any more. */
void relay_lose(struct relay_queue *queue);

/**
 * Moves requests from the guest to the backend, copying at most @budget_bytes (at least 4096). Of a lost queue it gives
 * those back that only give something.
 */
void relay_forward(struct relay_queue *queue, uint32_t budget_bytes, struct relay_effects *effects);

/** Moves completions from the backend to the guest, copying at most @budget_bytes (at least 4096). */
void relay_return(struct relay_queue *queue, uint32_t budget_bytes, struct relay_effects *effects);

#endif
