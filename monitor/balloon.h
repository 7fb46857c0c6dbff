/* SPDX-License-Identifier: MIT */
/*
 * The balloon of a protected guest. The hypervisor serves it; the monitor only says how many pages the guest should do
 * without, and the guest's driver does as it likes.
 */
#ifndef BULKHEAD_MONITOR_BALLOON_H
#define BULKHEAD_MONITOR_BALLOON_H

#include "machine.h"

#include <bulkhead/platform.h>

/** What the device is: this is measured. */
const struct bulkhead_device_description *balloon_describe(void);

/** Asks the guest to do without @bytes of its memory. Returns 0 or a negative errno. */
int balloon_ask(struct machine *machine, uint64_t bytes);

#endif
