/* SPDX-License-Identifier: MIT */
/*
 * A queue without a backend, until its driver resets the device; and what work on a queue costs.
 *
 * A driver may wait for the device to take what it is given, and let nothing else run meanwhile: Linux's console driver
 * does so for what a console shows, and whenever a program opens or closes a port. And it may never reset a device that
 * asks for it. So requests that only give something are taken, and what they give is lost. Those that ask for something
 * stay unanswered: a disk's write must not look done, and a driver that gets an empty answer asks again at once.
 */
#ifndef BULKHEAD_PLATFORM_RELAY_LOST_H
#define BULKHEAD_PLATFORM_RELAY_LOST_H

#include "relay.h"

#define RELAY_NONE RELAY_DESCRIPTORS

/* What work costs beside the copy, in bytes of the budget: handling a request or one of its pieces, and looking at one of
 * its descriptors, which may have none. */
#define RELAY_STEP_BYTES 2560u
#define RELAY_LOOK_BYTES 320u

static inline void relay_spend(uint32_t *budget_bytes, uint32_t size_bytes)
{
	*budget_bytes -= *budget_bytes < size_bytes ? *budget_bytes : size_bytes;
}

/** Gives back what a lost queue's driver only gave: first what the backend had, then what is in the ring. */
void relay_discard(struct relay_queue *queue, uint32_t budget_bytes, struct relay_effects *effects);

#endif
