/* SPDX-License-Identifier: MIT */
/*
 * What firmware and kernels expect of a Q35 chipset at 00:00.0 and 00:1f.0: bridges that say where the PCI Express
 * registers and the power management ports lie. They say it of the fixed address map, and what is written to them
 * vanishes. And the clock chip's memory, in which firmware finds out how much RAM there is: the clock itself is whoever's
 * has the time, the rest must be as trustworthy as the RAM.
 */
#ifndef BULKHEAD_PLATFORM_CHIPSET_H
#define BULKHEAD_PLATFORM_CHIPSET_H

#include "address_map.h"
#include "pci.h"

struct chipset {
	struct pci_function host_bridge, isa_bridge;
	uint8_t clock_index;	/**< as written to port 70h */
	uint64_t ram_low_bytes; /**< RAM from address 0 on */
};

/** Puts the bridges on a bus. The chipset stays where it is. */
void chipset_init(struct chipset *chipset, struct pci_bus *bus);

/** Port 70h was written. */
void chipset_select_clock(struct chipset *chipset, uint8_t index);

/**
 * Port 71h is read.
 * Returns false if the selected register is one of the clock's (MC146818: time, alarm, control; century).
 */
bool chipset_read_clock(const struct chipset *chipset, uint8_t *value);

#endif
