/* SPDX-License-Identifier: MIT */
/*
 * Carries IN and OUT out. A wide access is one only if all its ports have one rule; otherwise it is
 * refused as a whole.
 */
#include "config_space.h"
#include "hypervisor.h"
#include "port_policy.h"
#include "power.h"

#define ADDRESS_PORT	  0xcf8u
#define SYSTEM_RESET	  0x01u
#define SYSTEM_A20	  0x02u
#define KEYBOARD_DATA	  0x60u
#define KEYBOARD_COMMAND  0x64u
#define OUTPUT_RESET	  0x01u /* low: reset */
#define OUTPUT_A20	  0x02u
#define COMMAND_OUTPUT	  0xd1u /* the next data byte is the output port's */
#define COMMAND_A20_OFF	  0xddu
#define COMMAND_PULSE	  0xf0u
#define RESET_CPU	  0x04u /* CF9h */

static struct {
	struct lock lock;
	bool is_output_next;
} keyboard;

static enum port_rule rule_of(uint16_t port, unsigned int size_bytes)
{
	enum port_rule rule = port_policy_rule(port);

	/* A 4-byte access to CF8h also names CF9h, but is the address register's. */
	if (port == ADDRESS_PORT && size_bytes == 4)
		return PORT_CONFIG;
	for (unsigned int i = 1; i < size_bytes; i++)
		if (port_policy_rule((uint16_t)(port + i)) != rule || port + i > 0xffff)
			return PORT_DENY;
	return rule;
}

uint32_t port_read(uint16_t port, unsigned int size_bytes)
{
	switch (rule_of(port, size_bytes)) {
	case PORT_DENY:
		return 0xffffffff;
	case PORT_CONFIG:
		return config_space_port_read(port, size_bytes);
	default:
		return in_bytes(port, size_bytes);
	}
}

/* Returns true if the write asks for a reset. Commands F0h to FFh pulse lines; line 0 is the reset. */
static bool keyboard_filter(uint16_t port, uint8_t value)
{
	bool is_output = port == KEYBOARD_DATA && keyboard.is_output_next;

	keyboard.is_output_next = port == KEYBOARD_COMMAND && value == COMMAND_OUTPUT;
	if (is_output) {
		/* Addresses keep bit 20, whatever is written to the output port. */
		if (value & OUTPUT_RESET)
			out8(port, value | OUTPUT_A20);
		return !(value & OUTPUT_RESET);
	}
	if (port == KEYBOARD_COMMAND && value >= COMMAND_PULSE)
		return !(value & OUTPUT_RESET);
	if (port == KEYBOARD_DATA || value != COMMAND_A20_OFF)
		out8(port, value);
	return false;
}

static void keyboard_write(uint16_t port, uint8_t value)
{
	bool is_reset;

	arch_lock(&keyboard.lock);
	is_reset = keyboard_filter(port, value);
	arch_unlock(&keyboard.lock);
	if (is_reset)
		power_reset("keyboard controller");
}

void port_write(uint16_t port, unsigned int size_bytes, uint32_t value)
{
	switch (rule_of(port, size_bytes)) {
	case PORT_PASS:
		out_bytes(port, size_bytes, value);
		break;
	case PORT_CONFIG:
		config_space_port_write(port, size_bytes, value);
		break;
	case PORT_RESET:
		if (value & RESET_CPU)
			power_reset("port CF9h");
		out8(port, (uint8_t)value);
		break;
	case PORT_SYSTEM:
		if (value & SYSTEM_RESET)
			power_reset("port 92h");
		out8(port, (uint8_t)value | SYSTEM_A20);
		break;
	case PORT_KEYBOARD:
		if (size_bytes == 1)
			keyboard_write(port, (uint8_t)value);
		break;
	case PORT_PM_CONTROL:
		power_pm_control(port, size_bytes, value);
		break;
	case PORT_SMI_COMMAND:
		if (power_smm_is_locked())
			out_bytes(port, size_bytes, value);
		break;
	case PORT_READ:
	case PORT_DENY:
		break;
	}
}
