/* SPDX-License-Identifier: MIT */
/*
 * The machine's clocks, as the hypervisor itself measured and read them at start, before the service domain could have a
 * say: rate of the time-stamp counter, and the date. Guests' clocks are made of these.
 */
#ifndef BULKHEAD_X86_CLOCK_H
#define BULKHEAD_X86_CLOCK_H

#include <stdint.h>

/** Measures and reads. Once, on one processor. @pm_timer_port: 0 if the machine has none: the rate stays unknown */
void clock_start(uint16_t pm_timer_port);

/** Rate of the time-stamp counter; 0: unknown. */
uint32_t clock_tsc_khz(void);

/** Date at a value of the time-stamp counter, in seconds since 1970. After core_start(). */
uint64_t clock_date_at(uint64_t tsc);

#endif
