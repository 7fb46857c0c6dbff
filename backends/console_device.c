/*
 * The console's two queues, and the thread that serves who is connected; see console_device.h. Queue 0 receives what was
 * typed, queue 1 sends. A reader that does not read loses output, a guest that does not read loses keys: neither stops
 * the other.
 */
#include "console_device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static uint32_t show(struct console_device *device, const struct vhost_request *request, uint8_t *scratch)
{
	for (uint64_t done = 0; done < request->out_bytes;) {
		uint64_t left = request->out_bytes - done;
		size_t bytes = left < CONSOLE_REQUEST_BYTES ? (size_t)left : CONSOLE_REQUEST_BYTES;

		if (!vhost_copy_from(request->out, request->out_count, done, scratch, bytes))
			break;
		pthread_mutex_lock(&device->lock);
		console_output(&device->console, scratch, bytes);
		pthread_mutex_unlock(&device->lock);
		done += bytes;
	}
	return 0;
}

static uint32_t give_typed(struct console_device *device, const struct vhost_request *request, uint8_t *scratch)
{
	size_t room = request->in_bytes < CONSOLE_REQUEST_BYTES ? (size_t)request->in_bytes : CONSOLE_REQUEST_BYTES;
	ssize_t got = read(device->typed[0], scratch, room);

	if (got <= 0 || !vhost_copy_to(request->in, request->in_count, 0, scratch, (size_t)got))
		return 0;
	return (uint32_t)got;
}

static uint32_t serve(void *context, const struct vhost_request *request, void *scratch)
{
	return request->out_count ? show(context, request, scratch) : give_typed(context, request, scratch);
}

static int source(void *context, unsigned int queue)
{
	const struct console_device *device = context;

	return queue == 0 ? device->typed[0] : -1;
}

int console_device_make(struct console_device *device, const char *path)
{
	*device = (struct console_device){ .lock = PTHREAD_MUTEX_INITIALIZER };
	device->kind = (struct vhost_kind){
		.queue_count = 2,
		.serve = serve,
		.scratch_bytes = CONSOLE_REQUEST_BYTES,
		.context = device,
		.worker_max = 1,
		.source = source,
	};
	if (pipe2(device->typed, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	return console_open(&device->console, path);
}

static void *watch(void *context)
{
	struct console_device *device = context;
	uint8_t typed[256];

	for (;;) {
		struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };
		size_t count = 0;

		pthread_mutex_lock(&device->lock);
		fds[0].fd = device->console.listen_fd;
		fds[1].fd = device->console.input_fd;
		pthread_mutex_unlock(&device->lock);
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		pthread_mutex_lock(&device->lock);
		if (fds[1].revents)
			count = console_input(&device->console, typed, sizeof(typed));
		if (fds[0].revents)
			console_accept(&device->console);
		pthread_mutex_unlock(&device->lock);
		if (count && write(device->typed[1], typed, count) < 0)
			continue; /* the guest reads nothing: these keys are lost */
	}
}

int console_device_start(struct console_device *device)
{
	pthread_t thread;

	return -pthread_create(&thread, NULL, watch, device);
}
