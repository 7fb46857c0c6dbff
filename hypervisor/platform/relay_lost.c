/* SPDX-License-Identifier: MIT */
/*
 * Gives requests of a queue without a backend back; see relay_lost.h.
 */
#include "relay_lost.h"

void relay_lose(struct relay_queue *queue)
{
	if (queue->is_lost)
		return;
	queue->is_lost = true;
	queue->lost_next = 0;
	/* The backend never saw it, but as far as the guest knows it has it. */
	if (queue->sending_head != RELAY_NONE)
		queue->is_head[queue->sending_head] = true;
}

/** Whether the backend was to write nothing of the request that begins at a relay descriptor. */
static bool only_gives(const struct relay_queue *queue, uint16_t head)
{
	while (!queue->pieces[head].device_writes && queue->pieces[head].next != RELAY_NONE)
		head = queue->pieces[head].next;
	return !queue->pieces[head].device_writes;
}

/** Looks at the next request that was taken before the queue was lost. Returns whether it is to be given back. */
static bool next_taken(struct relay_queue *queue, uint16_t *head)
{
	uint16_t at;

	while (queue->lost_next < RELAY_DESCRIPTORS && !queue->is_head[queue->lost_next])
		queue->lost_next++;
	at = queue->lost_next++;
	if (at == RELAY_DESCRIPTORS) { /* the one that waits for room comes last */
		*head = queue->chain.head;
		return queue->chain_waits && queue->chain.write_bytes == 0;
	}
	*head = queue->head_of[at];
	return only_gives(queue, at);
}

void relay_discard(struct relay_queue *queue, uint32_t budget_bytes, struct relay_effects *effects)
{
	struct virtqueue *guest = &queue->guest;

	for (; !guest->broken; relay_spend(&budget_bytes, RELAY_LOOK_BYTES)) {
		bool is_given;
		uint16_t head;

		if (budget_bytes < RELAY_PAGE_BYTES) {
			effects->more = true;
			break;
		}
		if (queue->lost_next <= RELAY_DESCRIPTORS) {
			is_given = next_taken(queue, &head);
		} else if (virtqueue_take(guest, &queue->chain) == VIRTQUEUE_CHAIN) {
			relay_spend(&budget_bytes, queue->chain.descriptor_count * RELAY_LOOK_BYTES);
			head = queue->chain.head;
			is_given = queue->chain.write_bytes == 0;
		} else if (virtqueue_is_drained(guest)) {
			break;
		} else {
			continue;
		}
		if (!is_given)
			continue;
		relay_spend(&budget_bytes, RELAY_STEP_BYTES);
		(void)virtqueue_complete(guest, head, 0, &effects->interrupt_guest);
	}
	effects->guest_broken |= guest->broken;
}
