/* SPDX-License-Identifier: MIT */
/*
 * See guest_clock.h.
 */
#include "guest_clock.h"

#define PM_TIMER_HZ  3579545ull
#define STABLE	     1u
#define NS_PER_MS    1000000ull
#define DAY_SECONDS  86400ull

struct guest_clock_time guest_clock_time(uint64_t start, uint32_t tsc_khz)
{
	uint64_t numerator = NS_PER_MS, denominator = tsc_khz;
	struct guest_clock_time time = { .version = 2, .tsc = start, .flags = STABLE };

	/* Between one half and one, so that the multiplier uses all its bits. */
	while (numerator >= denominator) {
		denominator *= 2;
		time.shift++;
	}
	while (numerator * 2 < denominator) {
		numerator *= 2;
		time.shift--;
	}
	time.multiplier = (uint32_t)((numerator << 32) / denominator);
	return time;
}

uint32_t guest_clock_pm_timer(uint64_t tsc, uint32_t tsc_khz)
{
	uint64_t ms = tsc / tsc_khz, rest = tsc % tsc_khz;

	return (uint32_t)(ms / 1000 * PM_TIMER_HZ + ms % 1000 * PM_TIMER_HZ / 1000 +
			  rest * PM_TIMER_HZ / 1000 / tsc_khz);
}

uint64_t guest_clock_seconds(uint64_t tsc, uint32_t tsc_khz)
{
	return tsc / tsc_khz / 1000;
}

uint64_t guest_clock_unix_seconds(uint32_t year, uint32_t month, uint32_t day, uint32_t hour, uint32_t minute,
				  uint32_t second)
{
	static const uint16_t days_before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	uint64_t years = year - 1970, days;

	/* Leap days before this year; this year's counts from March on. */
	days = years * 365 + (year - 1969) / 4 - (year - 1901) / 100 + (year - 1601) / 400;
	days += days_before[(month - 1) % 12] + day - 1;
	if (month > 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		days++;
	return days * DAY_SECONDS + hour * 3600ull + minute * 60ull + second;
}
