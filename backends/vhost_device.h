/*
 * A vhost-user device: answers a front-end's messages (QEMU's docs/interop/vhost-user), runs its queues on threads of
 * their own, and calls one function for each request. What kind of device it is stands in a table.
 */
#ifndef BULKHEAD_BACKENDS_VHOST_DEVICE_H
#define BULKHEAD_BACKENDS_VHOST_DEVICE_H

#include "vhost_queue.h"

#include <pthread.h>

#define VHOST_QUEUES_MAX   16u
#define VHOST_CONFIG_MAX   256u
#define VHOST_MESSAGE_MAX  4096u
#define VHOST_WORKERS	   4u
#define VHOST_MESSAGE_FDS  8

/** What a kind of device is. */
struct vhost_kind {
	uint64_t features;	  /**< besides those of the transport */
	unsigned int queue_count; /**< at most VHOST_QUEUES_MAX */
	const void *config;	  /**< the device's configuration space */
	size_t config_bytes;	  /**< at most VHOST_CONFIG_MAX */
	/**
	 * Serves one request; called by several threads. @scratch is the thread's own, of @scratch_bytes.
	 * Returns how many bytes were written into the request's in segments.
	 */
	uint32_t (*serve)(void *context, const struct vhost_request *request, void *scratch);
	size_t scratch_bytes;
	void *context;
	unsigned int worker_max; /**< threads of a queue; 0: VHOST_WORKERS; 1 keeps requests in their order */
	/**
	 * A queue whose requests wait for something from elsewhere: a descriptor that is readable when one can be
	 * served, or -1. May be NULL.
	 */
	int (*source)(void *context, unsigned int queue);
};

struct vhost_device;

struct vhost_line {
	struct vhost_device *device;
	struct vhost_queue queue;  /* under lock while workers run */
	int kick, call, error, stop;
	bool enabled, running, polling;
	pthread_mutex_t lock;
	pthread_cond_t more;
	pthread_t workers[VHOST_WORKERS];
	unsigned int worker_count;
};

/** One front-end's device. */
struct vhost_device {
	const struct vhost_kind *kind;
	uint64_t features, protocol_features;
	struct vhost_memory memory;
	void *inflight_map;
	size_t inflight_bytes;
	uint16_t inflight_queues, inflight_size;
	struct vhost_line lines[VHOST_QUEUES_MAX];
};

/** A message as it lies on the socket, little-endian like this machine. */
struct vhost_message {
	uint32_t request, flags, size;
	uint8_t payload[VHOST_MESSAGE_MAX];
} __attribute__((packed));
#define VHOST_HEADER_BYTES 12u

void vhost_device_make(struct vhost_device *device, const struct vhost_kind *kind);

/** Stops all queues and forgets the front-end. */
void vhost_device_release(struct vhost_device *device);

/**
 * Handles one message whose payload is message->size bytes.
 * @fds, @fd_count  what came with it; all are closed or kept when this returns, kept ones set to -1.
 * @reply     filled if the result is 1.
 * @reply_fd  a descriptor to send with it, or -1; the caller closes it.
 * Returns 1 (send @reply), 0 (nothing to send), or a negative errno: the front-end breaks the protocol; hang up.
 */
int vhost_device_handle(struct vhost_device *device, const struct vhost_message *message, int *fds,
			unsigned int fd_count, struct vhost_message *reply, int *reply_fd);

/** Starts a line's workers once the front-end has given all it needs. Returns 0 or a negative errno. */
int vhost_line_start(struct vhost_line *line);
/** Lets running requests end and joins the workers. */
void vhost_line_stop(struct vhost_line *line);

/**
 * Serves front-ends on a connected socket until it is closed. Returns 0 at its end, or the negative errno of a broken
 * protocol.
 */
int vhost_serve(int socket, const struct vhost_kind *kind);

/**
 * Opens a listening socket at @path, for this user only; it is there once it listens. Returns it or a negative errno,
 * -EADDRINUSE where something else than a socket is.
 */
int vhost_open(const char *path);

/** Serves one front-end after another on a listening socket until @stop_fd becomes readable. Returns 0 or -errno. */
int vhost_accept(int listener, const struct vhost_kind *kind, int stop_fd);

#endif
