/* SPDX-License-Identifier: MIT */
/*
 * What a guest's firmware is told, read as firmware reads it: through the device that serves the blob, by key and by the
 * directory of files. The loader's commands are carried out, and what they leave must be ACPI tables.
 */
#include "firmware.h"
#include "fw_cfg_blob.h"
#include "machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FIRMWARE_BYTES 0x20000u
#define MEMORY_BYTES   (64ull << 20)
#define TABLES_AT      0x3000000ull /* where this firmware puts the tables */

static char path[] = "/tmp/firmware_test.XXXXXX";
static char error[512];
static struct config config;
static struct memory ram;
static struct fw_cfg device;
static uint64_t blob_bytes;

static void write_firmware(size_t size_bytes)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	for (size_t i = 0; i < size_bytes; i++)
		putc((int)(i * 7 & 0xff), file);
	assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
	uint64_t top_bytes;

	(void)state;
	write_firmware(FIRMWARE_BYTES);
	config = (struct config){ .name = (char *)"a", .firmware = path, .memory_bytes = MEMORY_BYTES, .processors = 3,
				  .disks = { { (char *)"d" }, { (char *)"e" } }, .disk_count = 2 };
	if (!firmware_size(&config, &top_bytes, error, sizeof(error)) ||
	    ram_create(&ram, MEMORY_BYTES, 32ull << 20, top_bytes) ||
	    !firmware_load(&ram, &config, &blob_bytes, error, sizeof(error)))
		return -1;
	fw_cfg_init(&device, &ram, RAM_HIGH_START - top_bytes, (uint32_t)blob_bytes);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ram_destroy(&ram);
	return 0;
}

static void read_item(uint16_t key, void *to, size_t size_bytes)
{
	uint8_t *bytes = to;

	assert_true(fw_cfg_port_write(&device, FW_CFG_PORT_SELECT, 2, key));
	while (size_bytes--)
		*bytes++ = (uint8_t)fw_cfg_port_read(&device, FW_CFG_PORT_DATA, 1);
}

/* Reads a file by its name. Returns its size. */
static size_t read_file(const char *name, void *to, size_t room)
{
	static uint8_t directory[4 + 64 * FW_CFG_BLOB_FILES_MAX];
	struct fw_cfg_file file;
	uint32_t count;

	read_item(0x19, directory, sizeof(directory));
	memcpy(&count, directory, sizeof(count));
	for (uint32_t i = 0; i < __builtin_bswap32(count); i++) {
		memcpy(&file, directory + 4 + 64 * i, sizeof(file));
		if (strcmp(file.name, name))
			continue;
		assert_in_range(__builtin_bswap32(file.size_bytes), 1, room);
		read_item(__builtin_bswap16(file.key), to, __builtin_bswap32(file.size_bytes));
		return __builtin_bswap32(file.size_bytes);
	}
	fail_msg("no file %s", name);
	return 0;
}

static uint64_t number(const uint8_t *bytes, unsigned int size)
{
	uint64_t value = 0;

	while (size--)
		value = value << 8 | bytes[size];
	return value;
}

static uint8_t sum(const uint8_t *bytes, size_t count)
{
	uint8_t total = 0;

	while (count--)
		total = (uint8_t)(total + *bytes++);
	return total;
}

static void the_image_ends_at_4_gib(void **state)
{
	const uint8_t *image = ram_at(&ram, RAM_HIGH_START - FIRMWARE_BYTES, FIRMWARE_BYTES);

	(void)state;
	for (unsigned int i = 0; i < FIRMWARE_BYTES; i++)
		assert_int_equal(image[i], i * 7 & 0xff);
}

static void processors_memory_and_disks_are_told(void **state)
{
	uint8_t bytes[64];
	char order[128];
	uint16_t count;
	size_t size;

	(void)state;
	read_item(0x05, &count, sizeof(count));
	assert_int_equal(count, 3);
	assert_int_equal(read_file("etc/e820", bytes, sizeof(bytes)), 40);
	assert_int_equal(number(bytes, 8), 0);
	assert_int_equal(number(bytes + 8, 8), 32 << 20);
	assert_int_equal(number(bytes + 16, 4), 1);
	assert_int_equal(number(bytes + 20, 8), RAM_HIGH_START);
	assert_int_equal(number(bytes + 28, 8), 32 << 20);
	size = read_file("bootorder", order, sizeof(order));
	assert_int_equal(size, strlen(order) + 1);
	assert_string_equal(order, "/pci@i0cf8/scsi@1/disk@0,0\n/pci@i0cf8/scsi@2/disk@0,0");
}

static void smbios_structures_are_whole(void **state)
{
	uint8_t entry[24], structures[128];
	size_t size, at = 0;
	unsigned int types = 0;

	(void)state;
	assert_int_equal(read_file("etc/smbios/smbios-anchor", entry, sizeof(entry)), 24);
	size = read_file("etc/smbios/smbios-tables", structures, sizeof(structures));
	assert_memory_equal(entry, "_SM3_", 5);
	assert_int_equal(sum(entry, entry[6]), 0);
	assert_int_equal(number(entry + 12, 4), size);
	while (at < size) {
		types |= structures[at] == 1 ? 1 : structures[at] == 127 ? 2 : 4;
		at += structures[at + 1];
		while (structures[at] || structures[at + 1])
			at++;
		at += 2;
	}
	assert_int_equal(at, size);
	assert_int_equal(types, 3);
}

/* The two files as this firmware has them in memory. */
static uint8_t root[64], tables[8192];
static size_t tables_bytes;

static uint8_t *loaded(const char *name)
{
	return !strcmp(name, "etc/acpi/rsdp") ? root : tables;
}

static void load_tables(void)
{
	static uint8_t script[128 * 48];
	size_t size = read_file("etc/table-loader", script, sizeof(script));

	assert_int_equal(size % 128, 0);
	assert_int_equal(read_file("etc/acpi/rsdp", root, sizeof(root)), 36);
	tables_bytes = read_file("etc/acpi/tables", tables, sizeof(tables));
	for (const uint8_t *command = script; command < script + size; command += 128) {
		uint8_t *file = loaded((const char *)command + 4);
		uint64_t at, value;

		switch (number(command, 4)) {
		case 1: /* allocate */
			assert_in_range(command[64], 1, 2);
			break;
		case 2: /* add a pointer */
			assert_string_equal((const char *)command + 60, "etc/acpi/tables");
			at = number(command + 116, 4);
			value = number(file + at, command[120]) + TABLES_AT;
			for (unsigned int i = 0; i < command[120]; i++)
				file[at + i] = (uint8_t)(value >> 8 * i);
			break;
		case 3: /* add a checksum */
			at = number(command + 60, 4);
			assert_int_equal(file[at], 0);
			file[at] = (uint8_t)-sum(file + number(command + 64, 4), number(command + 68, 4));
			break;
		default:
			fail();
		}
	}
}

static const uint8_t *table_at(uint64_t address, const char *signature)
{
	const uint8_t *table = tables + (address - TABLES_AT);

	assert_in_range(address, TABLES_AT, TABLES_AT + tables_bytes - 36);
	assert_int_equal(address % 16, 0);
	assert_memory_equal(table, signature, 4);
	if (memcmp(signature, "FACS", 4))
		assert_int_equal(sum(table, number(table + 4, 4)), 0);
	return table;
}

static void the_loader_leaves_good_acpi_tables(void **state)
{
	const uint8_t *xsdt, *fadt, *madt, *mcfg;

	(void)state;
	load_tables();
	assert_memory_equal(root, "RSD PTR ", 8);
	assert_int_equal(sum(root, 20), 0);
	assert_int_equal(sum(root, 36), 0);
	xsdt = table_at(number(root + 24, 8), "XSDT");
	fadt = table_at(number(xsdt + 36, 8), "FACP");
	madt = table_at(number(xsdt + 44, 8), "APIC");
	mcfg = table_at(number(xsdt + 52, 8), "MCFG");
	table_at(number(fadt + 36, 4), "FACS");
	table_at(number(fadt + 40, 4), "DSDT");
	table_at(number(fadt + 132, 8), "FACS");
	table_at(number(fadt + 140, 8), "DSDT");
	assert_int_equal(madt[44 + 2 * 8 + 3], 2); /* the third processor */
	assert_int_equal(number(mcfg + 44, 8), MACHINE_ECAM);
}

static void the_same_configuration_gives_the_same_bytes(void **state)
{
	uint8_t *first = malloc(ram.top_bytes);
	uint8_t *now = ram.bytes + ram.size_bytes - ram.top_bytes;

	(void)state;
	assert_non_null(first);
	memcpy(first, now, ram.top_bytes);
	memset(now, 0, ram.top_bytes);
	assert_true(firmware_load(&ram, &config, &blob_bytes, error, sizeof(error)));
	assert_memory_equal(now, first, ram.top_bytes);
	config.processors = 2;
	memset(now, 0, ram.top_bytes);
	assert_true(firmware_load(&ram, &config, &blob_bytes, error, sizeof(error)));
	assert_memory_not_equal(now, first, ram.top_bytes);
	free(first);
}

static void what_is_no_firmware_image_is_named(void **state)
{
	static const size_t wrong[] = { 0, 100, 4097, (8u << 20) + 4096 };
	uint64_t top_bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		write_firmware(wrong[i]);
		assert_false(firmware_size(&config, &top_bytes, error, sizeof(error)));
		assert_non_null(strstr(error, "no firmware image"));
	}
	write_firmware(8192); /* another file than the one whose size was asked for */
	assert_false(firmware_load(&ram, &config, &blob_bytes, error, sizeof(error)));
	assert_non_null(strstr(error, "changed while it was read"));
	config.firmware = (char *)"/nonexistent/OVMF.fd";
	assert_false(firmware_size(&config, &top_bytes, error, sizeof(error)));
	assert_string_equal(error, "/nonexistent/OVMF.fd: No such file or directory");
}

static void a_blob_that_does_not_fit_is_none(void **state)
{
	static uint8_t bytes[2048];
	struct fw_cfg_blob blob;
	char name[64];

	(void)state;
	fw_cfg_blob_start(&blob, bytes, 100);
	assert_int_equal(fw_cfg_blob_end(&blob), 0);
	fw_cfg_blob_start(&blob, bytes, sizeof(bytes));
	fw_cfg_blob_add(&blob, 1, bytes, 1500);
	assert_int_equal(fw_cfg_blob_end(&blob), 0);
	fw_cfg_blob_start(&blob, bytes, sizeof(bytes));
	memset(name, 'n', sizeof(name) - 1);
	name[63] = 0;
	fw_cfg_blob_add_file(&blob, name, "", 1);
	assert_int_equal(fw_cfg_blob_end(&blob), 0);
	fw_cfg_blob_start(&blob, bytes, sizeof(bytes));
	for (unsigned int i = 0; i < FW_CFG_BLOB_FILES_MAX + 1; i++)
		fw_cfg_blob_add_file(&blob, "n", "", 1);
	assert_int_equal(fw_cfg_blob_end(&blob), 0);
	fw_cfg_blob_start(&blob, bytes, sizeof(bytes));
	for (unsigned int i = 0; i < FW_CFG_ENTRIES_MAX; i++)
		fw_cfg_blob_add(&blob, (uint16_t)i, "", 1);
	assert_int_equal(fw_cfg_blob_end(&blob), 0); /* no entry is left for the directory */
}

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_image_ends_at_4_gib, set_up, tear_down),
		cmocka_unit_test_setup_teardown(processors_memory_and_disks_are_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(smbios_structures_are_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_loader_leaves_good_acpi_tables, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_same_configuration_gives_the_same_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_firmware_image_is_named, set_up, tear_down),
		cmocka_unit_test(a_blob_that_does_not_fit_is_none),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
