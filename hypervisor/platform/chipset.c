/* SPDX-License-Identifier: MIT */
/*
 * The Q35's bridges and the memory of its clock chip; see chipset.h. Register numbers are those of Intel's 3 Series
 * chipset (host bridge) and ICH9 (ISA bridge) datasheets.
 */
#include "chipset.h"

/* Host bridge. */
enum { PCIEXBAR = 0x60, PCIEXBAR_ENABLE = 1 /* 256 MiB, on */ };
/* ISA bridge. */
enum { PMBASE = 0x40, PMBASE_IO = 1, ACPI_CNTL = 0x44, ACPI_ENABLE = 0x80 };

enum { POWER_BUTTON = 1 << 8 };

enum { CLOCK_CONTROL_LAST = 0x0d, CLOCK_CENTURY = 0x32, RAM_ABOVE_16_MIB = 0x34, INDEX_MASK = 0x7f };

#define MIB_16 (16ull << 20)

static void put(struct pci_function *function, unsigned int offset, unsigned int size_bytes, uint64_t value)
{
	for (unsigned int i = 0; i < size_bytes; i++)
		function->config[offset + i] = (uint8_t)(value >> 8 * i);
}

void chipset_init(struct chipset *chipset, struct pci_bus *bus)
{
	static const struct pci_identity host = { .vendor = 0x8086, .device = 0x29c0, .class_code = 0x060000 };
	static const struct pci_identity isa = { .vendor = 0x8086, .device = 0x2918, .class_code = 0x060100 };

	pci_init(&chipset->host_bridge, &host);
	put(&chipset->host_bridge, PCIEXBAR, 8, MACHINE_ECAM | PCIEXBAR_ENABLE);
	bus->functions[MACHINE_HOST_BRIDGE_SLOT] = &chipset->host_bridge;
	pci_init(&chipset->isa_bridge, &isa);
	put(&chipset->isa_bridge, PMBASE, 4, MACHINE_PM_EVENT | PMBASE_IO);
	put(&chipset->isa_bridge, ACPI_CNTL, 1, ACPI_ENABLE);
	bus->functions[MACHINE_ISA_BRIDGE_SLOT] = &chipset->isa_bridge;
}

static bool is_clock(uint8_t index)
{
	return index <= CLOCK_CONTROL_LAST || index == CLOCK_CENTURY;
}

/* The size of RAM is in units of 64 KiB, as PC firmware has always kept it. */
static uint8_t read_memory(const struct chipset *chipset)
{
	uint64_t above = chipset->ram_low_bytes > MIB_16 ? chipset->ram_low_bytes - MIB_16 : 0;

	if (chipset->clock_index == RAM_ABOVE_16_MIB)
		return (uint8_t)(above >> 16);
	return chipset->clock_index == RAM_ABOVE_16_MIB + 1 ? (uint8_t)(above >> 24) : 0;
}

void chipset_press_power(struct chipset *chipset)
{
	chipset->events |= POWER_BUTTON;
}

bool chipset_power_line(const struct chipset *chipset)
{
	return chipset->events & chipset->events_enabled;
}

bool chipset_port_read(const struct chipset *chipset, uint16_t port, uint32_t size_bytes, uint32_t *value)
{
	if (port == MACHINE_CLOCK_DATA && size_bytes == 1 && !is_clock(chipset->clock_index)) {
		*value = read_memory(chipset);
		return true;
	}
	if (port < MACHINE_PM_EVENT || port + size_bytes > MACHINE_PM_EVENT + 4)
		return false;
	/* Status, then what of it interrupts; read at any width. */
	*value = (uint32_t)(((uint64_t)chipset->events_enabled << 16 | chipset->events) >> 8 * (port - MACHINE_PM_EVENT));
	return true;
}

bool chipset_port_write(struct chipset *chipset, uint16_t port, uint32_t size_bytes, uint32_t value)
{
	if (port == MACHINE_CLOCK_INDEX)
		chipset->clock_index = (uint8_t)value & INDEX_MASK;
	if (port < MACHINE_PM_EVENT || port + size_bytes > MACHINE_PM_EVENT + 4)
		return false;
	/* Writing ones takes events away (ACPI 6.4, 4.8.3.1). */
	if (port == MACHINE_PM_EVENT && size_bytes == 2)
		chipset->events &= (uint16_t)~value;
	if (port == MACHINE_PM_EVENT + 2 && size_bytes == 2)
		chipset->events_enabled = (uint16_t)value;
	return true;
}
