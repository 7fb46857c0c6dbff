/* SPDX-License-Identifier: MIT */
/*
 * What a guest may know of time, as numbers: KVM's paravirtual clock, which a guest computes from the time-stamp counter
 * itself, and the power management timer. Linux, Documentation/virt/kvm/x86/msr.rst; ACPI 6.4, 4.8.3.3.
 */
#ifndef BULKHEAD_PLATFORM_GUEST_CLOCK_H
#define BULKHEAD_PLATFORM_GUEST_CLOCK_H

#include <assert.h>
#include <stdint.h>

/** What the guest finds where it asked for the time of this vCPU. */
struct guest_clock_time {
	uint32_t version; /* odd: being written */
	uint32_t reserved;
	uint64_t tsc;	     /* counter at which system_ns was right */
	uint64_t system_ns;
	uint32_t multiplier; /* ns = ((counter - tsc) << shift) * multiplier >> 32 */
	int8_t shift;
	uint8_t flags;	     /* bit 0: all vCPUs' clocks agree */
	uint8_t reserved2[2];
};

/** What it finds where it asked for the date of system_ns 0. */
struct guest_clock_date {
	uint32_t version;
	uint32_t seconds, nanoseconds; /* since 1970, UTC */
};

static_assert(sizeof(struct guest_clock_time) == 32, "KVM");
static_assert(sizeof(struct guest_clock_date) == 12, "KVM");

/** The clock that is 0 ns at counter @start. @tsc_khz: above 0 */
struct guest_clock_time guest_clock_time(uint64_t start, uint32_t tsc_khz);

/** The power management timer (3.579545 MHz, 32 bits) at a counter value. @tsc_khz: above 0 */
uint32_t guest_clock_pm_timer(uint64_t tsc, uint32_t tsc_khz);

/** Seconds from counter value 0 to @tsc. @tsc_khz: above 0 */
uint64_t guest_clock_seconds(uint64_t tsc, uint32_t tsc_khz);

/** Days in the proleptic Gregorian calendar, as seconds since 1970. @month: 1 to 12; @year: 1970 or later */
uint64_t guest_clock_unix_seconds(uint32_t year, uint32_t month, uint32_t day, uint32_t hour, uint32_t minute,
				  uint32_t second);

#endif
