/* SPDX-License-Identifier: MIT */
/*
 * See clock.h.
 */
#include "../platform/guest_clock.h"
#include "clock.h"
#include "hypervisor.h"

#define PM_TIMER_KHZ  3579545ull /* thousandths of kHz: 3.579545 MHz */
#define PM_TIMER_MASK 0xffffffu	 /* the 24 bits every machine has */
#define MEASURED_TICKS 14318u	 /* 4 ms */
#define PATIENCE      100000000u

#define RTC_INDEX  0x70u
#define RTC_DATA   0x71u
#define RTC_BUSY   0x80u /* register A: the time is being changed */
#define RTC_BINARY 0x04u /* register B */
#define RTC_24     0x02u
#define RTC_PM	   0x80u

static struct {
	uint32_t tsc_khz;
	uint64_t date, tsc; /* date at a counter value */
} clock;

static uint8_t rtc(uint8_t index)
{
	out8(RTC_INDEX, index);
	return in8(RTC_DATA);
}

static uint32_t number(uint8_t value, bool is_binary)
{
	return is_binary ? value : (uint32_t)(value >> 4) * 10 + (value & 0xf);
}

static uint64_t read_date(void)
{
	uint8_t mode = rtc(0x0b), hour;
	bool is_binary = mode & RTC_BINARY, is_afternoon;
	uint32_t hours, year, month;

	for (uint32_t i = 0; i < PATIENCE / 1000 && (rtc(0x0a) & RTC_BUSY); i++)
		;
	hour = rtc(4);
	is_afternoon = !(mode & RTC_24) && (hour & RTC_PM);
	hours = number(mode & RTC_24 ? hour : hour & 0x7f, is_binary);
	if (!(mode & RTC_24))
		hours = hours % 12 + (is_afternoon ? 12 : 0);
	year = 2000 + number(rtc(9), is_binary) % 100;
	month = number(rtc(8), is_binary);
	if (month < 1 || month > 12)
		month = 1;
	return guest_clock_unix_seconds(year, month, number(rtc(7), is_binary), hours,
					number(rtc(2), is_binary), number(rtc(0), is_binary));
}

/* The counter's ticks while the power management timer makes a number of its own. */
static uint32_t measure(uint16_t port)
{
	uint32_t first = in32(port) & PM_TIMER_MASK, ticks = 0, last = first;
	uint64_t from, to;

	for (uint32_t i = 0; i < PATIENCE && last == first; i++)
		last = in32(port) & PM_TIMER_MASK;
	from = rdtsc();
	first = last;
	for (uint32_t i = 0; i < PATIENCE && ticks < MEASURED_TICKS; i++)
		ticks = ((in32(port) & PM_TIMER_MASK) - first) & PM_TIMER_MASK;
	to = rdtsc();
	if (ticks < MEASURED_TICKS)
		return 0;
	return (uint32_t)((to - from) * PM_TIMER_KHZ / 1000 / ticks);
}

void clock_start(uint16_t pm_timer_port)
{
	clock.tsc_khz = pm_timer_port ? measure(pm_timer_port) : 0;
	clock.tsc = rdtsc();
	clock.date = read_date();
	if (clock.tsc_khz)
		log_info("clock", "the time-stamp counter runs at %u kHz", clock.tsc_khz);
	else
		log_warning("clock", "no power management timer: guests are told that the time-stamp counter runs at 1 GHz");
}

uint32_t clock_tsc_khz(void)
{
	return clock.tsc_khz;
}

uint64_t clock_date_at(uint64_t tsc)
{
	if (tsc < clock.tsc)
		return clock.date - guest_clock_seconds(clock.tsc - tsc, core.tsc_khz);
	return clock.date + guest_clock_seconds(tsc - clock.tsc, core.tsc_khz);
}
