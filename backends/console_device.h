/*
 * The virtio console (virtio 1.2, 5.3) of one guest, whose bytes go to and from whoever is connected to a Unix socket.
 * Either a console, one port without control queues, whose bytes pass as they are: whoever shows them filters them
 * (bulkhead console does). Or a named port for two programs that speak with each other, one in the guest: each side is told
 * whether the other is there: the guest by message, who connects here by being hung up on. Bytes for who has left are lost.
 */
#ifndef BULKHEAD_BACKENDS_CONSOLE_DEVICE_H
#define BULKHEAD_BACKENDS_CONSOLE_DEVICE_H

#include "port_control.h"
#include "vhost_device.h"

#include <console.h>

#define CONSOLE_REQUEST_BYTES 4096u

struct console_device {
	struct vhost_kind kind;
	pthread_mutex_t lock;
	struct console console;	     /* under lock */
	struct port_control control; /* under lock; a console's guest never hears of it */
	bool is_port;
	int typed[2]; /* what was typed waits here for the guest; nobody waits for the guest */
	int owed;     /* readable while the guest is owed a control message */
};

/**
 * Listens at @path for whoever is to see the console or use the port; @device->kind is what to serve.
 * @port: the port's name, as port_control_make() takes it; NULL: a console
 * Returns 0 or a negative errno.
 */
int console_device_make(struct console_device *device, const char *path, const char *port);

/** Serves those who connect, for as long as the process lives; on a thread of its own. Returns 0 or a negative errno. */
int console_device_start(struct console_device *device);

#endif
