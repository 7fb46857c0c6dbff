/* SPDX-License-Identifier: MIT */
/*
 * Devices over the relay; see relay_device.h.
 */
#include "relay_device.h"
#include "bulkhead_guest.h"
#include "machine.h"
#include "vhost_user.h"

#include <relay.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* Features by number (virtio 1.2, 5.1.3 and 5.2.3). The backend must have what its guest relies on. */
enum {
	DISK_SEGMENT_BYTES_MAX = 1 << 1,
	DISK_SEGMENTS_MAX = 1 << 2,
	DISK_BLOCK_SIZE = 1 << 6,
	DISK_FLUSH = 1 << 9,
	NETWORK_MAC = 1 << 5,
};
#define RING_FEATURES (VIRTIO_F_RING_INDIRECT | VIRTIO_F_EVENT_INDEX)

/* Where things stand in the configuration of a disk (5.2.4). */
enum { DISK_CAPACITY_BYTES = 8, DISK_AT_SEGMENT_BYTES = 8, DISK_AT_SEGMENTS = 12, DISK_AT_BLOCK_SIZE = 20, DISK_CONFIG_BYTES = 60 };

/* A request has to fit into the relay area as a whole, header and status included: a descriptor for each 4 KiB. */
#define DISK_SEGMENTS	   126u
#define DISK_SEGMENT_BYTES 8192u
_Static_assert(DISK_SEGMENTS * (DISK_SEGMENT_BYTES / RELAY_PAGE_BYTES) + 2 <= RELAY_DESCRIPTORS, "the largest request fits");

static const struct bulkhead_device_description descriptions[] = {
	[RELAY_DEVICE_DISK] = {
		.type = 2,
		.class_code = 0x010000,
		.features = DISK_SEGMENT_BYTES_MAX | DISK_SEGMENTS_MAX | DISK_BLOCK_SIZE | DISK_FLUSH | RING_FEATURES,
		.queue_count = 1,
		.queue_size_max = 128,
		.config_bytes = DISK_CONFIG_BYTES,
	},
	[RELAY_DEVICE_NETWORK] = {
		.type = 1,
		.class_code = 0x020000,
		.features = NETWORK_MAC | RING_FEATURES,
		.queue_count = 2,
		.queue_size_max = 128,
		.config_bytes = 12,
	},
};

struct relay_device {
	struct machine *machine;
	const char *path;
	unsigned int slot;
	enum relay_device_kind kind;
	struct vhost_user backend;
	struct memory area;
	int kick_fds[BULKHEAD_QUEUES_MAX], call_fds[BULKHEAD_QUEUES_MAX];
	uint8_t config[BULKHEAD_DEVICE_CONFIG_BYTES];
	bool started;
};

const struct bulkhead_device_description *relay_device_describe(enum relay_device_kind kind)
{
	return &descriptions[kind];
}

/** A disk's configuration: size and block size are the backend's, the rest is what the description offers. */
static const char *configure_disk(struct relay_device *device)
{
	uint8_t config[DISK_CONFIG_BYTES];
	uint32_t block_bytes = 512, segments = DISK_SEGMENTS, segment_bytes = DISK_SEGMENT_BYTES;

	if (vhost_user_get_config(&device->backend, config, sizeof(config)))
		return "gives no configuration; is it a vhost-user-blk backend?";
	if (!(device->backend.features & DISK_FLUSH))
		return "offers no flush, without which a guest's data would not be safe";
	if (device->backend.features & DISK_BLOCK_SIZE)
		memcpy(&block_bytes, config + DISK_AT_BLOCK_SIZE, sizeof(block_bytes));
	memcpy(device->config, config, DISK_CAPACITY_BYTES);
	memcpy(device->config + DISK_AT_SEGMENT_BYTES, &segment_bytes, sizeof(segment_bytes));
	memcpy(device->config + DISK_AT_SEGMENTS, &segments, sizeof(segments));
	memcpy(device->config + DISK_AT_BLOCK_SIZE, &block_bytes, sizeof(block_bytes));
	return NULL;
}

static int make_area(struct memory *area, unsigned int queue_count)
{
	return ram_create(area, (uint64_t)queue_count * RELAY_AREA_BYTES, UINT64_MAX, 0);
}

struct relay_device *relay_device_create(struct machine *machine, unsigned int slot, enum relay_device_kind kind,
					 const char *socket_path, const uint8_t *mac, char *error,
					 size_t error_bytes)
{
	const struct bulkhead_device_description *description = &descriptions[kind];
	struct relay_device *device = calloc(1, sizeof(*device));
	const char *wrong = NULL;
	int status;

	if (!device) {
		snprintf(error, error_bytes, "%s: out of memory", socket_path);
		return NULL;
	}
	*device = (struct relay_device){ .machine = machine, .path = socket_path, .slot = slot, .kind = kind,
					 .area = { .fd = -1 } };
	memset(device->kick_fds, -1, sizeof(device->kick_fds));
	memset(device->call_fds, -1, sizeof(device->call_fds));
	status = vhost_user_connect(&device->backend, socket_path);
	if (status) {
		snprintf(error, error_bytes, "%s: %s; is a vhost-user backend listening there?", socket_path,
			 strerror(-status));
		goto failed;
	}
	if (kind == RELAY_DEVICE_DISK)
		wrong = configure_disk(device);
	else
		memcpy(device->config, mac, 6);
	if (wrong) {
		snprintf(error, error_bytes, "%s: the backend %s", socket_path, wrong);
		goto failed;
	}
	status = make_area(&device->area, description->queue_count);
	for (unsigned int i = 0; !status && i < description->queue_count; i++) {
		device->kick_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		device->call_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (device->kick_fds[i] < 0 || device->call_fds[i] < 0)
			status = -errno;
	}
	if (!status)
		return device;
	snprintf(error, error_bytes, "%s: its relay area: %s", socket_path, strerror(-status));
failed:
	relay_device_destroy(device);
	return NULL;
}

int relay_device_attach(struct relay_device *device)
{
	const struct bulkhead_device_description *description = &descriptions[device->kind];
	struct bulkhead_kvm_config config = { .slot = device->slot, .size_bytes = description->config_bytes };
	int status;

	memcpy(config.config, device->config, description->config_bytes);
	status = bulkhead_guest_operate(device->machine, BULKHEAD_KVM_CONFIG, &config);
	for (unsigned int i = 0; !status && i < description->queue_count; i++) {
		struct bulkhead_kvm_relay relay = {
			.slot = device->slot,
			.queue = i,
			.area_fd = device->area.fd,
			.kick_fd = device->kick_fds[i],
			.call_fd = device->call_fds[i],
			.area_offset = (uint64_t)i * RELAY_AREA_BYTES,
		};

		status = bulkhead_guest_operate(device->machine, BULKHEAD_KVM_RELAY, &relay);
	}
	return status;
}

static void start(struct relay_device *device, const struct bulkhead_kvm_device_exit *exit)
{
	struct vhost_user_queue queues[BULKHEAD_QUEUES_MAX] = { 0 };
	unsigned int queue_count = descriptions[device->kind].queue_count;
	int status;

	for (unsigned int i = 0; i < queue_count; i++) {
		uint64_t base = (uint64_t)i * RELAY_AREA_BYTES;

		if (!(exit->queues & 1u << i))
			continue;
		queues[i] = (struct vhost_user_queue){
			.size = RELAY_DESCRIPTORS,
			.descriptors = base + RELAY_DESCRIPTOR_TABLE,
			.available = base + RELAY_AVAILABLE_RING,
			.used = base + RELAY_USED_RING,
			.kick_fd = device->kick_fds[i],
			.call_fd = device->call_fds[i],
		};
	}
	status = vhost_user_start(&device->backend, exit->features & device->backend.features, &device->area, queues,
				  queue_count);
	if (status) {
		fprintf(stderr, "monitor: %s: starting its queues: %s\n", device->path, strerror(-status));
		relay_device_backend_died(device);
		return;
	}
	device->started = true;
	/* What the guest asked for before the backend listened. */
	for (unsigned int i = 0; i < queue_count; i++)
		if (queues[i].size)
			(void)eventfd_write(device->kick_fds[i], 1);
}

static void stop(struct relay_device *device)
{
	struct bulkhead_kvm_release release = { .slot = device->slot };

	if (device->started && vhost_user_stop(&device->backend, descriptions[device->kind].queue_count))
		relay_device_backend_died(device); /* it answers no more; its connection is closed */
	device->started = false;
	(void)bulkhead_guest_operate(device->machine, BULKHEAD_KVM_RELEASE, &release);
}

void relay_device_event(struct relay_device *device, const struct bulkhead_kvm_device_exit *exit)
{
	if (exit->event == BULKHEAD_DEVICE_START)
		start(device, exit);
	else
		stop(device);
}

unsigned int relay_device_slot(const struct relay_device *device)
{
	return device->slot;
}

int relay_device_backend_fd(const struct relay_device *device)
{
	return device->backend.fd;
}

void relay_device_backend_died(struct relay_device *device)
{
	vhost_user_close(&device->backend);
	device->started = false;
}

void relay_device_destroy(struct relay_device *device)
{
	if (!device)
		return;
	vhost_user_close(&device->backend);
	for (unsigned int i = 0; i < BULKHEAD_QUEUES_MAX; i++) {
		if (device->kick_fds[i] >= 0)
			close(device->kick_fds[i]);
		if (device->call_fds[i] >= 0)
			close(device->call_fds[i]);
	}
	ram_destroy(&device->area);
	free(device);
}
