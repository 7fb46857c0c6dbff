/* SPDX-License-Identifier: MIT */
/*
 * A virtio device of a guest of Bulkhead: the hypervisor shows it to the guest and relays its queues; a vhost-user backend
 * serves them in a relay area, which is all of the guest it ever maps.
 */
#ifndef BULKHEAD_MONITOR_RELAY_DEVICE_H
#define BULKHEAD_MONITOR_RELAY_DEVICE_H

#include "config.h"

#include <bulkhead/kvm.h>

struct machine;
struct relay_device;

enum relay_device_kind {
	RELAY_DEVICE_DISK,
	RELAY_DEVICE_NETWORK,
	RELAY_DEVICE_ENTROPY,
	RELAY_DEVICE_CONSOLE,
	RELAY_DEVICE_AGENT, /**< a console of one named port, for the helper in the guest */
};

/** A device that a configuration asks for. */
struct relay_device_place {
	unsigned int slot; /**< PCI device number */
	enum relay_device_kind kind;
	const char *socket; /**< of its backend; the configuration's */
};

/** Lists the devices that @config asks for, in the order in which they are measured. Returns their number. */
unsigned int relay_device_list(const struct config *config, struct relay_device_place list[CONFIG_DEVICES_MAX]);

/** What a device of a kind is, whatever backend serves it: this is measured. */
const struct bulkhead_device_description *relay_device_describe(enum relay_device_kind kind);

/** Fills in what the guest reads of a device, but for disks, whatever backend serves it. @space: config_bytes, zeros. */
void relay_device_fill(enum relay_device_kind kind, const struct config *config, uint8_t *space);

/**
 * Makes the relay area of the device at @place, the @number-th of the configuration.
 * Returns the device, owned by the caller, or NULL after filling @error with one line.
 */
struct relay_device *relay_device_create(struct machine *machine, unsigned int number,
					 const struct relay_device_place *place, char *error, size_t error_bytes);

/** Gives the device's relay areas to the driver, which knows its description. Returns 0 or -errno. */
int relay_device_attach(struct relay_device *device);

/**
 * Connects to the backend and gives the device the configuration that only the backend knows, such as a disk's size. That
 * is not measured, and may come after the seal: the guest must not trust it more than the backend.
 * Returns false after filling @error with one line.
 */
bool relay_device_connect(struct relay_device *device, char *error, size_t error_bytes);

/** Does what the guest's driver asked for: starts or stops the backend, which is connected anew if it was lost. */
void relay_device_event(struct relay_device *device, const struct bulkhead_kvm_device_exit *exit);

/** Where its backend listens. */
const char *relay_device_path(const struct relay_device *device);
unsigned int relay_device_slot(const struct relay_device *device);

/** The backend's socket, for waiting on; it becomes readable only when the backend goes away. -1: it has gone. */
int relay_device_backend_fd(const struct relay_device *device);

/** Lets go of a backend that is gone, and has the guest told that the device needs a reset. */
void relay_device_backend_died(struct relay_device *device);
void relay_device_destroy(struct relay_device *device);

#endif
