/*
 * The virtio console (virtio 1.2, 5.3) of one guest: one port without control queues, whose bytes go to and from whoever
 * is connected to a Unix socket. Bytes pass as they are: whoever shows them filters them (bulkhead console does).
 */
#ifndef BULKHEAD_BACKENDS_CONSOLE_DEVICE_H
#define BULKHEAD_BACKENDS_CONSOLE_DEVICE_H

#include "vhost_device.h"

#include <console.h>

#define CONSOLE_REQUEST_BYTES 4096u

struct console_device {
	struct vhost_kind kind;
	pthread_mutex_t lock;
	struct console console; /* under lock */
	int typed[2];		/* what was typed waits here for the guest; nobody waits for the guest */
};

/** Listens at @path for whoever is to see the console; @device->kind is what to serve. Returns 0 or a negative errno. */
int console_device_make(struct console_device *device, const char *path);

/** Serves those who connect, for as long as the process lives; on a thread of its own. Returns 0 or a negative errno. */
int console_device_start(struct console_device *device);

#endif
