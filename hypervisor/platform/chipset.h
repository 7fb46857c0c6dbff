/* SPDX-License-Identifier: MIT */
/*
 * What firmware and kernels expect of a Q35 chipset at 00:00.0 and 00:1f.0: bridges that say where the PCI Express
 * registers and the power management ports lie. They say it of the fixed address map, and what is written to them
 * vanishes. Of the power management block the event registers, with the power button. And the clock chip's
 * memory, in which firmware finds out how much RAM there is: the time is whoever's has a clock, the rest must be as
 * trustworthy as the RAM.
 */
#ifndef BULKHEAD_PLATFORM_CHIPSET_H
#define BULKHEAD_PLATFORM_CHIPSET_H

#include "address_map.h"
#include "pci.h"

struct chipset {
	struct pci_function host_bridge, isa_bridge;
	uint8_t clock_index;	/**< as written to port 70h */
	uint64_t ram_low_bytes; /**< RAM from address 0 on */
	uint16_t events, events_enabled; /**< that have happened; that interrupt */
};

/** Puts the bridges on a bus. The chipset stays where it is. */
void chipset_init(struct chipset *chipset, struct pci_bus *bus);

/** Somebody presses the power button. Ask for the line then. */
void chipset_press_power(struct chipset *chipset);

/** Level of the power management's interrupt line (SCI); may change with a write that is the chipset's, and the button. */
bool chipset_power_line(const struct chipset *chipset);

/**
 * A port is read.
 * Returns false if it is not the chipset's. A clock's register (MC146818: time, alarm, control; century) is not:
 * whoever has the time answers port 71h then.
 */
bool chipset_port_read(const struct chipset *chipset, uint16_t port, uint32_t size_bytes, uint32_t *value);

/** A port is written. Returns false if somebody else is to see that too. */
bool chipset_port_write(struct chipset *chipset, uint16_t port, uint32_t size_bytes, uint32_t value);

#endif
