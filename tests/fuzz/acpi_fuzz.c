/* SPDX-License-Identifier: MIT */
/*
 * The ACPI parsers over arbitrary bytes. The input is one table's body; the harness supplies RSDP,
 * XSDT and a correct checksum, so that the fuzzer spends its time behind them and not before.
 */
#include <stdlib.h>
#include <string.h>

#include "acpi.h"

#define BODY_AT	    4096u
#define BODY_MOST   4000u
#define MEMORY_SIZE 8192u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool fuzz_read(void *context, uint64_t address, void *buffer, size_t size)
{
	if (address > MEMORY_SIZE || size > MEMORY_SIZE - address)
		return false;
	memcpy(buffer, (uint8_t *)context + address, size);
	return true;
}

static void fix_sum(uint8_t *bytes, uint32_t size, uint32_t at)
{
	uint8_t sum = 0;

	bytes[at] = 0;
	for (uint32_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + bytes[i]);
	bytes[at] = (uint8_t)-sum;
}

static uint32_t build(uint8_t *bytes, const uint8_t *data, size_t size)
{
	static const char signatures[][5] = {"IVRS", "APIC", "FACP", "MCFG", "HPET"};
	uint32_t length = 36 + (uint32_t)size - 1, body_at = BODY_AT;

	memcpy(bytes, "RSD PTR ", 8);
	bytes[15] = 2;
	bytes[24] = 64;
	fix_sum(bytes, 20, 8);
	fix_sum(bytes, 36, 32);
	memcpy(bytes + 64, "XSDT\x2c", 5);
	memcpy(bytes + 64 + 36, &body_at, 4);
	fix_sum(bytes + 64, 44, 9);
	memcpy(bytes + BODY_AT, signatures[data[0] % 5], 4);
	memcpy(bytes + BODY_AT + 4, &length, 4);
	memcpy(bytes + BODY_AT + 36, data + 1, size - 1);
	fix_sum(bytes + BODY_AT, length, 9);
	return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[MEMORY_SIZE];
	struct acpi_memory memory = {fuzz_read, bytes};
	struct acpi_tables tables;
	struct acpi_ivrs ivrs;
	struct acpi_fadt fadt;
	struct acpi_mcfg mcfg;
	uint64_t hpet;

	if (size < 1 || size > BODY_MOST)
		return 0;
	memset(bytes, 0, sizeof(bytes));
	build(bytes, data, size);
	if (acpi_read_tables(&memory, 0, &tables) != ACPI_OK || tables.count != 1)
		abort();
	if (acpi_read_ivrs(&memory, &tables, &ivrs) != ACPI_OK && ivrs.unit_count != 0)
		abort();
	if (acpi_read_mcfg(&memory, &tables, &mcfg) != ACPI_OK && mcfg.count != 0)
		abort();
	(void)!acpi_read_fadt(&memory, &tables, &fadt);
	(void)!acpi_read_hpet(&memory, &tables, &hpet);
	return 0;
}
