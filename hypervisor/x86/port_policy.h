/* SPDX-License-Identifier: MIT */
/*
 * Ports of the service domain: one constant table, deny by default, with what ACPI says about this
 * machine's power ports laid over it. Denied ports read as ones and swallow writes, as if nothing
 * were there. The table is pure; ports.c acts on it.
 */
#ifndef BULKHEAD_X86_PORT_POLICY_H
#define BULKHEAD_X86_PORT_POLICY_H

#include <stdbool.h>
#include <stdint.h>

enum port_rule {
	PORT_DENY,
	PORT_PASS,	   /* no exit */
	PORT_READ,	   /* reads pass, writes vanish */
	PORT_CONFIG,	   /* CF8h to CFFh: configuration space */
	PORT_RESET,	   /* CF9h */
	PORT_SYSTEM,	   /* 92h: A20 gate and reset */
	PORT_KEYBOARD,	   /* 60h, 64h: the keyboard controller's A20 gate and reset */
	PORT_PM_CONTROL,   /* PM1 control: sleep and power-off */
	PORT_SMI_COMMAND,  /* passes once SMM is locked */
};

/** Ports that ACPI names; 0 means the machine has none. */
struct port_layout {
	uint16_t pm1a_event, pm1b_event; /* 4 bytes each */
	uint16_t pm1a_control, pm1b_control;
	uint16_t pm_timer;
	uint16_t gpe0, gpe0_bytes;
	uint16_t smi_command;
};

/** Lays the power ports over the table: before anything else here is asked. Until then all is denied. */
void port_policy_set(const struct port_layout *layout);

/** The rule for a port. */
enum port_rule port_policy_rule(uint16_t port);

/** Whether a port needs no exit. */
bool port_policy_passes(uint16_t port);

/** Does an IN or OUT of the service domain's. @size_bytes: 1, 2 or 4 */
uint32_t port_read(uint16_t port, unsigned int size_bytes);
void port_write(uint16_t port, unsigned int size_bytes, uint32_t value);

#endif
