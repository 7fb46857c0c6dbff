/* SPDX-License-Identifier: MIT */
/* The ACPI parser over tables built in memory: what it finds, what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "acpi.h"

#define MEMORY_BYTES 0x110000u
#define RSDP_AT	     0xf0010u
#define ROOT_AT	     0x20000u

static uint8_t memory_bytes[MEMORY_BYTES];
static uint64_t unreadable_from = MEMORY_BYTES;

static bool fake_read(void *context, uint64_t address, void *buffer, size_t size)
{
	if (address > unreadable_from || size > unreadable_from - address)
		return false;
	memcpy(buffer, memory_bytes + address, size);
	return true;
}

static const struct acpi_memory memory = {fake_read, NULL};

static void put(uint32_t address, uint32_t size, uint64_t value)
{
	for (uint32_t i = 0; i < size; i++)
		memory_bytes[address + i] = (uint8_t)(value >> (8 * i));
}

static void fix_sum(uint32_t address, uint32_t size, uint32_t sum_offset)
{
	uint8_t sum = 0;

	memory_bytes[address + sum_offset] = 0;
	for (uint32_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + memory_bytes[address + i]);
	memory_bytes[address + sum_offset] = (uint8_t)-sum;
}

static void close_table(uint32_t address, const char *signature, uint32_t size)
{
	memcpy(memory_bytes + address, signature, 4);
	put(address + 4, 4, size);
	fix_sum(address, size, 9);
}

/* An RSDT (entry_bytes 4, RSDP revision 0) or XSDT (8, revision 2) that names count tables. */
static void build_root(uint32_t entry_bytes, const uint32_t *addresses, uint32_t count)
{
	uint32_t length = 36 + entry_bytes * count;

	for (uint32_t i = 0; i < count; i++)
		put(ROOT_AT + 36 + i * entry_bytes, entry_bytes, addresses[i]);
	close_table(ROOT_AT, entry_bytes == 8 ? "XSDT" : "RSDT", length);
	memcpy(memory_bytes + RSDP_AT, "RSD PTR ", 8);
	if (entry_bytes == 8) {
		memory_bytes[RSDP_AT + 15] = 2;
		put(RSDP_AT + 20, 4, 36);
		put(RSDP_AT + 24, 8, ROOT_AT);
	} else {
		put(RSDP_AT + 16, 4, ROOT_AT);
	}
	fix_sum(RSDP_AT, 20, 8);
	if (entry_bytes == 8)
		fix_sum(RSDP_AT, 36, 32);
}

#define TABLE_AT 0x30000u

static struct acpi_tables read_one(const char *signature, uint32_t size)
{
	uint32_t address = TABLE_AT;
	struct acpi_tables tables;

	close_table(TABLE_AT, signature, size);
	build_root(8, &address, 1);
	assert_int_equal(acpi_read_tables(&memory, RSDP_AT, &tables), ACPI_OK);
	assert_int_equal(tables.count, 1);
	return tables;
}

static int clear_memory(void **state)
{
	memset(memory_bytes, 0, sizeof(memory_bytes));
	unreadable_from = MEMORY_BYTES;
	return 0;
}

static void rsdp_is_found_in_the_bios_area_and_in_the_ebda(void **state)
{
	uint32_t address = TABLE_AT;
	uint64_t rsdp = 0;

	assert_int_equal(acpi_find_rsdp(&memory, &rsdp), ACPI_NOT_FOUND);
	close_table(TABLE_AT, "HPET", 56);
	build_root(4, &address, 1);
	assert_int_equal(acpi_find_rsdp(&memory, &rsdp), ACPI_OK);
	assert_int_equal(rsdp, RSDP_AT);
	put(0x40e, 2, 0x9fc0);
	memcpy(memory_bytes + 0x9fc20, memory_bytes + RSDP_AT, 36);
	assert_int_equal(acpi_find_rsdp(&memory, &rsdp), ACPI_OK);
	assert_int_equal(rsdp, 0x9fc20);
	memory_bytes[0x9fc21] ^= 1;
	assert_int_equal(acpi_find_rsdp(&memory, &rsdp), ACPI_OK);
	assert_int_equal(rsdp, RSDP_AT);
}

static void both_root_tables_list_the_same_tables(void **state)
{
	uint32_t addresses[] = {TABLE_AT, TABLE_AT + 0x100};

	for (uint32_t entry_bytes = 4; entry_bytes <= 8; entry_bytes += 4) {
		struct acpi_tables tables;

		clear_memory(state);
		close_table(TABLE_AT, "HPET", 56);
		close_table(TABLE_AT + 0x100, "MCFG", 60);
		build_root(entry_bytes, addresses, 2);
		assert_int_equal(acpi_read_tables(&memory, RSDP_AT, &tables), ACPI_OK);
		assert_int_equal(tables.count, 2);
		assert_int_equal(acpi_table_find(&tables, "MCFG")->address, TABLE_AT + 0x100);
		assert_null(acpi_table_find(&tables, "IVRS"));
	}
}

static void a_damaged_table_costs_only_itself(void **state)
{
	uint32_t addresses[] = {TABLE_AT, 0, TABLE_AT + 0x100, 0xffffff00};
	struct acpi_tables tables;

	close_table(TABLE_AT, "HPET", 56);
	close_table(TABLE_AT + 0x100, "MCFG", 60);
	memory_bytes[TABLE_AT + 50] ^= 0x10;
	build_root(8, addresses, 4);
	assert_int_equal(acpi_read_tables(&memory, RSDP_AT, &tables), ACPI_OK);
	assert_int_equal(tables.count, 1);
	assert_non_null(acpi_table_find(&tables, "MCFG"));
}

static void a_damaged_root_or_rsdp_is_refused(void **state)
{
	struct acpi_tables tables = read_one("HPET", 56);

	memory_bytes[ROOT_AT + 30] ^= 1;
	assert_int_equal(acpi_read_tables(&memory, RSDP_AT, &tables), ACPI_BAD_CHECKSUM);
	assert_int_equal(tables.count, 0);
	memory_bytes[ROOT_AT + 30] ^= 1;
	memory_bytes[RSDP_AT + 33] ^= 1;
	assert_int_equal(acpi_read_tables(&memory, RSDP_AT, &tables), ACPI_BAD_CHECKSUM);
	memory_bytes[RSDP_AT + 33] ^= 1;
	unreadable_from = ROOT_AT + 36;
	assert_int_equal(acpi_read_tables(&memory, RSDP_AT, &tables), ACPI_UNREADABLE);
	assert_int_equal(acpi_read_tables(&memory, UINT64_MAX - 3, &tables), ACPI_UNREADABLE);
}

static void more_tables_than_fit_are_an_error(void **state)
{
	static uint32_t addresses[ACPI_MAX_TABLES + 1];
	struct acpi_tables tables;

	close_table(TABLE_AT, "SSDT", 40);
	for (uint32_t i = 0; i <= ACPI_MAX_TABLES; i++)
		addresses[i] = TABLE_AT;
	build_root(8, addresses, ACPI_MAX_TABLES);
	assert_int_equal(acpi_read_tables(&memory, RSDP_AT, &tables), ACPI_OK);
	build_root(8, addresses, ACPI_MAX_TABLES + 1);
	assert_int_equal(acpi_read_tables(&memory, RSDP_AT, &tables), ACPI_TOO_MANY);
	assert_int_equal(tables.count, 0);
}

static void mcfg_gives_every_window(void **state)
{
	struct acpi_tables tables;
	struct acpi_mcfg mcfg;

	put(TABLE_AT + 44, 8, 0xb0000000);
	put(TABLE_AT + 55, 1, 0xff);
	put(TABLE_AT + 60, 8, 0x4000000000);
	put(TABLE_AT + 68, 2, 1);
	put(TABLE_AT + 70, 1, 0x10);
	put(TABLE_AT + 71, 1, 0x1f);
	tables = read_one("MCFG", 76);
	assert_int_equal(acpi_read_mcfg(&memory, &tables, &mcfg), ACPI_OK);
	assert_int_equal(mcfg.count, 2);
	assert_int_equal(mcfg.windows[0].base, 0xb0000000);
	assert_int_equal(mcfg.windows[1].base, 0x4000000000);
	assert_int_equal(mcfg.windows[1].segment, 1);
	put(TABLE_AT + 71, 1, 0x0f);
	tables = read_one("MCFG", 76);
	assert_int_equal(acpi_read_mcfg(&memory, &tables, &mcfg), ACPI_BAD_LENGTH);
	assert_int_equal(mcfg.count, 0);
}

static void hpet_gives_its_address_only_in_memory_space(void **state)
{
	struct acpi_tables tables;
	uint64_t hpet;

	put(TABLE_AT + 44, 8, 0xfed00000);
	tables = read_one("HPET", 56);
	assert_int_equal(acpi_read_hpet(&memory, &tables, &hpet), ACPI_OK);
	assert_int_equal(hpet, 0xfed00000);
	put(TABLE_AT + 40, 1, ACPI_SPACE_PORT);
	tables = read_one("HPET", 56);
	assert_int_equal(acpi_read_hpet(&memory, &tables, &hpet), ACPI_NOT_FOUND);
	tables = read_one("HPET", 51);
	assert_int_equal(acpi_read_hpet(&memory, &tables, &hpet), ACPI_BAD_LENGTH);
}

static void fadt_gives_ports_and_prefers_the_generic_form(void **state)
{
	struct acpi_tables tables;
	struct acpi_fadt fadt;

	put(TABLE_AT + 48, 4, 0xb2);
	put(TABLE_AT + 56, 4, 0x600);
	put(TABLE_AT + 64, 4, 0x604);
	put(TABLE_AT + 76, 4, 0x608);
	put(TABLE_AT + 88, 4, 0x04000204);
	tables = read_one("FACP", 116);
	put(TABLE_AT + 91, 1, 4);
	tables = read_one("FACP", 116);
	assert_int_equal(acpi_read_fadt(&memory, &tables, &fadt), ACPI_OK);
	assert_int_equal(fadt.smi_command_port, 0xb2);
	assert_int_equal(fadt.pm1a_event.address, 0x600);
	assert_int_equal(fadt.pm1a_event.length_bytes, 4);
	assert_int_equal(fadt.pm1a_control.address, 0x604);
	assert_int_equal(fadt.pm1a_control.space, ACPI_SPACE_PORT);
	assert_int_equal(fadt.pm1b_control.length_bytes, 0);
	assert_int_equal(fadt.pm_timer.address, 0x608);
	assert_int_equal(fadt.reset.length_bytes, 0);
	put(TABLE_AT + 116, 1, ACPI_SPACE_PORT);
	put(TABLE_AT + 120, 8, 0xcf9);
	put(TABLE_AT + 128, 1, 0x0f);
	put(TABLE_AT + 172, 1, ACPI_SPACE_MEMORY);
	put(TABLE_AT + 176, 8, 0xfed80804);
	tables = read_one("FACP", 244);
	assert_int_equal(acpi_read_fadt(&memory, &tables, &fadt), ACPI_OK);
	assert_int_equal(fadt.reset.address, 0xcf9);
	assert_int_equal(fadt.reset_value, 0x0f);
	assert_int_equal(fadt.pm1a_control.address, 0xfed80804);
	assert_int_equal(fadt.pm1a_control.space, ACPI_SPACE_MEMORY);
	tables = read_one("FACP", 115);
	assert_int_equal(acpi_read_fadt(&memory, &tables, &fadt), ACPI_BAD_LENGTH);
}

/* The IVRS of the emulated PC: type 10h, one 4-byte entry a device, an I/O APIC at 00:14.0. */
static uint32_t build_ivhd(uint32_t at, uint8_t type, uint64_t base)
{
	uint32_t header = type == 0x10 ? 24 : 40, length = header + 4 + 8;

	put(at, 1, type);
	put(at + 1, 1, 0x20);
	put(at + 2, 2, length);
	put(at + 8, 8, base);
	put(at + header, 4, 2 | 0x18 << 8);
	put(at + header + 4, 1, 0x48);
	put(at + header + 7, 1, 0x05);
	put(at + header + 8, 1, 0);
	put(at + header + 9, 2, 0xa0);
	put(at + header + 11, 1, 1);
	return length;
}

static void ivrs_blocks_of_one_base_are_one_unit(void **state)
{
	struct acpi_tables tables;
	struct acpi_ivrs ivrs;
	uint32_t end = TABLE_AT + 48;

	end += build_ivhd(end, 0x10, 0xfed80000);
	end += build_ivhd(end, 0x11, 0xfed80000);
	end += build_ivhd(end, 0x40, 0xfed90000);
	put(end, 1, 0x21); /* memory that firmware wants a device to reach: stepped over */
	put(end + 2, 2, 32);
	end += 32;
	tables = read_one("IVRS", end - TABLE_AT);
	assert_int_equal(acpi_read_ivrs(&memory, &tables, &ivrs), ACPI_OK);
	assert_int_equal(ivrs.unit_count, 2);
	assert_int_equal(ivrs.units[0].base, 0xfed80000);
	assert_int_equal(ivrs.units[0].flags, 0x20);
	assert_int_equal(ivrs.units[1].base, 0xfed90000);
}

static void ivrs_blocks_that_pass_the_table_or_are_too_short_are_refused(void **state)
{
	struct acpi_tables tables;
	struct acpi_ivrs ivrs;
	uint32_t length = build_ivhd(TABLE_AT + 48, 0x10, 0xfed80000);

	for (uint32_t claimed = 1; claimed < length; claimed++) {
		put(TABLE_AT + 50, 2, claimed);
		tables = read_one("IVRS", 48 + claimed);
		assert_int_equal(acpi_read_ivrs(&memory, &tables, &ivrs), claimed < 24 ? ACPI_BAD_LENGTH : ACPI_OK);
		assert_int_equal(ivrs.unit_count, claimed < 24 ? 0 : 1);
	}
	put(TABLE_AT + 50, 2, length + 1);
	tables = read_one("IVRS", 48 + length);
	assert_int_equal(acpi_read_ivrs(&memory, &tables, &ivrs), ACPI_BAD_LENGTH);
	assert_int_equal(ivrs.unit_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(rsdp_is_found_in_the_bios_area_and_in_the_ebda, clear_memory),
		cmocka_unit_test_setup(both_root_tables_list_the_same_tables, clear_memory),
		cmocka_unit_test_setup(a_damaged_table_costs_only_itself, clear_memory),
		cmocka_unit_test_setup(a_damaged_root_or_rsdp_is_refused, clear_memory),
		cmocka_unit_test_setup(more_tables_than_fit_are_an_error, clear_memory),
		cmocka_unit_test_setup(mcfg_gives_every_window, clear_memory),
		cmocka_unit_test_setup(hpet_gives_its_address_only_in_memory_space, clear_memory),
		cmocka_unit_test_setup(fadt_gives_ports_and_prefers_the_generic_form, clear_memory),
		cmocka_unit_test_setup(ivrs_blocks_of_one_base_are_one_unit, clear_memory),
		cmocka_unit_test_setup(ivrs_blocks_that_pass_the_table_or_are_too_short_are_refused, clear_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
