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

void chipset_select_clock(struct chipset *chipset, uint8_t index)
{
	chipset->clock_index = index & INDEX_MASK;
}

bool chipset_read_clock(const struct chipset *chipset, uint8_t *value)
{
	uint64_t above = chipset->ram_low_bytes > MIB_16 ? chipset->ram_low_bytes - MIB_16 : 0;

	if (chipset->clock_index <= CLOCK_CONTROL_LAST || chipset->clock_index == CLOCK_CENTURY)
		return false;
	*value = 0;
	/* In units of 64 KiB, as PC firmware has always kept it. */
	if (chipset->clock_index == RAM_ABOVE_16_MIB)
		*value = (uint8_t)(above >> 16);
	else if (chipset->clock_index == RAM_ABOVE_16_MIB + 1)
		*value = (uint8_t)(above >> 24);
	return true;
}
