/* SPDX-License-Identifier: MIT */
/*
 * What tests ask of a relay's state.
 */
#ifndef RELAY_PARTS_H
#define RELAY_PARTS_H

#include "relay.h"

/** Requests the backend has now. */
static inline unsigned int relay_in_flight(const struct relay_queue *queue)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < RELAY_DESCRIPTORS; i++)
		count += queue->is_head[i];
	return count;
}

#endif
