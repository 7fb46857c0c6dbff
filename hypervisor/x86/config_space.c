/* SPDX-License-Identifier: MIT */
/*
 * See config_space.h. The address register is one for all processors, so ours and theirs are kept
 * apart: the service domain's value lives here and is written to the hardware only together with the
 * access it is for, under a lock. So what is checked is what is accessed.
 */
#include "../core/arch.h"
#include "config_space.h"
#include "cpu.h"

#define ADDRESS_PORT	0xcf8u
#define DATA_PORT	0xcfcu
#define ADDRESS_ENABLED (1u << 31)
#define ADDRESS_BITS	0x80fffffcu /* bits 27:24 would reach further registers on AMD */

#define CLASS_HOST_BRIDGE 0x0600u
#define CLASS_ISA_BRIDGE  0x0601u
#define CLASS_IOMMU	  0x0806u

static struct {
	struct lock lock;
	uint32_t address; /* the service domain's */
	struct config_guard guard;
} config;

/* Writes to guarded functions that pass, for every one of them. */
static const struct {
	uint16_t first, last;
	uint16_t class; /* 0: any */
} allowed[] = {
	{ 0x3c, 0x3c, 0 },		   /* interrupt line: a note for software */
	{ 0x60, 0x63, CLASS_ISA_BRIDGE },  /* routing of PCI interrupts A to D (ICH9) */
	{ 0x68, 0x6b, CLASS_ISA_BRIDGE },  /* E to H */
};

static uint32_t raw_read(uint16_t function, uint16_t offset)
{
	out32(ADDRESS_PORT, ADDRESS_ENABLED | (uint32_t)function << 8 | (offset & 0xfcu));
	return in32(DATA_PORT);
}

uint32_t config_space_read(uint16_t function, uint16_t offset)
{
	uint32_t value;

	arch_lock(&config.lock);
	value = raw_read(function, offset);
	arch_unlock(&config.lock);
	return value;
}

void config_space_write(uint16_t function, uint16_t offset, uint32_t value)
{
	arch_lock(&config.lock);
	out32(ADDRESS_PORT, ADDRESS_ENABLED | (uint32_t)function << 8 | (offset & 0xfcu));
	out32(DATA_PORT, value);
	arch_unlock(&config.lock);
}

void config_space_guard(uint16_t function)
{
	for (uint32_t i = 0; i < config.guard.count; i++)
		if (config.guard.functions[i] == function)
			return;
	if (config.guard.count == CONFIG_MAX_GUARDED)
		config.guard.is_full = true;
	else
		config.guard.functions[config.guard.count++] = function;
}

void config_space_find(void)
{
	for (uint16_t function = 0; function < 0x100; function++) {
		uint32_t class;

		if ((config_space_read(function, 0) & 0xffff) == 0xffff)
			continue;
		class = config_space_read(function, 8) >> 16;
		if (class == CLASS_HOST_BRIDGE || class == CLASS_ISA_BRIDGE || class == CLASS_IOMMU)
			config_space_guard(function);
	}
}

const struct config_guard *config_space_guarded(void)
{
	return &config.guard;
}

static bool is_guarded(uint16_t function)
{
	if (config.guard.is_full && function < 0x100)
		return true;
	for (uint32_t i = 0; i < config.guard.count; i++)
		if (config.guard.functions[i] == function)
			return true;
	return false;
}

bool config_space_may_write(uint16_t function, uint16_t offset, unsigned int size_bytes)
{
	uint32_t class;

	if (!is_guarded(function))
		return true;
	for (unsigned int i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		if (offset < allowed[i].first || offset + size_bytes - 1 > allowed[i].last)
			continue;
		class = allowed[i].class == 0 ? 0 : config_space_read(function, 8) >> 16;
		if (class == allowed[i].class)
			return true;
	}
	return false;
}

uint32_t config_space_port_read(uint16_t port, unsigned int size_bytes)
{
	uint32_t value;

	if (port < DATA_PORT) /* the address register, whole */
		return port == ADDRESS_PORT && size_bytes == 4 ? READ_ONCE(config.address) :
								 0xffffffff;
	arch_lock(&config.lock);
	out32(ADDRESS_PORT, config.address);
	value = in_bytes(port, size_bytes);
	arch_unlock(&config.lock);
	return value;
}

void config_space_port_write(uint16_t port, unsigned int size_bytes, uint32_t value)
{
	uint32_t address;

	if (port < DATA_PORT) {
		if (port == ADDRESS_PORT && size_bytes == 4)
			WRITE_ONCE(config.address, value & ADDRESS_BITS);
		return;
	}
	address = READ_ONCE(config.address);
	if (!(address & ADDRESS_ENABLED) ||
	    !config_space_may_write((uint16_t)(address >> 8), (uint16_t)((address & 0xfc) | (port & 3)),
				    size_bytes))
		return;
	arch_lock(&config.lock);
	out32(ADDRESS_PORT, address);
	out_bytes(port, size_bytes, value);
	arch_unlock(&config.lock);
}
