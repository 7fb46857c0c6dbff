/* SPDX-License-Identifier: MIT */
/*
 * Configuration space and BARs of a guest's PCI bus; see pci.h. Numbers are of PCI Local Bus 3.0, chapter 6.
 */
#include "pci.h"

#include <stddef.h>

enum {
	PCI_VENDOR = 0x00,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CACHE_LINE = 0x0c,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM = 0x2c,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_FIRST_CAPABILITY = 0x40,
};

enum { COMMAND_IO = 1, COMMAND_MEMORY = 2, COMMAND_MASTER = 4, COMMAND_NO_INTX = 0x400 };
enum { STATUS_CAPABILITIES = 0x10 };
enum { BAR_64BIT = 4 };

static void put(uint8_t *bytes, uint64_t value, uint32_t size_bytes)
{
	for (uint32_t i = 0; i < size_bytes; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
}

void pci_init(struct pci_function *function, const struct pci_identity *identity)
{
	for (unsigned int i = 0; i < PCI_CONFIG_BYTES; i++)
		function->config[i] = function->writable[i] = 0;
	for (unsigned int i = 0; i < PCI_BARS; i++)
		function->bar_bytes[i] = 0;
	function->capabilities_end = PCI_FIRST_CAPABILITY;
	function->last_capability = 0;
	put(function->config + PCI_VENDOR, identity->vendor, 2);
	put(function->config + PCI_VENDOR + 2, identity->device, 2);
	put(function->config + PCI_REVISION, identity->revision | (uint64_t)identity->class_code << 8, 4);
	put(function->config + PCI_SUBSYSTEM, identity->subsystem_vendor | (uint32_t)identity->subsystem << 16, 4);
	put(function->writable + PCI_COMMAND, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTX, 2);
	function->writable[PCI_CACHE_LINE] = 0xff;
	function->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_add_bar(struct pci_function *function, unsigned int bar, uint32_t size_bytes)
{
	function->bar_bytes[bar] = size_bytes;
	put(function->config + PCI_BAR0 + 4 * bar, BAR_64BIT, 8);
	put(function->writable + PCI_BAR0 + 4 * bar, ~((uint64_t)size_bytes - 1), 8);
}

uint8_t pci_add_capability(struct pci_function *function, uint8_t id, const uint8_t *body, const uint8_t *writable,
			   uint8_t body_bytes)
{
	uint8_t at = (uint8_t)((function->capabilities_end + 3) & ~3u);

	if (at + 2u + body_bytes > PCI_CONFIG_BYTES)
		return 0;
	function->config[at] = id;
	for (unsigned int i = 0; i < body_bytes; i++) {
		function->config[at + 2 + i] = body[i];
		function->writable[at + 2 + i] = writable ? writable[i] : 0;
	}
	if (function->last_capability) {
		function->config[function->last_capability + 1] = at;
	} else {
		function->config[PCI_CAPABILITIES] = at;
		function->config[PCI_STATUS] |= STATUS_CAPABILITIES;
	}
	function->last_capability = at;
	function->capabilities_end = (uint8_t)(at + 2 + body_bytes);
	return at;
}

/** The function that answers in @slot for this access, or NULL. */
static struct pci_function *answering(struct pci_bus *bus, unsigned int slot, uint32_t offset, uint32_t size_bytes)
{
	if (slot >= PCI_SLOTS || !bus->functions[slot])
		return NULL;
	if (size_bytes == 0 || size_bytes > 4 || offset >= PCI_CONFIG_BYTES || (offset & 3) + size_bytes > 4)
		return NULL;
	return bus->functions[slot];
}

uint32_t pci_config_read(struct pci_bus *bus, unsigned int slot, uint32_t offset, uint32_t size_bytes)
{
	struct pci_function *function = answering(bus, slot, offset, size_bytes);
	uint32_t value;

	if (!function)
		return UINT32_MAX;
	if (function->reading)
		function->reading(function, offset, size_bytes);
	__builtin_memcpy(&value, function->config + (offset & ~3u), sizeof(value)); /* little endian as we are */
	return value >> 8 * (offset & 3) & UINT32_MAX >> (32 - 8 * size_bytes);
}

void pci_config_write(struct pci_bus *bus, unsigned int slot, uint32_t offset, uint32_t size_bytes, uint32_t value)
{
	struct pci_function *function = answering(bus, slot, offset, size_bytes);

	if (!function)
		return;
	for (uint32_t i = 0; i < size_bytes; i++) {
		uint8_t mask = function->writable[offset + i];

		function->config[offset + i] = (uint8_t)((function->config[offset + i] & ~mask) |
							 ((value >> 8 * i) & mask));
	}
	if (function->written)
		function->written(function, offset, size_bytes);
}

/* Configuration mechanism 1: CF8h holds enable (31), bus (23:16), device (15:11), function (10:8), register (7:2). */
static bool selected(const struct pci_bus *bus, uint16_t port, unsigned int *slot, uint32_t *offset)
{
	*slot = bus->address >> 11 & 31;
	*offset = (bus->address & 0xfc) | (port & 3u);
	return bus->address & 1u << 31 && !(bus->address & 0x7fff0700);
}

uint32_t pci_port_read(struct pci_bus *bus, uint16_t port, uint32_t size_bytes)
{
	unsigned int slot;
	uint32_t offset;

	if (port == 0xcf8 && size_bytes == 4)
		return bus->address;
	if (port < 0xcfc || port > 0xcff || !selected(bus, port, &slot, &offset))
		return UINT32_MAX;
	return pci_config_read(bus, slot, offset, size_bytes);
}

void pci_port_write(struct pci_bus *bus, uint16_t port, uint32_t size_bytes, uint32_t value)
{
	unsigned int slot;
	uint32_t offset;

	if (port == 0xcf8 && size_bytes == 4)
		bus->address = value & ~0x7f000003u;
	else if (port >= 0xcfc && port <= 0xcff && selected(bus, port, &slot, &offset))
		pci_config_write(bus, slot, offset, size_bytes, value);
}

uint32_t pci_ecam_read(struct pci_bus *bus, uint64_t offset, uint32_t size_bytes)
{
	if (offset >= PCI_ECAM_BUS_BYTES || offset >> 12 & 7)
		return UINT32_MAX;
	/* Extended configuration space (from 100h) reads as zeros: no extended capabilities. */
	if ((offset & 0xfff) >= PCI_CONFIG_BYTES)
		return bus->functions[offset >> 15] ? 0 : UINT32_MAX;
	return pci_config_read(bus, (unsigned int)(offset >> 15), offset & 0xfff, size_bytes);
}

void pci_ecam_write(struct pci_bus *bus, uint64_t offset, uint32_t size_bytes, uint32_t value)
{
	if (offset < PCI_ECAM_BUS_BYTES && !(offset >> 12 & 7))
		pci_config_write(bus, (unsigned int)(offset >> 15), offset & 0xfff, size_bytes, value);
}

uint64_t pci_bar_address(const struct pci_function *function, unsigned int bar)
{
	uint64_t address;

	if (bar >= PCI_BARS || !function->bar_bytes[bar] || !(function->config[PCI_COMMAND] & COMMAND_MEMORY))
		return 0;
	__builtin_memcpy(&address, function->config + PCI_BAR0 + 4 * bar, sizeof(address)); /* little endian as we are */
	return address & ~15ull;
}

static bool answers(const struct pci_function *function, unsigned int bar, uint64_t address, uint32_t size_bytes,
		    uint32_t *offset)
{
	uint64_t base = pci_bar_address(function, bar);

	if (!base || address < base || size_bytes > function->bar_bytes[bar] ||
	    address - base > function->bar_bytes[bar] - size_bytes)
		return false;
	*offset = (uint32_t)(address - base);
	return true;
}

struct pci_function *pci_find_bar(struct pci_bus *bus, uint64_t address, uint32_t size_bytes, unsigned int *bar,
				  uint32_t *offset)
{
	/* Accesses come in rows: who answered last is asked first. */
	*bar = bus->last_bar;
	if (bus->last && answers(bus->last, *bar, address, size_bytes, offset))
		return bus->last;
	for (unsigned int slot = 0; slot < PCI_SLOTS; slot++) {
		struct pci_function *function = bus->functions[slot];

		for (*bar = 0; function && *bar < PCI_BARS; ++*bar)
			if (answers(function, *bar, address, size_bytes, offset)) {
				bus->last = function;
				bus->last_bar = *bar;
				return function;
			}
	}
	return NULL;
}
