/* SPDX-License-Identifier: MIT */
/*
 * Copies requests and completions between a guest's virtqueue and a backend's; see relay.h.
 */
#include "relay_lost.h"

#include <stddef.h>

struct area_descriptor {
	uint64_t address;
	uint32_t size_bytes;
	uint16_t flags;
	uint16_t next;
};

struct area_used {
	uint32_t head;
	uint32_t size_bytes;
};

enum { DESCRIPTOR_NEXT = 1, DESCRIPTOR_WRITE = 2 };
enum { DISK_OK = 0, DISK_ERROR = 1 }; /* virtio 1.2, 5.2.6 */
enum { RING_FLAGS = 0, RING_INDEX = 2, RING_ENTRIES = 4, USED_NO_NOTIFY = 1 };

_Static_assert(sizeof(struct area_descriptor) * RELAY_DESCRIPTORS <= RELAY_AVAILABLE_RING, "tables do not overlap");
_Static_assert(RELAY_AVAILABLE_RING + 6 + 2 * RELAY_DESCRIPTORS <= RELAY_USED_RING, "rings do not overlap");
_Static_assert(RELAY_USED_RING + 6 + 8 * RELAY_DESCRIPTORS <= RELAY_PAYLOAD, "payload lies behind the rings");

static uint64_t payload_of(const struct relay_queue *queue, uint16_t descriptor)
{
	return queue->area_base + RELAY_PAYLOAD + (uint64_t)descriptor * RELAY_PAGE_BYTES;
}

static bool area_write(struct relay_queue *queue, uint32_t offset, const void *from, uint32_t size_bytes)
{
	return memory_write(queue->area, queue->area_base + offset, from, size_bytes);
}

bool relay_start(struct relay_queue *queue, const struct virtqueue *guest, bool is_disk, struct memory *area,
		 uint64_t area_base)
{
	static const uint8_t zeros[512];
	static const struct {
		uint32_t offset, size_bytes;
	} rings[] = {
		{ RELAY_DESCRIPTOR_TABLE, sizeof(struct area_descriptor) * RELAY_DESCRIPTORS },
		{ RELAY_AVAILABLE_RING, 6 + 2 * RELAY_DESCRIPTORS },
		{ RELAY_USED_RING, 6 + 8 * RELAY_DESCRIPTORS },
	};

	*queue = (struct relay_queue){
		.guest = *guest,
		.area = area,
		.area_base = area_base,
		.is_disk = is_disk,
		.free_count = RELAY_DESCRIPTORS,
		.sending_head = RELAY_NONE,
		.returning_head = RELAY_NONE,
	};
	for (uint16_t i = 0; i < RELAY_DESCRIPTORS; i++)
		queue->pieces[i].next = (uint16_t)(i + 1);
	for (unsigned int i = 0; i < sizeof(rings) / sizeof(rings[0]); i++)
		for (uint32_t at = 0; at < rings[i].size_bytes; at += sizeof(zeros))
			if (!area_write(queue, rings[i].offset + at, zeros, sizeof(zeros)))
				return false;
	return area_write(queue, RELAY_AREA_BYTES - sizeof(zeros), zeros, sizeof(zeros));
}

void relay_stop(struct relay_queue *queue)
{
	*queue = (struct relay_queue){ .sending_head = RELAY_NONE, .returning_head = RELAY_NONE };
}

/** In the chain's order, so that pages in a row stay in a row. */
static void free_chain(struct relay_queue *queue, uint16_t head)
{
	uint16_t last = head;

	queue->free_count++;
	for (; queue->pieces[last].next != RELAY_NONE; last = queue->pieces[last].next)
		queue->free_count++;
	queue->pieces[last].next = queue->free_first;
	queue->free_first = head;
}

/** Relay descriptors the waiting request, or its next part, takes: one a page of each segment. */
static uint32_t descriptors_needed(const struct relay_queue *queue)
{
	uint32_t needed = 0, left = RELAY_SPLIT_BYTES;

	for (unsigned int i = 0; i < queue->chain.segment_count; i++) {
		uint32_t share = relay_split_share(&queue->split, &queue->chain, i, &left);

		needed += share / RELAY_PAGE_BYTES + (share % RELAY_PAGE_BYTES != 0);
	}
	return needed;
}

/** Whether one descriptor can name both: a whole page and, behind it in the area, another one of the same direction. */
static bool continues(const struct relay_queue *queue, uint16_t last, uint16_t index, const struct relay_piece *piece)
{
	const struct relay_piece *before = &queue->pieces[last];

	return last != RELAY_NONE && index == last + 1 && before->size_bytes == RELAY_PAGE_BYTES &&
	       piece->size_bytes == RELAY_PAGE_BYTES && before->device_writes == piece->device_writes;
}

/** Lays the waiting request, or its next part, out over free descriptors. There are enough. Returns the first. */
static uint16_t build_chain(struct relay_queue *queue)
{
	const struct virtqueue_chain *chain = &queue->chain;
	uint16_t first = queue->free_first, last = RELAY_NONE;
	uint32_t part_left = RELAY_SPLIT_BYTES;

	for (unsigned int i = 0; i < chain->segment_count; i++) {
		const struct virtqueue_segment *segment = &chain->segments[i];
		uint32_t share = relay_split_share(&queue->split, chain, i, &part_left);

		for (uint32_t done = 0; done < share;) {
			uint32_t left = share - done;
			uint16_t size = (uint16_t)(left < RELAY_PAGE_BYTES ? left : RELAY_PAGE_BYTES);
			uint16_t index = queue->free_first;
			struct relay_piece *piece = &queue->pieces[index];

			queue->free_first = piece->next;
			queue->free_count--;
			*piece = (struct relay_piece){
				.guest_address = segment->address + done,
				.size_bytes = size,
				.next = queue->free_first,
				.device_writes = segment->device_writes,
			};
			piece->is_continuation = continues(queue, last, index, piece);
			last = index;
			done += size;
		}
	}
	queue->pieces[last].next = RELAY_NONE;
	queue->head_of[first] = chain->head;
	queue->split.head = first;
	queue->split.status = last;
	queue->split.part_bytes = RELAY_SPLIT_BYTES - part_left;
	return first;
}

/** Writes the descriptor of a piece and of those that continue it. */
static bool write_descriptor(struct relay_queue *queue, uint16_t index)
{
	const struct relay_piece *piece = &queue->pieces[index];
	struct area_descriptor descriptor = {
		.address = payload_of(queue, index),
		.size_bytes = piece->size_bytes,
		.flags = piece->device_writes ? DESCRIPTOR_WRITE : 0,
	};
	uint16_t next = piece->next;

	for (; next != RELAY_NONE && queue->pieces[next].is_continuation; next = queue->pieces[next].next)
		descriptor.size_bytes += RELAY_PAGE_BYTES;
	if (next != RELAY_NONE) {
		descriptor.flags |= DESCRIPTOR_NEXT;
		descriptor.next = next;
	}
	return area_write(queue, RELAY_DESCRIPTOR_TABLE + 16u * index, &descriptor, sizeof(descriptor));
}

/** Puts the request at @head into the available ring. */
static bool publish(struct relay_queue *queue, uint16_t head)
{
	uint32_t slot = queue->available_written & (RELAY_DESCRIPTORS - 1);

	if (!area_write(queue, RELAY_AVAILABLE_RING + RING_ENTRIES + 2 * slot, &head, sizeof(head)))
		return false;
	memory_barrier(); /* the entry before the index */
	queue->available_written++;
	queue->is_head[head] = true;
	return area_write(queue, RELAY_AVAILABLE_RING + RING_INDEX, &queue->available_written,
			  sizeof(queue->available_written));
}

/** Whether the backend wants to be kicked (2.7.10: a hint; a wrong answer costs the backend only itself). */
static bool backend_wants_kick(struct relay_queue *queue)
{
	uint16_t flags;

	memory_barrier(); /* the index before the look */
	return !memory_read(queue->area, queue->area_base + RELAY_USED_RING + RING_FLAGS, &flags, sizeof(flags)) ||
	       !(flags & USED_NO_NOTIFY);
}

/** Copies what the backend is to read of a piece into the area. */
static void send_piece(struct relay_queue *queue, const struct relay_piece *piece)
{
	uint64_t payload = payload_of(queue, queue->sending_at);

	/* The header of a part is ours: what the guest's said was read once. */
	if (queue->split.active && queue->sending_at == queue->split.head)
		queue->backend_broken |= !memory_write(queue->area, payload, &queue->split.header, piece->size_bytes);
	else
		queue->guest.broken |= !memory_copy(queue->area, payload, queue->guest.memory, piece->guest_address,
						    piece->size_bytes);
}

/** Copies the rest of the request being sent. Returns false when the budget ends or the guest is at fault. */
static bool send_pieces(struct relay_queue *queue, uint32_t *budget_bytes, struct relay_effects *effects)
{
	while (queue->sending_at != RELAY_NONE) {
		const struct relay_piece *piece = &queue->pieces[queue->sending_at];

		if (*budget_bytes < RELAY_PAGE_BYTES) {
			effects->more = true;
			return false;
		}
		relay_spend(budget_bytes, RELAY_STEP_BYTES);
		if (!piece->device_writes) {
			relay_spend(budget_bytes, piece->size_bytes);
			send_piece(queue, piece);
			if (queue->guest.broken || queue->backend_broken)
				return false;
		}
		if (!piece->is_continuation && !write_descriptor(queue, queue->sending_at)) {
			queue->backend_broken = true;
			return false;
		}
		queue->sending_at = piece->next;
	}
	return true;
}

/** Takes the next request out of the guest's ring. Returns whether there is one. */
static bool take_request(struct relay_queue *queue, uint32_t *budget_bytes)
{
	if (virtqueue_take(&queue->guest, &queue->chain) != VIRTQUEUE_CHAIN)
		return false;
	queue->chain_waits = true;
	relay_spend(budget_bytes, queue->chain.descriptor_count * RELAY_LOOK_BYTES);
	return true;
}

/** Begins with the request that waits, or its next part, if that fits. Returns whether it is being sent. */
static bool begin_request(struct relay_queue *queue, uint32_t *budget_bytes)
{
	uint32_t needed;

	if (queue->split.in_flight)
		return false;
	if (queue->split.active) /* each part looks at all of them again */
		relay_spend(budget_bytes, queue->chain.descriptor_count * RELAY_LOOK_BYTES);
	needed = descriptors_needed(queue);
	if (needed > RELAY_DESCRIPTORS && queue->is_disk &&
	    relay_split_begin(&queue->split, &queue->chain, queue->guest.memory))
		needed = descriptors_needed(queue);
	/* A request without any memory, or otherwise larger than the whole area, is one no driver of ours makes. */
	if (needed == 0 || needed > RELAY_DESCRIPTORS) {
		queue->guest.broken = true;
		return false;
	}
	if (needed > queue->free_count)
		return false;
	queue->chain_waits = queue->split.in_flight = queue->split.active;
	queue->sending_head = queue->sending_at = build_chain(queue);
	return true;
}

void relay_forward(struct relay_queue *queue, uint32_t budget_bytes, struct relay_effects *effects)
{
	bool published = false;

	if (!queue->guest.ready)
		return;
	if (queue->is_lost) {
		relay_discard(queue, budget_bytes, effects);
		return;
	}
	while (!queue->backend_broken && !queue->guest.broken) {
		bool is_sending = queue->sending_head != RELAY_NONE;

		if (!is_sending && budget_bytes < RELAY_PAGE_BYTES) {
			effects->more = true;
			break;
		}
		if (!is_sending && !queue->chain_waits) {
			if (!take_request(queue, &budget_bytes)) {
				if (virtqueue_is_drained(&queue->guest))
					break;
				relay_spend(&budget_bytes, RELAY_LOOK_BYTES); /* a driver may say again and again that there is one */
			}
			continue; /* a long one may have cost too much to begin with it now */
		}
		if (!is_sending && !begin_request(queue, &budget_bytes))
			break;
		if (!send_pieces(queue, &budget_bytes, effects))
			break;
		if (!publish(queue, queue->sending_head))
			queue->backend_broken = true;
		queue->sending_head = RELAY_NONE;
		published = true;
		relay_spend(&budget_bytes, RELAY_STEP_BYTES);
	}
	effects->notify_backend |= published && backend_wants_kick(queue);
	effects->guest_broken |= queue->guest.broken;
	effects->backend_broken |= queue->backend_broken;
}

/** Reads the next completion and checks it. Returns whether one is being returned. */
static bool take_completion(struct relay_queue *queue)
{
	uint16_t index;
	struct area_used entry;
	uint32_t writable = 0;
	uint64_t ring = queue->area_base + RELAY_USED_RING;

	if (!memory_read(queue->area, ring + RING_INDEX, &index, sizeof(index)))
		goto lies;
	if (index == queue->used_seen)
		return false;
	memory_barrier(); /* the entry was written before the index */
	if (!memory_read(queue->area, ring + RING_ENTRIES + 8ull * (queue->used_seen & (RELAY_DESCRIPTORS - 1)),
			 &entry, sizeof(entry)))
		goto lies;
	if (entry.head >= RELAY_DESCRIPTORS || !queue->is_head[entry.head])
		goto lies;
	for (uint16_t at = (uint16_t)entry.head; at != RELAY_NONE; at = queue->pieces[at].next)
		if (queue->pieces[at].device_writes)
			writable += queue->pieces[at].size_bytes;
	if (entry.size_bytes > writable)
		goto lies;
	queue->used_seen++;
	queue->is_head[entry.head] = false;
	queue->returning_head = queue->returning_at = (uint16_t)entry.head;
	queue->returning_total = queue->returning_left = entry.size_bytes;
	return true;
lies:
	queue->backend_broken = true;
	return false;
}

/** Whether what the backend gave back is a part of a larger request. */
static bool is_part(const struct relay_queue *queue)
{
	return queue->split.in_flight && queue->returning_head == queue->split.head;
}

/** Goes on with the request of which a part came back, or gives the guest its status. */
static void end_part(struct relay_queue *queue, struct relay_effects *effects)
{
	struct relay_split *split = &queue->split;
	uint8_t status = DISK_ERROR;

	split->in_flight = false;
	if (queue->returning_total == relay_split_writable(split) &&
	    !memory_read(queue->area, payload_of(queue, split->status), &status, sizeof(status)))
		queue->backend_broken = true;
	if (queue->backend_broken || (status == DISK_OK && relay_split_advance(split, &queue->chain)))
		return;
	split->active = queue->chain_waits = false;
	if (!memory_write(queue->guest.memory, queue->pieces[split->status].guest_address, &status, sizeof(status)))
		queue->guest.broken = true;
	else
		(void)virtqueue_complete(&queue->guest, queue->head_of[split->head],
					 split->returned_bytes + (uint32_t)sizeof(status), &effects->interrupt_guest);
}

/** Copies the rest of the completion to the guest. Returns false when the budget ends or the guest is at fault. */
static bool return_pieces(struct relay_queue *queue, uint32_t *budget_bytes, struct relay_effects *effects)
{
	while (queue->returning_at != RELAY_NONE && queue->returning_left) {
		const struct relay_piece *piece = &queue->pieces[queue->returning_at];
		uint32_t size = piece->size_bytes;

		if (piece->device_writes && !(is_part(queue) && queue->returning_at == queue->split.status)) {
			if (size > queue->returning_left)
				size = queue->returning_left;
			if (*budget_bytes < RELAY_PAGE_BYTES) {
				effects->more = true;
				return false;
			}
			relay_spend(budget_bytes, size + RELAY_STEP_BYTES);
			if (!memory_copy(queue->guest.memory, piece->guest_address, queue->area,
					 payload_of(queue, queue->returning_at), size)) {
				queue->guest.broken = true;
				return false;
			}
			queue->returning_left -= size;
		}
		queue->returning_at = piece->next;
	}
	return true;
}

void relay_return(struct relay_queue *queue, uint32_t budget_bytes, struct relay_effects *effects)
{
	if (!queue->guest.ready || queue->is_lost)
		return;
	while (!queue->backend_broken && !queue->guest.broken) {
		if (queue->returning_head == RELAY_NONE) {
			if (budget_bytes < RELAY_PAGE_BYTES) {
				effects->more = true;
				break;
			}
			if (!take_completion(queue))
				break;
		}
		if (!return_pieces(queue, &budget_bytes, effects))
			break;
		if (is_part(queue)) {
			relay_spend(&budget_bytes, queue->chain.descriptor_count * RELAY_LOOK_BYTES);
			end_part(queue, effects);
		} else {
			(void)virtqueue_complete(&queue->guest, queue->head_of[queue->returning_head],
						 queue->returning_total, &effects->interrupt_guest);
		}
		free_chain(queue, queue->returning_head);
		queue->returning_head = RELAY_NONE;
		relay_spend(&budget_bytes, RELAY_STEP_BYTES);
	}
	effects->guest_broken |= queue->guest.broken;
	effects->backend_broken |= queue->backend_broken;
}
