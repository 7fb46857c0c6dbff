/* The virtio entropy device (virtio 1.1, 5.4): random bytes of the service domain's kernel, one of a guest's sources. */
#ifndef BULKHEAD_BACKENDS_ENTROPY_H
#define BULKHEAD_BACKENDS_ENTROPY_H

#include "vhost_device.h"

/** Bytes one request gets, at most; a guest asks again. */
#define ENTROPY_REQUEST_BYTES 4096u

extern const struct vhost_kind entropy_kind;

#endif
