/*
 * The console's queues, and the thread that serves who is connected; see console_device.h. Queue 0 receives what was
 * typed, queue 1 sends; of a port, queues 2 and 3 do the same for control messages. A reader that does not read loses
 * output, a guest that does not read loses keys: neither stops the other.
 */
#include "console_device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_console.h>

enum { QUEUE_TYPED, QUEUE_SHOWN, QUEUE_TOLD, QUEUE_HEARD, CONSOLE_QUEUES = QUEUE_TOLD, PORT_QUEUES = QUEUE_HEARD + 1 };

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

/** Makes device->owed readable while the guest is owed a message, and nothing else. With the lock. */
static void settle(struct console_device *device)
{
	eventfd_t rung;

	if (port_control_owes(&device->control))
		(void)eventfd_write(device->owed, 1);
	else
		(void)eventfd_read(device->owed, &rung);
}

static uint32_t tell(struct console_device *device, const struct vhost_request *request, uint8_t *scratch)
{
	size_t bytes;

	pthread_mutex_lock(&device->lock);
	bytes = port_control_next(&device->control, scratch);
	settle(device);
	pthread_mutex_unlock(&device->lock);
	return vhost_copy_to(request->in, request->in_count, 0, scratch, bytes) ? (uint32_t)bytes : 0;
}

static uint32_t hear(struct console_device *device, const struct vhost_request *request, uint8_t *scratch)
{
	if (!vhost_copy_from(request->out, request->out_count, 0, scratch, PORT_HEADER_BYTES))
		return 0;
	pthread_mutex_lock(&device->lock);
	port_control_hear(&device->control, scratch);
	settle(device);
	pthread_mutex_unlock(&device->lock);
	return 0;
}

static uint32_t serve(void *context, const struct vhost_request *request, void *scratch)
{
	static uint32_t (*const by_queue[])(struct console_device *, const struct vhost_request *, uint8_t *) = {
		[QUEUE_TYPED] = give_typed, [QUEUE_SHOWN] = show, [QUEUE_TOLD] = tell, [QUEUE_HEARD] = hear};

	return by_queue[request->queue](context, request, scratch);
}

static int source(void *context, unsigned int queue)
{
	const struct console_device *device = context;

	return queue == QUEUE_TYPED ? device->typed[0] : queue == QUEUE_TOLD ? device->owed : -1;
}

int console_device_make(struct console_device *device, const char *path, const char *port)
{
	*device = (struct console_device){.lock = PTHREAD_MUTEX_INITIALIZER, .is_port = port};
	device->kind = (struct vhost_kind){
		.features = port ? 1ull << VIRTIO_CONSOLE_F_MULTIPORT : 0,
		.queue_count = port ? PORT_QUEUES : CONSOLE_QUEUES,
		.serve = serve,
		.scratch_bytes = CONSOLE_REQUEST_BYTES,
		.context = device,
		.worker_max = 1,
		.source = source,
	};
	port_control_make(&device->control, port);
	if (pipe2(device->typed, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	device->owed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (device->owed < 0)
		return -errno;
	return console_open(&device->console, path);
}

/** Takes what was typed for the guest, if it listens. With the lock. */
static void take_typed(struct console_device *device)
{
	uint8_t typed[256];
	size_t count = console_input(&device->console, typed, sizeof(typed));

	if (device->console.input_fd < 0)
		port_control_leave(&device->control);
	if (device->is_port && !device->control.guest_is_open)
		return;
	if (count && write(device->typed[1], typed, count) < 0)
		return; /* the guest reads nothing: these keys are lost */
}

/** Hangs up on who connects to a port that no program in the guest has open: so they know at once. */
static void turn_away(const struct console_device *device)
{
	int fd = accept4(device->console.listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		close(fd);
}

/** Lets somebody connect. What a console showed last is shown again; what went through a port is gone. With the lock. */
static void let_in(struct console_device *device)
{
	int before = device->console.input_fd;

	if (device->is_port) {
		if (!device->control.guest_is_open) {
			turn_away(device);
			return;
		}
		console_forget(&device->console);
	}
	console_accept(&device->console);
	if (device->console.input_fd == before)
		return; /* whoever it was has left again */
	if (before >= 0)
		port_control_leave(&device->control);
	port_control_connect(&device->control);
}

static void *watch(void *context)
{
	struct console_device *device = context;

	for (;;) {
		struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };

		pthread_mutex_lock(&device->lock);
		fds[0].fd = device->console.listen_fd;
		fds[1].fd = device->console.input_fd;
		pthread_mutex_unlock(&device->lock);
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		pthread_mutex_lock(&device->lock);
		if (fds[1].revents)
			take_typed(device);
		if (fds[0].revents)
			let_in(device);
		settle(device);
		pthread_mutex_unlock(&device->lock);
	}
}

int console_device_start(struct console_device *device)
{
	pthread_t thread;

	return -pthread_create(&thread, NULL, watch, device);
}
