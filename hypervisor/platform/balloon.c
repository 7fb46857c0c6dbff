/* SPDX-License-Identifier: MIT */
/*
 * Serves the balloon's two queues; see balloon.h.
 */
#include "balloon.h"

#include <stddef.h>

enum { INFLATE = 0, DEFLATE = 1 }; /* queues */

/* A request names pages of 4096 bytes by 32-bit numbers, in what the device reads (5.5.6). */
#define NUMBER_BYTES 4u
#define PAGE_SHIFT   12u

void balloon_reset(struct balloon *balloon)
{
	*balloon = (struct balloon){ 0 };
}

/** Reads the number of page @index of the waiting request. Returns false if it cannot be read. */
static bool read_number(const struct balloon *balloon, uint32_t index, uint32_t *number)
{
	const struct virtqueue_chain *chain = &balloon->chain;
	uint64_t offset = (uint64_t)index * NUMBER_BYTES;

	for (unsigned int i = 0; i < chain->segment_count; i++) {
		const struct virtqueue_segment *segment = &chain->segments[i];

		/* A number that two segments share is one that no driver makes. */
		if (offset < segment->size_bytes)
			return segment->size_bytes - offset >= NUMBER_BYTES &&
			       memory_read(balloon->queues[0].memory, segment->address + offset, number, NUMBER_BYTES);
		offset -= segment->size_bytes;
	}
	return false;
}

/** Whether the step may look at one more page or request. */
static bool may_go_on(struct balloon_step *step)
{
	if (step->left == 0) {
		step->more = true;
		return false;
	}
	step->left--;
	return true;
}

/** Does what the waiting request asks for with one of its pages. Returns false when it has to wait there. */
static bool serve_page(const struct balloon *balloon, uint64_t address, struct balloon_step *step)
{
	struct memory *memory = balloon->queues[0].memory;

	if (balloon->chain_queue == DEFLATE) {
		if (!memory_is_empty(memory, address))
			return true;
		step->wanted[step->wanted_count++] = address;
		return false;
	}
	switch (memory_give_up(memory, address)) {
	case MEMORY_GIVEN:
		step->given_up[step->given_up_count++] = address;
		return true;
	case MEMORY_NEEDS_TABLE:
		step->needs_table = true;
		return false;
	default:
		return true;
	}
}

/** Goes on with the waiting request. Returns false when the step ends before. */
static bool serve_request(struct balloon *balloon, struct balloon_step *step)
{
	uint32_t page_count = balloon->chain.read_bytes / NUMBER_BYTES, number;
	bool waits = false;

	/* What is wanted is asked for all at once, as far as the step goes. */
	for (uint32_t at = balloon->done_pages; at < page_count && may_go_on(step) && !step->needs_table; at++) {
		if (!read_number(balloon, at, &number)) {
			balloon->queues[balloon->chain_queue].broken = true;
			return false;
		}
		waits |= !serve_page(balloon, (uint64_t)number << PAGE_SHIFT, step);
		if (!waits)
			balloon->done_pages++;
	}
	step->more |= balloon->done_pages < page_count;
	return balloon->done_pages == page_count;
}

/** Takes the next request of a queue, if one is there. */
static bool take(struct balloon *balloon, uint8_t number, struct balloon_step *step)
{
	struct virtqueue *queue = &balloon->queues[number];

	for (;;) {
		if (!queue->ready || queue->broken || !may_go_on(step))
			return false;
		if (virtqueue_take(queue, &balloon->chain) == VIRTQUEUE_CHAIN)
			break;
		if (virtqueue_is_drained(queue))
			return false;
	}
	/* Looking at many descriptors is work as well. */
	step->left -= step->left < balloon->chain.descriptor_count / 8u ? step->left : balloon->chain.descriptor_count / 8u;
	balloon->chain_waits = true;
	balloon->chain_queue = number;
	balloon->done_pages = 0;
	return true;
}

void balloon_serve(struct balloon *balloon, struct balloon_step *step)
{
	*step = (struct balloon_step){ .left = BALLOON_STEP_PAGES };
	while (balloon->chain_waits || take(balloon, INFLATE, step) || take(balloon, DEFLATE, step)) {
		if (!serve_request(balloon, step))
			break;
		balloon->chain_waits = false;
		(void)virtqueue_complete(&balloon->queues[balloon->chain_queue], balloon->chain.head, 0,
					 &step->interrupt[balloon->chain_queue]);
	}
	step->guest_broken = balloon->queues[INFLATE].broken || balloon->queues[DEFLATE].broken;
	step->more &= !step->guest_broken;
}
