/* SPDX-License-Identifier: MIT */
/*
 * A virtio device on the guest's PCI bus on stock KVM, served by a vhost-user backend that maps the guest's memory. What it
 * is, relay_device.h says: but for disks, which show all that their backend offers.
 */
#ifndef BULKHEAD_MONITOR_SHARED_DEVICE_H
#define BULKHEAD_MONITOR_SHARED_DEVICE_H

#include "machine.h"
#include "relay_device.h"

struct shared_device;

/**
 * Connects to the backend of @place, the @number-th of the configuration, and puts its device on the bus.
 * Returns the device, owned by the caller, or NULL after filling @error with one line.
 */
struct shared_device *shared_device_create(struct machine *machine, unsigned int number,
					   const struct relay_device_place *place, char *error, size_t error_bytes);

/** Stops the device's queues and frees it. */
void shared_device_destroy(struct shared_device *device);

/** The backend's socket, for waiting on; it becomes readable only when the backend goes away. */
int shared_device_backend_fd(const struct shared_device *device);

/** Tells the guest that the device is gone until a reset; until then takes what it only gives the device. With the machine's lock held. */
void shared_device_backend_died(struct shared_device *device);

/** Where its backend listens. */
const char *shared_device_path(const struct shared_device *device);

#endif
