/* The virtio block device (virtio 1.1, 5.2) over a guest's disk: one request in, one status out. */
#ifndef BULKHEAD_BACKENDS_BLK_H
#define BULKHEAD_BACKENDS_BLK_H

#include "guestdisk.h"
#include "vhost_device.h"

#include <linux/virtio_blk.h>

#define BLK_PIECE_BYTES (1u << 20)

struct blk {
	struct guestdisk *disk;
	struct virtio_blk_config config;
	struct vhost_kind kind;
	char serial[VIRTIO_BLK_ID_BYTES];
};

/**
 * Describes a disk as a device of @queue_count queues; @blk->kind is what to serve.
 * @serial  up to 20 characters that the guest sees.
 */
void blk_make(struct blk *blk, struct guestdisk *disk, unsigned int queue_count, const char *serial);

/** Serves one request (struct vhost_kind). */
uint32_t blk_serve(void *context, const struct vhost_request *request, void *scratch);

#endif
