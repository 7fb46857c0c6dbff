/* SPDX-License-Identifier: MIT */
/*
 * A guest's address map and ports, as the hypervisor's platform, the monitor and the firmware's tables agree on it.
 */
#ifndef BULKHEAD_PLATFORM_ADDRESS_MAP_H
#define BULKHEAD_PLATFORM_ADDRESS_MAP_H

/* RAM from 0 up to the PCI hole, the rest from 4 GiB. */
#define MACHINE_PCI_HOLE       0xc0000000ull
#define MACHINE_PCI_HOLE_END   0xe0000000ull
#define MACHINE_ECAM	       0xe0000000ull
#define MACHINE_IOAPIC	       0xfec00000ull
#define MACHINE_LAPIC	       0xfee00000ull
#define MACHINE_RAM_HIGH       0x100000000ull
#define MACHINE_PCI_HIGH       0x4000000000ull
#define MACHINE_PCI_HIGH_BYTES 0x100000000ull

/* Ports of the power management block (ACPI 6.4, 4.8.3), and of the reset register. */
#define MACHINE_PM_EVENT   0x600u
#define MACHINE_PM_CONTROL 0x604u
#define MACHINE_PM_TIMER   0x608u
#define MACHINE_RESET_PORT 0xcf9u
#define MACHINE_SCI	   9u
#define MACHINE_S5_TYPE	   5u

#endif
