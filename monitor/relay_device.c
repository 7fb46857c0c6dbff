/* SPDX-License-Identifier: MIT */
/*
 * Devices over the relay; see relay_device.h.
 */
#include "relay_device.h"
#include "bulkhead_guest.h"
#include "connector.h"
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

/* Features by number (virtio 1.2, 5.1.3, 5.2.3 and 5.3.3). The backend must have what its guest relies on. */
enum {
	DISK_SEGMENT_BYTES_MAX = 1 << 1,
	DISK_SEGMENTS_MAX = 1 << 2,
	DISK_BLOCK_SIZE = 1 << 6,
	DISK_FLUSH = 1 << 9,
	NETWORK_MAC = 1 << 5,
	CONSOLE_PORTS = 1 << 1,
};
#define RING_FEATURES (VIRTIO_F_RING_INDIRECT | VIRTIO_F_EVENT_INDEX)

/* Where things stand in the configuration of a disk (5.2.4). */
enum { DISK_CAPACITY_BYTES = 8, DISK_AT_SEGMENT_BYTES = 8, DISK_AT_SEGMENTS = 12, DISK_AT_BLOCK_SIZE = 20, DISK_CONFIG_BYTES = 60 };

/* Where a console says how many ports it has (5.3.4). */
enum { CONSOLE_AT_PORTS = 4, CONSOLE_CONFIG_BYTES = 8 };

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
	[RELAY_DEVICE_ENTROPY] = {
		.type = 4,
		.class_code = 0xff0000,
		.features = RING_FEATURES,
		.queue_count = 1,
		.queue_size_max = 8,
	},
	[RELAY_DEVICE_CONSOLE] = {
		.type = 3,
		.class_code = 0x078000,
		.features = RING_FEATURES,
		.queue_count = 2,
		.queue_size_max = 128,
	},
	[RELAY_DEVICE_AGENT] = {
		.type = 3,
		.class_code = 0x078000,
		.features = CONSOLE_PORTS | RING_FEATURES,
		.queue_count = 4, /* the port's, then those that control it */
		.queue_size_max = 16,
		.config_bytes = CONSOLE_CONFIG_BYTES,
	},
};

struct relay_device {
	struct machine *machine;
	const char *path;
	unsigned int number; /* of the configuration's devices */
	unsigned int slot;
	enum relay_device_kind kind;
	struct vhost_user backend;
	struct memory area;
	int kick_fds[BULKHEAD_QUEUES_MAX], call_fds[BULKHEAD_QUEUES_MAX];
	uint8_t config[BULKHEAD_DEVICE_CONFIG_BYTES];
	bool started;
};

unsigned int relay_device_list(const struct config *config, struct relay_device_place list[CONFIG_DEVICES_MAX])
{
	const struct relay_device_place others[] = {
		{ MACHINE_NETWORK_SLOT, RELAY_DEVICE_NETWORK, config->network },
		{ MACHINE_ENTROPY_SLOT, RELAY_DEVICE_ENTROPY, config->entropy },
		{ MACHINE_CONSOLE_SLOT, RELAY_DEVICE_CONSOLE, config->virtio_console },
		{ MACHINE_AGENT_SLOT, RELAY_DEVICE_AGENT, config->guest_agent },
	};
	unsigned int count = 0;

	for (unsigned int i = 0; i < config->disk_count; i++)
		list[count++] = (struct relay_device_place){ MACHINE_DISK_SLOT + i, RELAY_DEVICE_DISK,
							     config->disks[i].socket };
	for (unsigned int i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (others[i].socket)
			list[count++] = others[i];
	return count;
}

const struct bulkhead_device_description *relay_device_describe(enum relay_device_kind kind)
{
	return &descriptions[kind];
}

void relay_device_fill(enum relay_device_kind kind, const struct config *config, uint8_t *space)
{
	if (kind == RELAY_DEVICE_NETWORK)
		memcpy(space, config->mac, sizeof(config->mac));
	if (kind == RELAY_DEVICE_AGENT)
		space[CONSOLE_AT_PORTS] = 1;
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

/** Sets the device's configuration. Returns NULL, or what is wrong with its backend. */
static const char *configure(struct relay_device *device)
{
	if (device->kind == RELAY_DEVICE_DISK)
		return configure_disk(device);
	if (device->kind == RELAY_DEVICE_AGENT && !(device->backend.features & CONSOLE_PORTS))
		return "serves no port; is it bulkhead-console with --port?";
	relay_device_fill(device->kind, device->machine->config, device->config);
	return NULL;
}

struct relay_device *relay_device_create(struct machine *machine, unsigned int number,
					 const struct relay_device_place *place, char *error, size_t error_bytes)
{
	const struct bulkhead_device_description *description = &descriptions[place->kind];
	struct relay_device *device = calloc(1, sizeof(*device));
	int status;

	if (!device) {
		snprintf(error, error_bytes, "%s: out of memory", place->socket);
		return NULL;
	}
	*device = (struct relay_device){ .machine = machine, .path = place->socket, .number = number,
					 .slot = place->slot, .kind = place->kind, .area = { .fd = -1 } };
	memset(device->kick_fds, -1, sizeof(device->kick_fds));
	memset(device->call_fds, -1, sizeof(device->call_fds));
	status = make_area(&device->area, description->queue_count);
	for (unsigned int i = 0; !status && i < description->queue_count; i++) {
		device->kick_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		device->call_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (device->kick_fds[i] < 0 || device->call_fds[i] < 0)
			status = -errno;
	}
	if (!status)
		return device;
	snprintf(error, error_bytes, "%s: its relay area: %s", device->path, strerror(-status));
	relay_device_destroy(device);
	return NULL;
}

static int give_config(struct relay_device *device)
{
	struct bulkhead_kvm_config config = { .slot = device->slot,
					      .size_bytes = descriptions[device->kind].config_bytes };

	memcpy(config.config, device->config, config.size_bytes);
	return bulkhead_guest_operate(device->machine, BULKHEAD_KVM_CONFIG, &config);
}

int relay_device_attach(struct relay_device *device)
{
	unsigned int queue_count = descriptions[device->kind].queue_count;
	int status = 0;

	for (unsigned int i = 0; !status && i < queue_count; i++) {
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

bool relay_device_connect(struct relay_device *device, char *error, size_t error_bytes)
{
	const char *wrong;
	int status = vhost_user_connect(&device->backend, device->path);

	if (status) {
		snprintf(error, error_bytes, "%s: %s; is a vhost-user backend listening there?", device->path,
			 strerror(-status));
		return false;
	}
	wrong = configure(device);
	if (wrong) {
		snprintf(error, error_bytes, "%s: the backend %s", device->path, wrong);
		return false;
	}
	status = give_config(device);
	if (status)
		snprintf(error, error_bytes, "%s: its configuration: %s", device->path, strerror(-status));
	return !status;
}

/** Connects to the backend that serves the device after the one that was lost. Returns 0 or a negative errno. */
static int reconnect(struct relay_device *device)
{
	uint8_t before[BULKHEAD_DEVICE_CONFIG_BYTES];
	const char *wrong;
	int status = vhost_user_greet(&device->backend, connector_ask(device->machine->connector, device->number));

	if (status)
		return status;
	(void)eventfd_write(device->machine->look, 1);
	memcpy(before, device->config, sizeof(before));
	wrong = configure(device);
	if (wrong) {
		fprintf(stderr, "monitor: %s: the backend %s\n", device->path, wrong);
		return -EPROTO;
	}
	return memcmp(before, device->config, sizeof(before)) ? give_config(device) : 0;
}

static void start(struct relay_device *device, const struct bulkhead_kvm_device_exit *exit)
{
	struct vhost_user_queue queues[BULKHEAD_QUEUES_MAX] = { 0 };
	unsigned int queue_count = descriptions[device->kind].queue_count;
	int status = device->backend.fd < 0 ? reconnect(device) : 0;

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
	if (!status)
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
	struct bulkhead_kvm_slot slot = { .slot = device->slot };

	if (device->started && vhost_user_stop(&device->backend, descriptions[device->kind].queue_count))
		vhost_user_close(&device->backend); /* it answers no more */
	device->started = false;
	(void)bulkhead_guest_operate(device->machine, BULKHEAD_KVM_RELEASE, &slot);
}

void relay_device_event(struct relay_device *device, const struct bulkhead_kvm_device_exit *exit)
{
	if (exit->event == BULKHEAD_DEVICE_START)
		start(device, exit);
	else
		stop(device);
}

const char *relay_device_path(const struct relay_device *device)
{
	return device->path;
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
	struct bulkhead_kvm_slot slot = { .slot = device->slot };

	vhost_user_close(&device->backend);
	device->started = false;
	/* Refused if the guest's driver has not started the device: then it loses nothing. */
	(void)bulkhead_guest_operate(device->machine, BULKHEAD_KVM_LOSE, &slot);
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
