/* SPDX-License-Identifier: MIT */
/*
 * State of the watchdog; see watchdog.h.
 */
#include "watchdog.h"

#define STEP_NS 2000000000ull

void watchdog_feed(struct watchdog *watchdog, uint8_t value, uint64_t now_ns)
{
	/* One nanosecond more, because 0 says that it is not started. */
	watchdog->patience_ns = (15u - (value & 15u)) * STEP_NS + 1;
	watchdog->fed_ns = now_ns;
}

void watchdog_stop(struct watchdog *watchdog)
{
	watchdog->patience_ns = 0;
}

void watchdog_forgive(struct watchdog *watchdog, uint64_t now_ns)
{
	watchdog->fed_ns = now_ns;
}

uint64_t watchdog_left(const struct watchdog *watchdog, uint64_t now_ns)
{
	uint64_t passed = now_ns - watchdog->fed_ns;

	if (!watchdog->patience_ns)
		return WATCHDOG_NEVER;
	return passed < watchdog->patience_ns ? watchdog->patience_ns - passed : 0;
}
