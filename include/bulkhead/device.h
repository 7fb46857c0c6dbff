/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * /dev/bulkhead: what the service domain's programs may ask the driver about the hypervisor.
 *
 * The device exists only under Bulkhead, only root may open it, and it changes nothing: every call
 * reads. The structures are those of the hypercall interface, handed on as they are.
 */
#ifndef BULKHEAD_DEVICE_H
#define BULKHEAD_DEVICE_H

#ifdef __KERNEL__
#include <linux/ioctl.h>
#else
#include <sys/ioctl.h>
#endif

#include <bulkhead/hypercall.h>

#define BULKHEAD_DEVICE "/dev/bulkhead"

/** Reads the machine's state. Errors: EFAULT (the buffer), EPROTO (an answer without sense). */
#define BULKHEAD_DEVICE_STATUS _IOR('B', 0x01, struct bulkhead_status)

/** Reads the counters of processor `processor`. Errors: EINVAL (no such processor), EFAULT, EPROTO. */
#define BULKHEAD_DEVICE_STATS _IOWR('B', 0x02, struct bulkhead_stats)

/**
 * Reads log text that starts at position `first` or, if that is gone already, at the oldest kept;
 * `first` then says where. The next piece starts at first + size_bytes; size_bytes 0 means there is
 * nothing newer. Errors: EFAULT, EPROTO.
 */
#define BULKHEAD_DEVICE_LOG _IOWR('B', 0x03, struct bulkhead_log)

#endif
