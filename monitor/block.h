/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk on the guest's PCI bus, served by a vhost-user-blk backend that maps the guest's memory (stock KVM,
 * or an unprotected guest).
 */
#ifndef BULKHEAD_MONITOR_BLOCK_H
#define BULKHEAD_MONITOR_BLOCK_H

#include "machine.h"

struct block_device;

/**
 * Connects to a backend and puts its disk into PCI slot @slot.
 * Returns the device, owned by the caller, or NULL after filling @error with one line.
 */
struct block_device *block_create(struct machine *machine, unsigned int slot, const char *socket_path, char *error,
				  size_t error_bytes);

/** Stops the disk's queues and frees it. */
void block_destroy(struct block_device *disk);

/** The backend's socket, for waiting on; it becomes readable only when the backend goes away. */
int block_backend_fd(const struct block_device *disk);

/** Tells the guest that the disk is gone until a reset. With the machine's lock held. */
void block_backend_died(struct block_device *disk);

#endif
