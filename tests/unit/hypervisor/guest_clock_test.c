/* SPDX-License-Identifier: MIT */
/*
 * What a guest computes from the clock it is given is the time that has passed.
 */
#include "guest_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static const uint32_t rates[] = { 500000, 999999, 1000000, 1000001, 1700000, 2399999, 3600000, 5999999 };
#define RATES (sizeof(rates) / sizeof(rates[0]))

/* As Documentation/virt/kvm/x86/msr.rst of Linux says. */
static uint64_t guest_ns(const struct guest_clock_time *clock, uint64_t tsc)
{
	uint64_t delta = tsc - clock->tsc;

	delta = clock->shift < 0 ? delta >> -clock->shift : delta << clock->shift;
	return clock->system_ns + (uint64_t)((unsigned __int128)delta * clock->multiplier >> 32);
}

static void a_day_passes_in_a_day(void **state)
{
	(void)state;
	for (size_t i = 0; i < RATES; i++) {
		struct guest_clock_time clock = guest_clock_time(12345, rates[i]);
		uint64_t ns = guest_ns(&clock, 12345 + rates[i] * 86400000ull), day = 86400000000000ull;

		assert_in_range(ns, day - day / 100000000, day);
		assert_int_equal(guest_ns(&clock, 12345), 0);
		assert_int_equal(clock.version & 1, 0);
		assert_true(clock.multiplier >= 1u << 31);
	}
}

static void the_power_management_timer_counts_at_its_rate(void **state)
{
	(void)state;
	for (size_t i = 0; i < RATES; i++) {
		uint64_t second = rates[i] * 1000ull;

		assert_int_equal(guest_clock_pm_timer(0, rates[i]), 0);
		assert_int_equal(guest_clock_pm_timer(second, rates[i]), 3579545);
		assert_int_equal(guest_clock_pm_timer(second * 100000, rates[i]),
				 (uint32_t)(3579545ull * 100000));
		for (uint64_t tsc = 0, last = 0; tsc < second; tsc += second / 997) {
			uint32_t now = guest_clock_pm_timer(tsc, rates[i]);

			assert_true(now >= last);
			last = now;
		}
	}
}

static void dates_are_those_of_the_calendar(void **state)
{
	(void)state;
	for (time_t seconds = 0; seconds < 4102444800; seconds += 86400 * 5 + 3661) {
		struct tm utc;

		gmtime_r(&seconds, &utc);
		assert_int_equal(guest_clock_unix_seconds((uint32_t)utc.tm_year + 1900, (uint32_t)utc.tm_mon + 1,
							  (uint32_t)utc.tm_mday, (uint32_t)utc.tm_hour,
							  (uint32_t)utc.tm_min, (uint32_t)utc.tm_sec),
				 seconds);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_day_passes_in_a_day),
		cmocka_unit_test(the_power_management_timer_counts_at_its_rate),
		cmocka_unit_test(dates_are_those_of_the_calendar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
