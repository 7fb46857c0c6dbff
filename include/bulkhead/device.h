/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * /dev/bulkhead: what the service domain's programs may ask the driver about the hypervisor.
 *
 * The device exists only under Bulkhead, only root (and the vaults of an installed PC) may open it, and
 * it changes nothing: every call reads. The structures are those of the hypercall interface, handed on as they are.
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

/** A guest of the driver's /dev/kvm and what it measures as. */
struct bulkhead_device_guest {
	int32_t guest;	   /* in: file descriptor that KVM_CREATE_VM of /dev/kvm has made */
	uint32_t reserved; /* in: 0 */
	struct bulkhead_measurement measurement;
};

/**
 * Reads what the guest behind a file descriptor measures as: whoever was given the descriptor by somebody else, a vault
 * for instance, asks the hypervisor here and not the descriptor. Errors: EBADF (no file), EINVAL (no guest of this
 * driver, or one that has not begun), EFAULT.
 */
#define BULKHEAD_DEVICE_MEASURE _IOWR('B', 0x04, struct bulkhead_device_guest)

#endif
