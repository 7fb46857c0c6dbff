/* SPDX-License-Identifier: MIT */
/*
 * The virtio balloon (virtio 1.2, 5.5), served by the platform itself: no backend. Pages that the guest's driver puts into
 * it are given up. What it takes out is completed when there are pages again, cleared: devices may write there before the
 * guest's processors do.
 *
 * The driver is not trusted: what it names is read once, and whether a page can be given up is for the memory's owner to
 * say. One that cannot is left as it is.
 */
#ifndef BULKHEAD_PLATFORM_BALLOON_H
#define BULKHEAD_PLATFORM_BALLOON_H

#include "virtqueue.h"

#define BALLOON_TYPE	     5u
#define BALLOON_QUEUES	     2u /* inflate, deflate */
#define BALLOON_CONFIG_BYTES 8u /* pages wanted; pages the driver has put in, which it writes */
#define BALLOON_STEP_PAGES   16u /* given up by one step */

/** What a step did. */
struct balloon_step {
	uint64_t given_up[BALLOON_STEP_PAGES]; /**< addresses */
	uint64_t wanted[BALLOON_STEP_PAGES];   /**< addresses to be filled before the next step */
	uint32_t given_up_count, wanted_count;
	uint32_t left; /**< pages and requests that it may still look at */
	bool interrupt[BALLOON_QUEUES]; /**< requests of the queue were completed and the driver wants to know */
	bool more;			/**< stopped with work left: call again */
	bool needs_table;		/**< and the guest has to have a page table paid for it first */
	bool guest_broken;
};

struct balloon {
	struct virtqueue queues[BALLOON_QUEUES];
	struct virtqueue_chain chain; /**< taken and not all done, if chain_waits */
	bool chain_waits;
	uint8_t chain_queue;
	uint32_t done_pages; /**< of the chain */
};

void balloon_reset(struct balloon *balloon);

/** Goes on with what the driver asked for, as far as one step goes. */
void balloon_serve(struct balloon *balloon, struct balloon_step *step);

#endif
