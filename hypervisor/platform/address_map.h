/* SPDX-License-Identifier: MIT */
/*
 * A guest's address map and ports, as the hypervisor's platform, the monitor and the firmware's tables agree on it. It
 * is the Q35 chipset's, as OVMF lays it out: nothing in it moves, whatever firmware writes to the chipset's registers.
 */
#ifndef BULKHEAD_PLATFORM_ADDRESS_MAP_H
#define BULKHEAD_PLATFORM_ADDRESS_MAP_H

/* RAM from 0 up to the PCI Express registers; behind the PCI hole the firmware, which ends at 4 GiB; then more RAM. */
#define MACHINE_RAM_LOW_END    0xb0000000ull
#define MACHINE_ECAM	       0xb0000000ull
#define MACHINE_PCI_HOLE       0xc0000000ull
#define MACHINE_PCI_HOLE_END   0xfc000000ull
#define MACHINE_IOAPIC	       0xfec00000ull
#define MACHINE_LAPIC	       0xfee00000ull
#define MACHINE_RAM_HIGH       0x100000000ull
/* From above the largest guest's RAM to the end of the addresses that its CPUID names. */
#define MACHINE_PCI_HIGH       0x2000000000ull
#define MACHINE_PCI_HIGH_BYTES (0x10000000000ull - MACHINE_PCI_HIGH)

/* PCI device numbers of the chipset; others are devices'. */
#define MACHINE_HOST_BRIDGE_SLOT 0u
#define MACHINE_ISA_BRIDGE_SLOT	 31u

/* Ports of the power management block (ACPI 6.4, 4.8.3), of the clock chip and of the reset register. */
#define MACHINE_CLOCK_INDEX 0x70u
#define MACHINE_CLOCK_DATA  0x71u
#define MACHINE_PM_EVENT    0x600u
#define MACHINE_PM_CONTROL  0x604u
#define MACHINE_PM_TIMER    0x608u
#define MACHINE_RESET_PORT  0xcf9u
#define MACHINE_SCI	    9u
#define MACHINE_S5_TYPE	    0u /* as OVMF writes it, without asking tables */

#endif
