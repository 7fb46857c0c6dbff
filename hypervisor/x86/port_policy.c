/* SPDX-License-Identifier: MIT */
/*
 * See port_policy.h. The first row that names a port decides.
 */
#include <stddef.h>

#include "port_policy.h"

struct row {
	uint16_t first, last;
	uint8_t rule;
};

static const struct row rows[] = {
	{ 0x0000, 0x000f, PORT_DENY },	   /* 8237: DMA that no IOMMU translates */
	{ 0x0020, 0x0021, PORT_PASS },	   /* first 8259 */
	{ 0x002e, 0x002f, PORT_PASS },	   /* Super I/O */
	{ 0x0040, 0x0043, PORT_PASS },	   /* 8254 */
	{ 0x004e, 0x004f, PORT_PASS },	   /* Super I/O, TPM */
	{ 0x0060, 0x0060, PORT_KEYBOARD }, /* the controller's data: output port */
	{ 0x0061, 0x0061, PORT_PASS },	   /* NMI status, speaker */
	{ 0x0062, 0x0062, PORT_PASS },	   /* embedded controller */
	{ 0x0064, 0x0064, PORT_KEYBOARD }, /* the controller's commands */
	{ 0x0066, 0x0066, PORT_PASS },	   /* embedded controller */
	{ 0x0070, 0x0077, PORT_PASS },	   /* CMOS, clock */
	{ 0x0080, 0x0080, PORT_PASS },	   /* delays, POST codes */
	{ 0x0081, 0x008f, PORT_DENY },	   /* 8237 page registers */
	{ 0x0092, 0x0092, PORT_SYSTEM },   /* A20 gate, reset */
	{ 0x00a0, 0x00a1, PORT_PASS },	   /* second 8259 */
	{ 0x00c0, 0x00df, PORT_DENY },	   /* second 8237 */
	{ 0x00f0, 0x00f1, PORT_PASS },	   /* floating-point error */
	{ 0x0170, 0x0177, PORT_PASS },	   /* IDE */
	{ 0x01f0, 0x01f7, PORT_PASS },	   /* IDE */
	{ 0x0200, 0x0207, PORT_PASS },	   /* game port, read by old probes */
	{ 0x0278, 0x027f, PORT_PASS },	   /* parallel */
	{ 0x02e8, 0x02ef, PORT_PASS },	   /* serial */
	{ 0x02f8, 0x02ff, PORT_PASS },	   /* serial */
	{ 0x0376, 0x0377, PORT_PASS },	   /* IDE */
	{ 0x0378, 0x037f, PORT_PASS },	   /* parallel */
	{ 0x03b0, 0x03df, PORT_PASS },	   /* VGA */
	{ 0x03e8, 0x03ef, PORT_PASS },	   /* serial */
	{ 0x03f6, 0x03f7, PORT_PASS },	   /* IDE */
	{ 0x03f8, 0x03ff, PORT_PASS },	   /* serial */
	{ 0x0402, 0x0402, PORT_PASS },	   /* firmware's debug output */
	{ 0x04d0, 0x04d1, PORT_PASS },	   /* edge or level */
	/* 510h to 51Bh, QEMU's fw_cfg, writes memory by itself; 7Eh, 0CC0h.. likewise have no row. */
	{ 0x0700, 0x073f, PORT_PASS },	   /* SMBus */
	{ 0x0cf8, 0x0cf8, PORT_CONFIG },
	{ 0x0cf9, 0x0cf9, PORT_RESET },
	{ 0x0cfa, 0x0cfb, PORT_CONFIG },
	{ 0x0cfc, 0x0cff, PORT_CONFIG },
	{ 0x1000, 0xffff, PORT_PASS },	   /* PCI devices */
};

#define TABLE_PORTS 0x1000u /* above it are PCI devices, and perhaps the power ports */

static struct port_layout layout;
static uint8_t table[TABLE_PORTS]; /* the rows and the layout, for one look at each access */

static bool is_in(uint16_t port, uint16_t base, unsigned int size_bytes)
{
	return base != 0 && port >= base && port - base < (int)size_bytes;
}

static enum port_rule look_up(uint16_t port)
{
	if (is_in(port, layout.pm1a_control, 2) || is_in(port, layout.pm1b_control, 2))
		return PORT_PM_CONTROL;
	if (is_in(port, layout.smi_command, 1))
		return PORT_SMI_COMMAND;
	if (is_in(port, layout.pm1a_event, 4) || is_in(port, layout.pm1b_event, 4) ||
	    is_in(port, layout.pm_timer, 4) || is_in(port, layout.gpe0, layout.gpe0_bytes))
		return PORT_PASS;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (port >= rows[i].first && port <= rows[i].last)
			return rows[i].rule;
	return PORT_DENY;
}

void port_policy_set(const struct port_layout *from)
{
	layout = *from;
	for (uint16_t port = 0; port < TABLE_PORTS; port++)
		table[port] = look_up(port);
}

enum port_rule port_policy_rule(uint16_t port)
{
	return port < TABLE_PORTS ? table[port] : look_up(port);
}

bool port_policy_passes(uint16_t port)
{
	return port_policy_rule(port) == PORT_PASS;
}
