/*
 * A queue's threads. One at a time waits for the guest's notification; whoever takes a request wakes another to wait in
 * its place, so that a slow request (a flush, a block that has to be fetched) holds up nobody.
 */
#include "vhost_device.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/virtio_ring.h>

static void ring(int fd)
{
	static const uint64_t one = 1;

	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return; /* full: it has been rung already */
}

/** Waits for a notification or the end. */
static void wait_for_kick(const struct vhost_line *line)
{
	struct pollfd fds[2] = {{.fd = line->kick, .events = POLLIN}, {.fd = line->stop, .events = POLLIN}};
	uint64_t count;

	if (poll(fds, 2, -1) > 0 && fds[0].revents & POLLIN && read(line->kick, &count, sizeof(count)) < 0)
		return;
}

/** Waits until what the queue's requests wait for is there, or for the end. With the lock, which it gives up. */
static void wait_for_source(struct vhost_line *line)
{
	const struct vhost_kind *kind = line->device->kind;
	int source = kind->source ? kind->source(kind->context, (unsigned int)(line - line->device->lines)) : -1;
	struct pollfd fds[2] = {{.fd = source, .events = POLLIN}, {.fd = line->stop, .events = POLLIN}};

	if (source < 0)
		return;
	pthread_mutex_unlock(&line->lock);
	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&line->lock);
}

/** Gets a request. With the lock held. False at the end. */
static bool take(struct vhost_line *line, struct vhost_request *request)
{
	while (line->running) {
		int got;

		wait_for_source(line);
		if (!line->running)
			break;
		got = vhost_queue_pop(&line->queue, &line->device->memory, request);

		if (got > 0) {
			pthread_cond_signal(&line->more);
			return true;
		}
		if (got < 0) {
			/* A queue that makes no sense: say so and serve it no more. */
			ring(line->error);
			line->running = false;
			break;
		}
		if (line->polling) {
			pthread_cond_wait(&line->more, &line->lock);
			continue;
		}
		line->polling = true;
		pthread_mutex_unlock(&line->lock);
		wait_for_kick(line);
		pthread_mutex_lock(&line->lock);
		line->polling = false;
	}
	pthread_cond_broadcast(&line->more);
	return false;
}

static void *work(void *context)
{
	struct vhost_line *line = context;
	const struct vhost_kind *kind = line->device->kind;
	struct vhost_request *request = malloc(sizeof(*request));
	void *scratch = malloc(kind->scratch_bytes);

	pthread_mutex_lock(&line->lock);
	while (request && scratch && take(line, request)) {
		uint32_t written;

		pthread_mutex_unlock(&line->lock);
		request->queue = (unsigned int)(line - line->device->lines);
		written = kind->serve(kind->context, request, scratch);
		pthread_mutex_lock(&line->lock);
		if (vhost_queue_push(&line->queue, request->head, written))
			ring(line->call);
	}
	pthread_mutex_unlock(&line->lock);
	free(request);
	free(scratch);
	return NULL;
}

int vhost_line_start(struct vhost_line *line)
{
	struct vhost_device *device = line->device;
	size_t index = (size_t)(line - device->lines);
	int error;

	vhost_line_stop(line);
	line->queue.event_index = device->features >> VIRTIO_RING_F_EVENT_IDX & 1;
	line->queue.inflight = NULL;
	if (device->inflight_map && index < device->inflight_queues && line->queue.size == device->inflight_size)
		line->queue.inflight = (struct vhost_inflight *)((uint8_t *)device->inflight_map +
								 index * vhost_inflight_bytes(device->inflight_size));
	error = vhost_queue_start(&line->queue, &device->memory);
	if (error)
		return error;
	line->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (line->stop < 0)
		return -errno;
	line->running = true;
	line->polling = false;
	/* What came before the first notification is looked at as well. */
	while (line->worker_count < (device->kind->worker_max ? device->kind->worker_max : VHOST_WORKERS)) {
		error = pthread_create(&line->workers[line->worker_count], NULL, work, line);
		if (error)
			break;
		line->worker_count++;
	}
	if (line->worker_count)
		return 0;
	vhost_line_stop(line);
	return -error;
}

void vhost_line_stop(struct vhost_line *line)
{
	pthread_mutex_lock(&line->lock);
	line->running = false;
	if (line->stop >= 0)
		ring(line->stop);
	pthread_cond_broadcast(&line->more);
	pthread_mutex_unlock(&line->lock);
	while (line->worker_count)
		pthread_join(line->workers[--line->worker_count], NULL);
	if (line->stop >= 0)
		close(line->stop);
	line->stop = -1;
}
