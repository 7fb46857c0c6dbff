/* SPDX-License-Identifier: MIT */
/*
 * A driver of one virtio entropy device, as little of one as can be: one queue, one request at a time, one interrupt.
 */
#ifndef BENCH_EXITS_DEVICE_H
#define BENCH_EXITS_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

/** Finds and starts the device; its interrupt is @vector. Returns false if there is none. */
bool device_start(uint8_t vector);

/** Puts one request into the ring, which device_ring() tells the device. */
void device_request(void);
void device_ring(void);

/** Whether all requests have been answered. */
bool device_is_done(void);

#endif
