/* The virtio network device (virtio 1.1, 5.1) of one guest: frames between its queues and a descriptor, a tap. */
#ifndef BULKHEAD_BACKENDS_NET_H
#define BULKHEAD_BACKENDS_NET_H

#include "net_frame.h"
#include "vhost_device.h"

#include <linux/virtio_net.h>

#define NET_ANSWERS_MAX 8u

struct net {
	struct net_identity identity;
	struct virtio_net_config config;
	struct vhost_kind kind;
	int tap;    /**< one frame a read or write; non-blocking; the caller's */
	int answer; /**< event: answers wait */
	int source; /**< readable when the guest can be given a frame */
	pthread_mutex_t lock;
	unsigned int answer_count; /**< under lock, as all that follows */
	size_t answer_bytes[NET_ANSWERS_MAX];
	uint8_t answers[NET_ANSWERS_MAX][NET_FRAME_MAX];
	unsigned long dropped; /**< frames of the guest's that were refused */
};

/** Makes the device; @net->kind is what to serve. Returns 0 or a negative errno. */
int net_make(struct net *net, const struct net_identity *identity, int tap);
void net_release(struct net *net);

#endif
