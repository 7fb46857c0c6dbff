/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * /dev/bulkhead: status, counters and log of the hypervisor for root (include/bulkhead/device.h).
 */
#ifndef BULKHEAD_DRIVER_DEVICE_H
#define BULKHEAD_DRIVER_DEVICE_H

/** Makes the device appear. Call after hypercall_find(). Returns 0 or a negative errno. */
int bulkhead_device_register(void);

/** Takes the device away. */
void bulkhead_device_unregister(void);

#endif
