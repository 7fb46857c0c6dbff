/* SPDX-License-Identifier: MIT */
/*
 * What answers at the platform's ports and memory-mapped registers: serial port, clock chip, power management, PCI.
 * Anything else reads as ones and swallows writes, as an empty bus does.
 */
#include "machine.h"

#include <sys/eventfd.h>
#include <time.h>

enum { KEYBOARD_COMMAND = 0x64 };
enum { PM1_SCI_ENABLE = 1, PM1_SLEEP_ENABLE = 1 << 13 };
enum { RESET_CPU = 4, KEYBOARD_RESET = 0xfe };
#define PM_TIMER_HZ 3579545u

static uint8_t bcd(int value)
{
	return (uint8_t)(value / 10 << 4 | value % 10);
}

/** The MC146818's time registers, in UTC and BCD; all else reads 0, with "valid RAM and time" in register D. */
static uint8_t rtc_read(uint8_t index)
{
	time_t now = time(NULL);
	struct tm utc;

	gmtime_r(&now, &utc);
	switch (index) {
	case 0x00:
		return bcd(utc.tm_sec);
	case 0x02:
		return bcd(utc.tm_min);
	case 0x04:
		return bcd(utc.tm_hour);
	case 0x06:
		return bcd(utc.tm_wday + 1);
	case 0x07:
		return bcd(utc.tm_mday);
	case 0x08:
		return bcd(utc.tm_mon + 1);
	case 0x09:
		return bcd(utc.tm_year % 100);
	case 0x32:
		return bcd(utc.tm_year / 100 + 19);
	case 0x0a:
		return 0x26; /* 32768 Hz, no update in progress */
	case 0x0b:
		return 0x02; /* 24 hours, BCD */
	case 0x0d:
		return 0x80;
	default:
		return 0;
	}
}

static uint32_t pm_timer(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)((uint64_t)now.tv_sec * PM_TIMER_HZ + (uint64_t)now.tv_nsec * PM_TIMER_HZ / 1000000000u);
}

void machine_press_power(struct machine *machine)
{
	/* On Bulkhead the hypervisor holds the button: raising its line presses it. */
	if (!machine->on_bulkhead)
		chipset_press_power(&machine->chipset);
	machine_set_line(machine, MACHINE_SCI, machine->on_bulkhead || chipset_power_line(&machine->chipset));
}

uint64_t machine_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t machine_port_read(struct machine *machine, uint16_t port, uint32_t size_bytes)
{
	uint32_t value;

	if (port >= SERIAL_PORT && port < SERIAL_PORT + 8 && size_bytes == 1)
		return serial_read(&machine->serial, port - SERIAL_PORT);
	if (port >= 0xcf8 && port <= 0xcff && port != MACHINE_RESET_PORT)
		return pci_port_read(&machine->pci, port, size_bytes);
	if (fw_cfg_has_port(&machine->fw_cfg, port, size_bytes))
		return fw_cfg_port_read(&machine->fw_cfg, port, size_bytes);
	if (chipset_port_read(&machine->chipset, port, size_bytes, &value))
		return value;
	switch (port) {
	case MACHINE_CLOCK_DATA:
		return rtc_read(machine->chipset.clock_index);
	case MACHINE_PM_TIMER:
		return pm_timer();
	case MACHINE_PM_CONTROL:
		return PM1_SCI_ENABLE;
	case KEYBOARD_COMMAND: /* no keyboard: both buffers empty */
		return 0;
	default:
		return UINT32_MAX;
	}
}

void machine_port_write(struct machine *machine, uint16_t port, uint32_t size_bytes, uint32_t value)
{
	if (port >= SERIAL_PORT && port < SERIAL_PORT + 8 && size_bytes == 1) {
		serial_write(&machine->serial, port - SERIAL_PORT, (uint8_t)value);
		return;
	}
	if (fw_cfg_has_port(&machine->fw_cfg, port, size_bytes)) {
		while (!fw_cfg_port_write(&machine->fw_cfg, port, size_bytes, value))
			; /* a long transfer comes in steps */
		return;
	}
	if (chipset_port_write(&machine->chipset, port, size_bytes, value)) {
		machine_set_line(machine, MACHINE_SCI, chipset_power_line(&machine->chipset));
		return;
	}
	switch (port) {
	case WATCHDOG_FEED_PORT:
		watchdog_feed(&machine->watchdog, (uint8_t)value, machine_now());
		(void)eventfd_write(machine->look, 1);
		return;
	case WATCHDOG_STOP_PORT:
		watchdog_stop(&machine->watchdog);
		return;
	case MACHINE_PM_CONTROL:
		if (value & PM1_SLEEP_ENABLE && (value >> 10 & 7) == MACHINE_S5_TYPE)
			machine_end(machine, MACHINE_OFF);
		return;
	case MACHINE_RESET_PORT:
		if (value & RESET_CPU)
			machine_end(machine, MACHINE_RESET);
		return;
	case KEYBOARD_COMMAND:
		if ((uint8_t)value == KEYBOARD_RESET)
			machine_end(machine, MACHINE_RESET);
		return;
	}
	if (port >= 0xcf8 && port <= 0xcff)
		pci_port_write(&machine->pci, port, size_bytes, value);
}

uint64_t machine_mmio_read(struct machine *machine, uint64_t address, uint32_t size_bytes)
{
	unsigned int bar;
	uint32_t offset;
	struct pci_function *function;

	if (address >= MACHINE_ECAM && address - MACHINE_ECAM < PCI_ECAM_BUS_BYTES)
		return pci_ecam_read(&machine->pci, address - MACHINE_ECAM, size_bytes);
	function = pci_find_bar(&machine->pci, address, size_bytes, &bar, &offset);
	return function ? function->bar_read(function, bar, offset, size_bytes) : UINT64_MAX;
}

void machine_mmio_write(struct machine *machine, uint64_t address, uint32_t size_bytes, uint64_t value)
{
	unsigned int bar;
	uint32_t offset;
	struct pci_function *function;

	if (address >= MACHINE_ECAM && address - MACHINE_ECAM < PCI_ECAM_BUS_BYTES) {
		pci_ecam_write(&machine->pci, address - MACHINE_ECAM, size_bytes, (uint32_t)value);
		return;
	}
	function = pci_find_bar(&machine->pci, address, size_bytes, &bar, &offset);
	if (function)
		function->bar_write(function, bar, offset, size_bytes, value);
}
