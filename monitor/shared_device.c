/* SPDX-License-Identifier: MIT */
/*
 * Joins the virtio transport to a vhost-user backend; see shared_device.h.
 */
#include "shared_device.h"
#include "connector.h"
#include "kvm.h"
#include "vhost_user.h"

#include <virtqueue.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BLOCK_CONFIG_BYTES 60u
#define BAR_NOTIFY	  0x3000u
#define USED_INDEX	  2u /* in a used ring (virtio 1.2, 2.7.8) */

/* Where the number of queues stands in the configuration (virtio 1.2, 5.2.4), and the feature that says so. */
#define CONFIG_QUEUES	  34u
#define BLOCK_F_QUEUES	  (1ull << 12)

/* Features of block devices that need nothing from the front-end: limits, geometry, flush, discard, write-zeroes. */
#define BLOCK_FEATURES                                                                                             \
	(1ull << 1 | 1ull << 2 | 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 9 | 1ull << 10 | 1ull << 11 |        \
	 BLOCK_F_QUEUES | 1ull << 13 | 1ull << 14 | VIRTIO_F_RING_INDIRECT | VIRTIO_F_EVENT_INDEX)

_Static_assert(CONFIG_DEVICES_MAX * VIRTIO_QUEUES_MAX <= KVM_MSI_LINES, "a line for each queue");

struct shared_device {
	struct virtio_device device; /* first: the transport's callbacks get its address */
	struct machine *machine;
	struct vhost_user backend;
	const char *path;
	unsigned int number; /* of the configuration's devices */
	unsigned int first_line;
	int kick_fds[VIRTIO_QUEUES_MAX], call_fds[VIRTIO_QUEUES_MAX];
	uint64_t doorbell; /* where the queues' doorbells lie; 0: not attached */
	bool started;
	bool is_lost; /* the backend went away, and the driver has not reset the device since: */
	struct virtqueue lost[VIRTIO_QUEUES_MAX]; /* then the queues, as the monitor serves them */
};

static void attach_doorbells(struct shared_device *shared, bool attached)
{
	uint64_t bar = pci_bar_address(&shared->device.pci, VIRTIO_BAR_REGISTERS);

	if (!attached && !shared->doorbell)
		return;
	if (attached)
		shared->doorbell = bar ? bar + BAR_NOTIFY : 0;
	for (unsigned int i = 0; shared->doorbell && i < shared->device.queue_count; i++)
		(void)kvm_doorbell(shared->machine, shared->kick_fds[i], shared->doorbell + 4 * i, attached);
	if (!attached)
		shared->doorbell = 0;
}

/**
 * Takes what the driver only gives a queue without a backend, and answers nothing else: what the relay does for a guest
 * that shares no memory (relay_lost.h says why).
 */
static void discard(struct shared_device *shared, unsigned int index)
{
	struct virtqueue *queue = &shared->lost[index];
	struct virtqueue_chain chain;
	bool interrupt = false;

	do
		while (virtqueue_take(queue, &chain) == VIRTQUEUE_CHAIN)
			if (chain.write_bytes == 0)
				(void)virtqueue_complete(queue, chain.head, 0, &interrupt);
	while (virtqueue_want_notify(queue, true));
	if (interrupt)
		(void)eventfd_write(shared->call_fds[index], 1);
}

/** Goes on with a queue where its backend left it: requests that only give something are answered in their order. */
static void take_queue(struct shared_device *shared, unsigned int index)
{
	const struct virtio_pci_queue *queue = &shared->device.queues[index];
	struct virtqueue *lost = &shared->lost[index];
	struct memory *ram = &shared->machine->ram;
	uint16_t answered;

	*lost = (struct virtqueue){ 0 };
	if (!queue->enabled || !memory_read(ram, queue->used + USED_INDEX, &answered, sizeof(answered)) ||
	    !virtqueue_start(lost, ram, queue->size, queue->descriptors, queue->available, queue->used,
			     shared->device.features_accepted & VIRTIO_F_EVENT_INDEX))
		return;
	lost->available_seen = lost->used_written = lost->used_signalled = answered;
	discard(shared, index);
}

static void on_start(struct virtio_device *device)
{
	struct shared_device *shared = (struct shared_device *)device;
	struct vhost_user_queue queues[VIRTIO_QUEUES_MAX] = { 0 };
	int status;

	for (unsigned int i = 0; i < device->queue_count; i++)
		if (device->queues[i].enabled)
			queues[i] = (struct vhost_user_queue){
				.size = device->queues[i].size,
				.descriptors = device->queues[i].descriptors,
				.available = device->queues[i].available,
				.used = device->queues[i].used,
				.kick_fd = shared->kick_fds[i],
				.call_fd = shared->call_fds[i],
			};
	status = shared->backend.fd < 0 ?
			 vhost_user_greet(&shared->backend, connector_ask(shared->machine->connector, shared->number)) :
			 0;
	(void)eventfd_write(shared->machine->look, 1);
	if (!status)
		status = vhost_user_start(&shared->backend, device->features_accepted, &shared->machine->ram, queues,
				  device->queue_count);
	if (status) {
		fprintf(stderr, "monitor: %s: starting its queues: %s\n", shared->path, strerror(-status));
		shared_device_backend_died(shared);
		return;
	}
	shared->started = true;
	attach_doorbells(shared, true);
}

static void on_reset(struct virtio_device *device)
{
	struct shared_device *shared = (struct shared_device *)device;

	attach_doorbells(shared, false);
	if (shared->started && vhost_user_stop(&shared->backend, device->queue_count))
		vhost_user_close(&shared->backend);
	shared->started = shared->is_lost = false;
}

static void on_notify(struct virtio_device *device, unsigned int queue)
{
	struct shared_device *shared = (struct shared_device *)device;

	if (shared->is_lost)
		discard(shared, queue);
	else
		(void)eventfd_write(shared->kick_fds[queue], 1);
}

/** Follows the driver's MSI-X table: an unmasked vector gets its queues' events, a masked one lets them wait. */
static void on_vector(struct virtio_device *device, unsigned int vector)
{
	struct shared_device *shared = (struct shared_device *)device;
	struct virtio_message message;

	for (unsigned int i = 0; i < device->queue_count; i++) {
		bool open;

		if (device->queues[i].vector != vector)
			continue;
		open = virtio_pci_vector_message(device, vector, &message);
		if (kvm_route_message(shared->machine, shared->call_fds[i], shared->first_line + i,
				      open ? &message : NULL))
			fprintf(stderr, "monitor: %s: cannot route interrupt %u\n", shared->path, vector);
	}
}

static const struct virtio_owner owner = {
	.start = on_start,
	.reset = on_reset,
	.notify = on_notify,
	.vector_changed = on_vector,
};

/** A disk is what its backend says, with a queue a processor at most. Returns 0 or a negative errno. */
static int configure_disk(struct shared_device *shared, struct virtio_identity *identity, uint8_t *config)
{
	unsigned int queues = 1;
	int status = vhost_user_get_config(&shared->backend, config, BLOCK_CONFIG_BYTES);

	if (status)
		return status;
	if (shared->backend.features & BLOCK_F_QUEUES)
		queues = config[CONFIG_QUEUES] | (unsigned int)config[CONFIG_QUEUES + 1] << 8;
	if (queues < 1)
		queues = 1;
	if (queues > shared->machine->processor_count)
		queues = shared->machine->processor_count;
	if (queues > VIRTIO_QUEUES_MAX)
		queues = VIRTIO_QUEUES_MAX;
	config[CONFIG_QUEUES] = (uint8_t)queues;
	config[CONFIG_QUEUES + 1] = 0;
	identity->queue_count = (uint16_t)queues;
	identity->features = BLOCK_FEATURES;
	identity->config_bytes = BLOCK_CONFIG_BYTES;
	return 0;
}

/** Opens the backend and settles what the device is. Returns 0 or a negative errno. */
static int configure(struct shared_device *shared, enum relay_device_kind kind, struct virtio_identity *identity,
		     uint8_t *config)
{
	int status = vhost_user_connect(&shared->backend, shared->path);

	if (!status && kind == RELAY_DEVICE_DISK)
		status = configure_disk(shared, identity, config);
	relay_device_fill(kind, shared->machine->config, config);
	identity->features &= shared->backend.features;
	return status;
}

struct shared_device *shared_device_create(struct machine *machine, unsigned int number,
					   const struct relay_device_place *place, char *error, size_t error_bytes)
{
	const struct bulkhead_device_description *description = relay_device_describe(place->kind);
	struct virtio_identity identity = {
		.type = (uint16_t)description->type,
		.class_code = description->class_code,
		.features = description->features,
		.queue_count = (uint16_t)description->queue_count,
		.queue_size_max = (uint16_t)description->queue_size_max,
		.config_bytes = description->config_bytes,
	};
	struct shared_device *shared = calloc(1, sizeof(*shared));
	uint8_t config[BULKHEAD_DEVICE_CONFIG_BYTES] = { 0 };
	int status;

	if (!shared) {
		snprintf(error, error_bytes, "%s: out of memory", place->socket);
		return NULL;
	}
	shared->machine = machine;
	shared->number = number;
	shared->path = place->socket;
	shared->first_line = number * VIRTIO_QUEUES_MAX;
	for (unsigned int i = 0; i < VIRTIO_QUEUES_MAX; i++)
		shared->kick_fds[i] = shared->call_fds[i] = -1;
	status = configure(shared, place->kind, &identity, config);
	if (status) {
		snprintf(error, error_bytes, "%s: %s; is a vhost-user backend for it listening there?", place->socket,
			 strerror(-status));
		goto failed;
	}
	for (unsigned int i = 0; i < identity.queue_count; i++) {
		shared->kick_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		shared->call_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (shared->kick_fds[i] < 0 || shared->call_fds[i] < 0) {
			snprintf(error, error_bytes, "%s: %s", place->socket, strerror(errno));
			goto failed;
		}
	}
	virtio_pci_init(&shared->device, &identity, &owner, shared);
	virtio_pci_set_config(&shared->device, config);
	machine->pci.functions[place->slot] = &shared->device.pci;
	return shared;
failed:
	shared_device_destroy(shared);
	return NULL;
}

void shared_device_destroy(struct shared_device *shared)
{
	if (!shared)
		return;
	if (shared->started)
		(void)vhost_user_stop(&shared->backend, shared->device.queue_count);
	vhost_user_close(&shared->backend);
	for (unsigned int i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		if (shared->kick_fds[i] >= 0)
			close(shared->kick_fds[i]);
		if (shared->call_fds[i] >= 0)
			close(shared->call_fds[i]);
	}
	free(shared);
}

int shared_device_backend_fd(const struct shared_device *shared)
{
	return shared->backend.fd;
}

const char *shared_device_path(const struct shared_device *shared)
{
	return shared->path;
}

void shared_device_backend_died(struct shared_device *shared)
{
	struct virtio_message message;

	attach_doorbells(shared, false);
	vhost_user_close(&shared->backend);
	shared->started = false;
	virtio_pci_needs_reset(&shared->device);
	if (virtio_pci_interrupt(&shared->device, -1, &message))
		kvm_send_message(shared->machine, &message);
	shared->is_lost = true;
	for (unsigned int i = 0; i < shared->device.queue_count; i++)
		take_queue(shared, i);
}
