/* SPDX-License-Identifier: MIT */
/*
 * The front-end side of the vhost-user protocol (QEMU's docs/interop/vhost-user.rst): hands a guest's queues to a
 * backend process. The backend is not trusted with more than the memory it is given: its answers are checked.
 */
#ifndef BULKHEAD_MONITOR_VHOST_USER_H
#define BULKHEAD_MONITOR_VHOST_USER_H

#include "ram.h"

struct vhost_user {
	int fd;
	uint64_t features, protocol_features; /**< what the backend offers */
};

/** A queue to hand over. Addresses are the guest's. */
struct vhost_user_queue {
	uint16_t size;
	uint64_t descriptors, available, used;
	int kick_fd, call_fd;
};

/** Connects to a backend's socket and greets it; as vhost_user_greet(). */
int vhost_user_connect(struct vhost_user *backend, const char *socket_path);

/**
 * Takes a connection to a backend and learns its features.
 * @fd: the connection, taken over also when this fails; or a negative errno, which is returned
 * Returns 0 or a negative errno: -EPROTO if what answers does not follow the protocol.
 */
int vhost_user_greet(struct vhost_user *backend, int fd);
void vhost_user_close(struct vhost_user *backend);

/** Reads @bytes of the device's configuration. Returns 0 or a negative errno (-ENOTSUP: the backend has none). */
int vhost_user_get_config(struct vhost_user *backend, void *config, uint32_t bytes);

/** Sets features and memory and starts the queues. Returns 0 or a negative errno. */
int vhost_user_start(struct vhost_user *backend, uint64_t features, struct memory *ram,
		     const struct vhost_user_queue *queues, unsigned int queue_count);

/** Stops the queues; when it returns the backend touches the guest's memory no more. Returns 0 or a negative errno. */
int vhost_user_stop(struct vhost_user *backend, unsigned int queue_count);

#define VHOST_USER_F_PROTOCOL_FEATURES (1ull << 30)

#endif
