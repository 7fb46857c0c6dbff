/* SPDX-License-Identifier: MIT */
/*
 * Joins the virtio transport to a vhost-user-blk backend; see block.h.
 */
#include "block.h"
#include "connector.h"
#include "kvm.h"
#include "vhost_user.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define QUEUE_SIZE	  128u
#define BLOCK_CONFIG_BYTES 60u
#define BAR_NOTIFY	  0x3000u

/* Where the number of queues stands in the configuration (virtio 1.2, 5.2.4), and the feature that says so. */
#define CONFIG_QUEUES	  34u
#define BLOCK_F_QUEUES	  (1ull << 12)

/* Features of block devices that need nothing from the front-end: limits, geometry, flush, discard, write-zeroes. */
#define BLOCK_FEATURES                                                                                             \
	(1ull << 1 | 1ull << 2 | 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 9 | 1ull << 10 | 1ull << 11 |        \
	 BLOCK_F_QUEUES | 1ull << 13 | 1ull << 14 | VIRTIO_F_RING_INDIRECT | VIRTIO_F_EVENT_INDEX)

struct block_device {
	struct virtio_device device; /* first: the transport's callbacks get its address */
	struct machine *machine;
	struct vhost_user backend;
	unsigned int number, first_line;
	int kick_fds[VIRTIO_QUEUES_MAX], call_fds[VIRTIO_QUEUES_MAX];
	uint64_t doorbell; /* where the queues' doorbells lie; 0: not attached */
	bool started;
};

static void attach_doorbells(struct block_device *disk, bool attached)
{
	uint64_t bar = pci_bar_address(&disk->device.pci, VIRTIO_BAR_REGISTERS);

	if (!attached && !disk->doorbell)
		return;
	if (attached)
		disk->doorbell = bar ? bar + BAR_NOTIFY : 0;
	for (unsigned int i = 0; disk->doorbell && i < disk->device.queue_count; i++)
		(void)kvm_doorbell(disk->machine, disk->kick_fds[i], disk->doorbell + 4 * i, attached);
	if (!attached)
		disk->doorbell = 0;
}

static void on_start(struct virtio_device *device)
{
	struct block_device *disk = (struct block_device *)device;
	struct vhost_user_queue queues[VIRTIO_QUEUES_MAX] = { 0 };
	int status;

	for (unsigned int i = 0; i < device->queue_count; i++)
		if (device->queues[i].enabled)
			queues[i] = (struct vhost_user_queue){
				.size = device->queues[i].size,
				.descriptors = device->queues[i].descriptors,
				.available = device->queues[i].available,
				.used = device->queues[i].used,
				.kick_fd = disk->kick_fds[i],
				.call_fd = disk->call_fds[i],
			};
	/* A disk's place among the configuration's devices is its number among the disks. */
	status = disk->backend.fd < 0 ?
			 vhost_user_greet(&disk->backend, connector_ask(disk->machine->connector, disk->number)) :
			 0;
	(void)eventfd_write(disk->machine->look, 1);
	if (!status)
		status = vhost_user_start(&disk->backend, device->features_accepted, &disk->machine->ram, queues,
				  device->queue_count);
	if (status) {
		fprintf(stderr, "monitor: disk backend: starting its queues: %s\n", strerror(-status));
		block_backend_died(disk);
		return;
	}
	disk->started = true;
	attach_doorbells(disk, true);
}

static void on_reset(struct virtio_device *device)
{
	struct block_device *disk = (struct block_device *)device;

	attach_doorbells(disk, false);
	if (disk->started && vhost_user_stop(&disk->backend, device->queue_count))
		vhost_user_close(&disk->backend);
	disk->started = false;
}

static void on_notify(struct virtio_device *device, unsigned int queue)
{
	struct block_device *disk = (struct block_device *)device;

	(void)eventfd_write(disk->kick_fds[queue], 1);
}

/** Follows the driver's MSI-X table: an unmasked vector gets its queues' events, a masked one lets them wait. */
static void on_vector(struct virtio_device *device, unsigned int vector)
{
	struct block_device *disk = (struct block_device *)device;
	struct virtio_message message;

	for (unsigned int i = 0; i < device->queue_count; i++) {
		bool open;

		if (device->queues[i].vector != vector)
			continue;
		open = virtio_pci_vector_message(device, vector, &message);
		if (kvm_route_message(disk->machine, disk->call_fds[i], disk->first_line + i,
				      open ? &message : NULL))
			fprintf(stderr, "monitor: disk: cannot route interrupt %u\n", vector);
	}
}

static const struct virtio_owner owner = {
	.start = on_start,
	.reset = on_reset,
	.notify = on_notify,
	.vector_changed = on_vector,
};

struct block_device *block_create(struct machine *machine, unsigned int slot, const char *socket_path, char *error,
				  size_t error_bytes)
{
	struct virtio_identity identity = {
		.type = 2,
		.class_code = 0x010000,
		.queue_count = 1,
		.queue_size_max = QUEUE_SIZE,
		.config_bytes = BLOCK_CONFIG_BYTES,
	};
	struct block_device *disk = calloc(1, sizeof(*disk));
	uint8_t config[BLOCK_CONFIG_BYTES] = { 0 };
	unsigned int queues = 1;
	int status;

	if (!disk) {
		snprintf(error, error_bytes, "%s: out of memory", socket_path);
		return NULL;
	}
	disk->machine = machine;
	disk->number = slot - MACHINE_DISK_SLOT;
	for (unsigned int i = 0; i < VIRTIO_QUEUES_MAX; i++)
		disk->kick_fds[i] = disk->call_fds[i] = -1;
	status = vhost_user_connect(&disk->backend, socket_path);
	if (!status)
		status = vhost_user_get_config(&disk->backend, config, sizeof(config));
	if (status) {
		snprintf(error, error_bytes, "%s: %s; is a vhost-user-blk backend listening there?", socket_path,
			 strerror(-status));
		goto failed;
	}
	if (disk->backend.features & BLOCK_F_QUEUES)
		queues = config[CONFIG_QUEUES] | (unsigned int)config[CONFIG_QUEUES + 1] << 8;
	if (queues < 1)
		queues = 1;
	if (queues > machine->processor_count)
		queues = machine->processor_count;
	if (queues > VIRTIO_QUEUES_MAX)
		queues = VIRTIO_QUEUES_MAX;
	config[CONFIG_QUEUES] = (uint8_t)queues;
	config[CONFIG_QUEUES + 1] = 0;
	identity.queue_count = (uint16_t)queues;
	identity.features = disk->backend.features & BLOCK_FEATURES;
	disk->first_line = slot * VIRTIO_QUEUES_MAX % KVM_MSI_LINES;
	for (unsigned int i = 0; i < queues; i++) {
		disk->kick_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		disk->call_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (disk->kick_fds[i] < 0 || disk->call_fds[i] < 0) {
			snprintf(error, error_bytes, "%s: %s", socket_path, strerror(errno));
			goto failed;
		}
	}
	virtio_pci_init(&disk->device, &identity, &owner, disk);
	virtio_pci_set_config(&disk->device, config);
	machine->pci.functions[slot] = &disk->device.pci;
	return disk;
failed:
	block_destroy(disk);
	return NULL;
}

void block_destroy(struct block_device *disk)
{
	if (!disk)
		return;
	if (disk->started)
		(void)vhost_user_stop(&disk->backend, disk->device.queue_count);
	vhost_user_close(&disk->backend);
	for (unsigned int i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		if (disk->kick_fds[i] >= 0)
			close(disk->kick_fds[i]);
		if (disk->call_fds[i] >= 0)
			close(disk->call_fds[i]);
	}
	free(disk);
}

int block_backend_fd(const struct block_device *disk)
{
	return disk->backend.fd;
}

void block_backend_died(struct block_device *disk)
{
	struct virtio_message message;

	attach_doorbells(disk, false);
	vhost_user_close(&disk->backend);
	disk->started = false;
	virtio_pci_needs_reset(&disk->device);
	if (virtio_pci_interrupt(&disk->device, -1, &message))
		kvm_send_message(disk->machine, &message);
}
