/* SPDX-License-Identifier: MIT */
/*
 * Reads requests from a guest's split virtqueue and writes completions; see virtqueue.h.
 */
#include "virtqueue.h"

#include <stddef.h>

/* Virtio 1.2, 2.7.5, 2.7.6, 2.7.8. All fields are little endian, as is every machine Bulkhead runs on. */
struct ring_descriptor {
	uint64_t address;
	uint32_t size_bytes;
	uint16_t flags;
	uint16_t next;
};

struct ring_used {
	uint32_t head;
	uint32_t size_bytes;
};

enum { DESCRIPTOR_NEXT = 1, DESCRIPTOR_WRITE = 2, DESCRIPTOR_INDIRECT = 4 };
enum { AVAILABLE_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };
enum { RING_FLAGS = 0, RING_INDEX = 2, RING_ENTRIES = 4 };

#define WINDOW_DESCRIPTORS 16u /* of a table, that are read before it is known that a chain jumps about in it */

_Static_assert(sizeof(struct ring_descriptor) == 16, "virtio 1.2, 2.7.5");
_Static_assert(sizeof(struct ring_used) == 8, "virtio 1.2, 2.7.8");

static enum virtqueue_result broken(struct virtqueue *queue)
{
	queue->broken = true;
	return VIRTQUEUE_BROKEN;
}

static bool read16(struct virtqueue *queue, uint64_t address, uint16_t *value)
{
	return memory_read(queue->memory, address, value, sizeof(*value));
}

static bool write16(struct virtqueue *queue, uint64_t address, uint16_t value)
{
	return memory_write(queue->memory, address, &value, sizeof(value));
}

/** Address of used_event (after the available ring) or avail_event (after the used ring), 2.7.7 and 2.7.10. */
static uint64_t used_event(const struct virtqueue *queue)
{
	return queue->available + RING_ENTRIES + 2ull * queue->size;
}

static uint64_t available_event(const struct virtqueue *queue)
{
	return queue->used + RING_ENTRIES + sizeof(struct ring_used) * queue->size;
}

bool virtqueue_start(struct virtqueue *queue, struct memory *memory, uint16_t size, uint64_t descriptors,
		     uint64_t available, uint64_t used, bool event_index)
{
	/* So high that no sum below can wrap. */
	const uint64_t limit = 1ull << 52;

	if (size == 0 || size > VIRTQUEUE_SIZE_MAX || (size & (size - 1)))
		return false;
	if (descriptors % 16 || available % 2 || used % 4)
		return false;
	if (descriptors >= limit || available >= limit || used >= limit)
		return false;
	*queue = (struct virtqueue){
		.memory = memory,
		.descriptors = descriptors,
		.available = available,
		.used = used,
		.size = size,
		.event_index = event_index,
		.ready = true,
	};
	return true;
}

/** Adds one descriptor to the chain. Returns false if it may not stand there. */
static bool add_segment(struct virtqueue_chain *chain, const struct ring_descriptor *descriptor)
{
	bool writes = descriptor->flags & DESCRIPTOR_WRITE;
	uint32_t *sum = writes ? &chain->write_bytes : &chain->read_bytes;

	if (chain->segment_count == VIRTQUEUE_SEGMENTS_MAX)
		return false;
	/* 2.7.4.2: what the device reads comes first. */
	if (!writes && chain->write_bytes)
		return false;
	if (descriptor->address + descriptor->size_bytes < descriptor->address ||
	    *sum + descriptor->size_bytes < *sum)
		return false;
	*sum += descriptor->size_bytes;
	if (descriptor->size_bytes)
		chain->segments[chain->segment_count++] = (struct virtqueue_segment){
			.address = descriptor->address,
			.size_bytes = descriptor->size_bytes,
			.device_writes = writes,
		};
	return true;
}

/**
 * Copies of a table's descriptors: finding memory costs, and drivers lay chains out in order, so some in a row from the
 * first one on; once another one is asked for, all of the table's.
 */
struct window {
	uint64_t table;
	uint32_t count; /* of the table, at most VIRTQUEUE_SEGMENTS_MAX */
	uint32_t first, filled;
	struct ring_descriptor descriptors[VIRTQUEUE_SEGMENTS_MAX];
};

static bool read_descriptor(struct virtqueue *queue, struct window *window, uint32_t index,
			    struct ring_descriptor *descriptor)
{
	if (index >= window->count)
		return false;
	if (index - window->first >= window->filled) {
		bool is_first = window->filled == 0;

		window->first = is_first ? index : 0;
		window->filled = window->count - window->first;
		if (is_first && window->filled > WINDOW_DESCRIPTORS)
			window->filled = WINDOW_DESCRIPTORS;
		if (!memory_read(queue->memory, window->table + sizeof(*descriptor) * window->first,
				 window->descriptors, window->filled * (uint32_t)sizeof(*descriptor)))
			return false;
	}
	*descriptor = window->descriptors[index - window->first];
	return true;
}

/**
 * Follows one table (the ring's, or an indirect one) from @index. A chain longer than its table is a loop; one longer
 * than a queue may be is refused, however its descriptors are spread (2.7.5.3.1).
 * @count: entries of the table
 * @indirect: set to the descriptor of an indirect table that ends the chain
 */
static bool walk_table(struct virtqueue *queue, struct virtqueue_chain *chain, uint64_t table, uint32_t count,
		       uint16_t index, struct ring_descriptor *indirect)
{
	struct window window;

	window.table = table;
	window.count = count;
	window.first = window.filled = 0;
	for (uint32_t steps = 0; steps < count && chain->descriptor_count <= VIRTQUEUE_SEGMENTS_MAX; steps++) {
		struct ring_descriptor descriptor;

		chain->descriptor_count++;
		if (!read_descriptor(queue, &window, index, &descriptor))
			return false;
		if (descriptor.flags & DESCRIPTOR_INDIRECT) {
			/* 2.7.5.3.1: not within an indirect table, and not together with NEXT. */
			if (!indirect || descriptor.flags & DESCRIPTOR_NEXT)
				return false;
			*indirect = descriptor;
			return true;
		}
		if (!add_segment(chain, &descriptor))
			return false;
		if (!(descriptor.flags & DESCRIPTOR_NEXT))
			return true;
		index = descriptor.next;
	}
	return false;
}

enum virtqueue_result virtqueue_take(struct virtqueue *queue, struct virtqueue_chain *chain)
{
	struct ring_descriptor indirect = { 0 };
	uint16_t available, head;

	if (queue->broken)
		return VIRTQUEUE_BROKEN;
	if (!queue->ready)
		return VIRTQUEUE_EMPTY;
	if (!read16(queue, queue->available + RING_INDEX, &available))
		return broken(queue);
	if (available == queue->available_seen)
		return VIRTQUEUE_EMPTY;
	if ((uint16_t)(available - queue->available_seen) > queue->size)
		return broken(queue);
	memory_barrier(); /* the entry was written before the index */
	if (!read16(queue, queue->available + RING_ENTRIES + 2ull * (queue->available_seen & (queue->size - 1)),
		    &head))
		return broken(queue);

	chain->head = head;
	chain->segment_count = chain->descriptor_count = 0;
	chain->read_bytes = chain->write_bytes = 0;
	if (!walk_table(queue, chain, queue->descriptors, queue->size, head, &indirect))
		return broken(queue);
	if (indirect.flags) {
		uint32_t count = indirect.size_bytes / sizeof(struct ring_descriptor);

		if (indirect.size_bytes % sizeof(struct ring_descriptor) || count == 0 ||
		    count > VIRTQUEUE_SEGMENTS_MAX || indirect.address >= 1ull << 52)
			return broken(queue);
		if (!walk_table(queue, chain, indirect.address, count, 0, NULL))
			return broken(queue);
	}
	queue->available_seen++;
	return VIRTQUEUE_CHAIN;
}

/** Whether the driver wants an interrupt for the used entries written since it was last told. */
static bool wants_interrupt(struct virtqueue *queue, bool *wanted)
{
	uint16_t value;

	memory_barrier(); /* the used index must be visible before the driver's wish is read */
	if (!queue->event_index) {
		if (!read16(queue, queue->available + RING_FLAGS, &value))
			return false;
		*wanted = !(value & AVAILABLE_NO_INTERRUPT);
	} else {
		if (!read16(queue, used_event(queue), &value))
			return false;
		/* 2.7.7.2: the event lies within what was written since. */
		*wanted = (uint16_t)(queue->used_written - value - 1) <
			  (uint16_t)(queue->used_written - queue->used_signalled);
	}
	return true;
}

bool virtqueue_complete(struct virtqueue *queue, uint16_t head, uint32_t written_bytes, bool *interrupt)
{
	struct ring_used entry = { .head = head, .size_bytes = written_bytes };
	bool wanted;

	if (!queue->ready || queue->broken)
		return false;
	if (!memory_write(queue->memory,
			  queue->used + RING_ENTRIES + sizeof(entry) * (queue->used_written & (queue->size - 1)),
			  &entry, sizeof(entry)))
		return broken(queue), false;
	memory_barrier(); /* the entry before the index */
	queue->used_written++;
	if (!write16(queue, queue->used + RING_INDEX, queue->used_written) || !wants_interrupt(queue, &wanted))
		return broken(queue), false;
	if (wanted) {
		queue->used_signalled = queue->used_written;
		*interrupt = true;
	}
	return true;
}

bool virtqueue_want_notify(struct virtqueue *queue, bool wanted)
{
	uint16_t available;
	bool written;

	if (!queue->ready || queue->broken)
		return false;
	if (queue->event_index)
		/* Naming the entry before the next one is as good as "none": the driver has passed it already. */
		written = write16(queue, available_event(queue),
				  wanted ? queue->available_seen : (uint16_t)(queue->available_seen - 1));
	else
		written = write16(queue, queue->used + RING_FLAGS, wanted ? 0 : USED_NO_NOTIFY);
	memory_barrier(); /* the wish before the look: a driver that missed it has moved the index */
	if (!written || !read16(queue, queue->available + RING_INDEX, &available)) {
		broken(queue);
		return false;
	}
	return available != queue->available_seen;
}

bool virtqueue_is_drained(struct virtqueue *queue)
{
	return queue->broken || !queue->event_index || !virtqueue_want_notify(queue, true);
}
