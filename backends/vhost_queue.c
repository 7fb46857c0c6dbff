/* Split virtqueues; see vhost_queue.h. */
#include "vhost_queue.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_ring.h>

static uint16_t read16(const __virtio16 *field)
{
	return le16toh(__atomic_load_n((const uint16_t *)field, __ATOMIC_ACQUIRE));
}

static void write16(__virtio16 *field, uint16_t value)
{
	__atomic_store_n((uint16_t *)field, htole16(value), __ATOMIC_RELEASE);
}

/** The two fields behind the rings that say when to notify. */
static __virtio16 *used_event(const struct vhost_queue *queue)
{
	return &queue->avail->ring[queue->size];
}

static __virtio16 *avail_event(const struct vhost_queue *queue)
{
	return (__virtio16 *)&queue->used->ring[queue->size];
}

static int by_counter(const void *a, const void *b, void *context)
{
	const struct vhost_queue *queue = context;
	uint64_t first = queue->inflight->entries[*(const uint16_t *)a].counter;
	uint64_t second = queue->inflight->entries[*(const uint16_t *)b].counter;

	return first < second ? -1 : first > second;
}

/** What a device that died had taken and not given back is served again. */
static void recover(struct vhost_queue *queue)
{
	struct vhost_inflight *inflight = queue->inflight;

	queue->resubmit_count = queue->resubmit_next = 0;
	if (!inflight)
		return;
	if (inflight->version != 1 || inflight->size != queue->size) {
		/* A new record. */
		memset(inflight->entries, 0, queue->size * sizeof(*inflight->entries));
		inflight->version = 1;
		inflight->size = (uint16_t)queue->size;
		inflight->used_index = queue->used_index;
		return;
	}
	/* It died between telling the guest and noting it. */
	if (inflight->used_index != queue->used_index && inflight->last_batch_head < queue->size)
		inflight->entries[inflight->last_batch_head].inflight = 0;
	inflight->used_index = queue->used_index;
	queue->inflight_counter = 0;
	for (uint32_t head = 0; head < queue->size; head++) {
		if (inflight->entries[head].inflight != 1)
			continue;
		queue->resubmit[queue->resubmit_count++] = (uint16_t)head;
		if (inflight->entries[head].counter >= queue->inflight_counter)
			queue->inflight_counter = inflight->entries[head].counter + 1;
	}
	qsort_r(queue->resubmit, queue->resubmit_count, sizeof(*queue->resubmit), by_counter, queue);
	queue->last_avail = (uint16_t)(queue->used_index + queue->resubmit_count);
}

int vhost_queue_start(struct vhost_queue *queue, const struct vhost_memory *memory)
{
	uint32_t size = queue->size;

	if (size == 0 || queue->desc_user % 16 || queue->avail_user % 2 || queue->used_user % 4)
		return -EFAULT;
	queue->desc = vhost_memory_at_user(memory, queue->desc_user, 16ull * size);
	queue->avail = vhost_memory_at_user(memory, queue->avail_user, 6 + 2ull * size);
	queue->used = vhost_memory_at_user(memory, queue->used_user, 6 + 8ull * size);
	if (!queue->desc || !queue->avail || !queue->used)
		return -EFAULT;
	/* Alignment here, not only in the front-end's address space. */
	if ((uintptr_t)queue->desc % 8 || (uintptr_t)queue->avail % 2 || (uintptr_t)queue->used % 4)
		return -EFAULT;
	queue->used_index = read16(&queue->used->idx);
	queue->broken = queue->signalled_valid = false;
	recover(queue);
	return 0;
}

bool vhost_queue_has_more(const struct vhost_queue *queue)
{
	return queue->resubmit_next < queue->resubmit_count || read16(&queue->avail->idx) != queue->last_avail;
}

/** Adds one descriptor's buffer to the request. */
static int add_segment(const struct vhost_memory *memory, struct vhost_request *request, const struct vring_desc *desc)
{
	uint32_t bytes = le32toh(desc->len);
	bool writable = le16toh(desc->flags) & VRING_DESC_F_WRITE;
	unsigned int index = request->out_count + request->in_count;
	void *start;

	if (index == VHOST_CHAIN_MAX || (!writable && request->in_count))
		return -EPROTO; /* what the device reads comes before what it writes */
	if (bytes == 0)
		return 0;
	start = vhost_memory_at(memory, le64toh(desc->addr), bytes);
	if (!start)
		return -EPROTO;
	request->segments[index] = (struct iovec){.iov_base = start, .iov_len = bytes};
	if (writable) {
		request->in_count++;
		request->in_bytes += bytes;
	} else {
		request->out_count++;
		request->out_bytes += bytes;
	}
	return 0;
}

/** Follows a chain in @table of @size descriptors from @at; each is copied before it is looked at. */
static int walk(const struct vhost_memory *memory, struct vhost_request *request, const struct vring_desc *table,
		uint32_t size, uint32_t at, bool indirect_allowed)
{
	for (uint32_t steps = 0; steps < size; steps++) {
		struct vring_desc desc;
		uint16_t flags;
		int error;

		if (at >= size)
			return -EPROTO;
		memcpy(&desc, (const void *)&table[at], sizeof(desc));
		__asm__ volatile("" : : : "memory"); /* one copy, whatever the compiler would like */
		flags = le16toh(desc.flags);
		if (flags & VRING_DESC_F_INDIRECT) {
			uint32_t bytes = le32toh(desc.len);
			const struct vring_desc *inner;

			if (!indirect_allowed || flags & VRING_DESC_F_NEXT || bytes == 0 || bytes % sizeof(desc) ||
			    bytes / sizeof(desc) > VHOST_CHAIN_MAX)
				return -EPROTO;
			inner = vhost_memory_at(memory, le64toh(desc.addr), bytes);
			if (!inner)
				return -EPROTO;
			return walk(memory, request, inner, bytes / sizeof(desc), 0, false);
		}
		error = add_segment(memory, request, &desc);
		if (error)
			return error;
		if (!(flags & VRING_DESC_F_NEXT))
			return 0;
		at = le16toh(desc.next);
	}
	return -EPROTO; /* a loop */
}

static int take_head(struct vhost_queue *queue, uint16_t *head)
{
	uint16_t available;

	if (queue->resubmit_next < queue->resubmit_count) {
		*head = queue->resubmit[queue->resubmit_next++];
		return 1;
	}
	available = read16(&queue->avail->idx);
	if (available == queue->last_avail && queue->event_index) {
		/* Ask for the next notification, then look again: the guest may just have decided against one. */
		write16(avail_event(queue), queue->last_avail);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		available = read16(&queue->avail->idx);
	}
	if (available == queue->last_avail)
		return 0;
	if ((uint16_t)(available - queue->last_avail) > queue->size)
		return -EPROTO;
	*head = read16(&queue->avail->ring[queue->last_avail & (queue->size - 1)]);
	if (*head >= queue->size)
		return -EPROTO;
	queue->last_avail++;
	return 1;
}

int vhost_queue_pop(struct vhost_queue *queue, const struct vhost_memory *memory, struct vhost_request *request)
{
	int error;

	if (queue->broken)
		return -EPROTO;
	error = take_head(queue, &request->head);
	if (error > 0) {
		request->out_count = request->in_count = 0;
		request->out_bytes = request->in_bytes = 0;
		if (queue->inflight) {
			queue->inflight->entries[request->head].counter = queue->inflight_counter++;
			__atomic_store_n(&queue->inflight->entries[request->head].inflight, 1, __ATOMIC_RELEASE);
		}
		error = walk(memory, request, queue->desc, queue->size, request->head, true);
		request->out = request->segments;
		request->in = request->segments + request->out_count;
		error = error ? error : 1;
	}
	queue->broken = error < 0;
	return error;
}

bool vhost_queue_push(struct vhost_queue *queue, uint16_t head, uint32_t written_bytes)
{
	struct vring_used_elem *element = (struct vring_used_elem *)&queue->used->ring[queue->used_index &
										       (queue->size - 1)];
	uint16_t old = queue->signalled, event, flags;

	element->id = htole32(head);
	element->len = htole32(written_bytes);
	if (queue->inflight)
		queue->inflight->last_batch_head = head;
	write16(&queue->used->idx, ++queue->used_index);
	if (queue->inflight) {
		__atomic_store_n(&queue->inflight->entries[head].inflight, 0, __ATOMIC_RELEASE);
		queue->inflight->used_index = queue->used_index;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!queue->event_index) {
		flags = read16(&queue->avail->flags);
		return !(flags & VRING_AVAIL_F_NO_INTERRUPT);
	}
	event = read16(used_event(queue));
	queue->signalled = queue->used_index;
	if (!queue->signalled_valid) {
		queue->signalled_valid = true;
		return true;
	}
	return (uint16_t)(queue->used_index - event - 1) < (uint16_t)(queue->used_index - old);
}

bool vhost_copy_from(const struct iovec *segments, unsigned int count, uint64_t offset, void *to, size_t bytes)
{
	uint8_t *at = to;

	for (; bytes && count; segments++, count--) {
		if (offset >= segments->iov_len) {
			offset -= segments->iov_len;
			continue;
		}
		size_t now = segments->iov_len - offset < bytes ? segments->iov_len - offset : bytes;

		memcpy(at, (uint8_t *)segments->iov_base + offset, now);
		at += now;
		bytes -= now;
		offset = 0;
	}
	return bytes == 0;
}

bool vhost_copy_to(const struct iovec *segments, unsigned int count, uint64_t offset, const void *from, size_t bytes)
{
	const uint8_t *at = from;

	for (; bytes && count; segments++, count--) {
		if (offset >= segments->iov_len) {
			offset -= segments->iov_len;
			continue;
		}
		size_t now = segments->iov_len - offset < bytes ? segments->iov_len - offset : bytes;

		memcpy((uint8_t *)segments->iov_base + offset, at, now);
		at += now;
		bytes -= now;
		offset = 0;
	}
	return bytes == 0;
}

size_t vhost_inflight_bytes(uint16_t size)
{
	return (sizeof(struct vhost_inflight) + size * sizeof(struct vhost_inflight_entry) + 63) / 64 * 64;
}
