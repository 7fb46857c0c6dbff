/* SPDX-License-Identifier: MIT */
/*
 * The watchdog: an IB700 as Linux's ib700wdt drives it, two ports and nothing to probe. A guest that starts it and then
 * feeds it no more is launched anew. Knows no clock: whoever calls says what time it is.
 */
#ifndef BULKHEAD_MONITOR_WATCHDOG_H
#define BULKHEAD_MONITOR_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#define WATCHDOG_STOP_PORT 0x441u
#define WATCHDOG_FEED_PORT 0x443u
#define WATCHDOG_NEVER	   UINT64_MAX

struct watchdog {
	uint64_t patience_ns; /**< 0: not started */
	uint64_t fed_ns;      /**< when the guest last wrote to it */
};

/** The guest wrote to the feed port: it starts with the patience that @value says (F: none, E: 2 s .. 0: 30 s). */
void watchdog_feed(struct watchdog *watchdog, uint8_t value, uint64_t now_ns);

/** The guest wrote to the stop port. */
void watchdog_stop(struct watchdog *watchdog);

/** Counts from now on, after a time in which the guest could not run. */
void watchdog_forgive(struct watchdog *watchdog, uint64_t now_ns);

/** Nanoseconds until the guest has to be launched anew; 0: now; WATCHDOG_NEVER: it is not started. */
uint64_t watchdog_left(const struct watchdog *watchdog, uint64_t now_ns);

#endif
