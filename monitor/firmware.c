/* SPDX-License-Identifier: MIT */
/*
 * Loads firmware and says in its configuration blob what the machine is; see firmware.h. Files and items are those that
 * OVMF reads (QEMU's docs/specs/fw_cfg.rst). All of it is in the measurement: nothing here may differ from start to start.
 */
#include "firmware.h"
#include "acpi_tables.h"
#include "file.h"
#include "fw_cfg_blob.h"
#include "machine.h"
#include "smbios.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BLOB_ROOM	   0x10000u
#define FIRMWARE_BYTES_MAX (8u << 20) /* stays above the local APIC */
#define PAGE_BYTES	   4096u
#define ACPI_ROOM	   0x4000u

enum { KEY_PROCESSORS = 0x05, KEY_PROCESSORS_MAX = 0x0f };

/* etc/e820: ranges as a PC's firmware reports them. */
struct e820_entry {
	uint64_t start, size_bytes;
	uint32_t type;
} __attribute__((packed));
enum { E820_RAM = 1 };

/* etc/table-loader: what firmware does with the other files; little endian. */
enum { LOADER_ALLOCATE = 1, LOADER_ADD_POINTER = 2, LOADER_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_LOW_SEGMENT = 2 };
#define LOADER_NAME_BYTES 56u
#define LOADER_MAX	  48u

struct loader_command {
	uint32_t command;
	union {
		struct {
			char file[LOADER_NAME_BYTES];
			uint32_t aligned_bytes;
			uint8_t zone;
		} __attribute__((packed)) allocate;
		struct {
			char file[LOADER_NAME_BYTES], to_file[LOADER_NAME_BYTES];
			uint32_t at;
			uint8_t size_bytes;
		} __attribute__((packed)) pointer;
		struct {
			char file[LOADER_NAME_BYTES];
			uint32_t at, start, size_bytes;
		} __attribute__((packed)) checksum;
		uint8_t whole[124];
	};
};
_Static_assert(sizeof(struct loader_command) == 128, "one command of etc/table-loader");

struct loader {
	struct loader_command commands[LOADER_MAX];
	unsigned int count;
};

#define ROOT_FILE   "etc/acpi/rsdp"
#define TABLES_FILE "etc/acpi/tables"

static void loader_allocate(struct loader *loader, const char *file, uint32_t aligned_bytes, uint8_t zone)
{
	struct loader_command *command = &loader->commands[loader->count++];

	command->command = LOADER_ALLOCATE;
	strcpy(command->allocate.file, file);
	command->allocate.aligned_bytes = aligned_bytes;
	command->allocate.zone = zone;
}

static void loader_pointer(struct loader *loader, const char *file, uint32_t at, uint8_t size_bytes)
{
	struct loader_command *command = &loader->commands[loader->count++];

	command->command = LOADER_ADD_POINTER;
	strcpy(command->pointer.file, file);
	strcpy(command->pointer.to_file, TABLES_FILE);
	command->pointer.at = at;
	command->pointer.size_bytes = size_bytes;
}

static void loader_checksum(struct loader *loader, const char *file, uint32_t at, uint32_t start, uint32_t size_bytes)
{
	struct loader_command *command = &loader->commands[loader->count++];

	command->command = LOADER_ADD_CHECKSUM;
	strcpy(command->checksum.file, file);
	command->checksum.at = at;
	command->checksum.start = start;
	command->checksum.size_bytes = size_bytes;
}

/**
 * ACPI tables that firmware places: pointers hold offsets in the file, checksums are 0 until the loader sets them. The
 * root pointer is a file of its own.
 */
static void add_acpi(struct fw_cfg_blob *blob, const struct config *config)
{
	uint8_t bytes[ACPI_ROOM];
	uint8_t *tables = bytes + ACPI_ROOT_BYTES;
	struct loader loader = { 0 };
	struct acpi_layout layout;
	size_t used = acpi_tables_write(bytes, sizeof(bytes), (uint64_t)0 - ACPI_ROOT_BYTES, config->processors, &layout);

	loader_allocate(&loader, ROOT_FILE, 16, ZONE_LOW_SEGMENT);
	loader_allocate(&loader, TABLES_FILE, 64, ZONE_HIGH);
	for (unsigned int i = 0; i < layout.pointer_count; i++)
		loader_pointer(&loader, TABLES_FILE, layout.pointers[i].at - ACPI_ROOT_BYTES,
			       layout.pointers[i].size_bytes);
	for (unsigned int i = 0; i < layout.table_count; i++) {
		uint32_t start = layout.tables[i].at - ACPI_ROOT_BYTES;

		tables[start + ACPI_CHECKSUM_AT] = 0;
		loader_checksum(&loader, TABLES_FILE, start + ACPI_CHECKSUM_AT, start, layout.tables[i].size_bytes);
	}
	bytes[ACPI_ROOT_CHECKSUM_AT] = bytes[ACPI_ROOT_CHECKSUM_ALL_AT] = 0;
	loader_pointer(&loader, ROOT_FILE, ACPI_ROOT_TABLES_AT, 8);
	loader_checksum(&loader, ROOT_FILE, ACPI_ROOT_CHECKSUM_AT, 0, 20);
	loader_checksum(&loader, ROOT_FILE, ACPI_ROOT_CHECKSUM_ALL_AT, 0, ACPI_ROOT_USED_BYTES);

	fw_cfg_blob_add_file(blob, ROOT_FILE, bytes, ACPI_ROOT_USED_BYTES);
	fw_cfg_blob_add_file(blob, TABLES_FILE, tables, used - ACPI_ROOT_BYTES);
	fw_cfg_blob_add_file(blob, "etc/table-loader", loader.commands, loader.count * sizeof(loader.commands[0]));
}

static void add_memory(struct fw_cfg_blob *blob, const struct memory *ram)
{
	struct e820_entry entries[2] = { { 0, ram->low_bytes, E820_RAM }, { RAM_HIGH_START, ram->high_bytes, E820_RAM } };

	fw_cfg_blob_add_file(blob, "etc/e820", entries, (ram->high_bytes ? 2 : 1) * sizeof(entries[0]));
}

static void add_processors(struct fw_cfg_blob *blob, const struct config *config)
{
	uint16_t count = (uint16_t)config->processors;

	fw_cfg_blob_add(blob, KEY_PROCESSORS, &count, sizeof(count));
	fw_cfg_blob_add(blob, KEY_PROCESSORS_MAX, &count, sizeof(count));
}

static void add_smbios(struct fw_cfg_blob *blob)
{
	struct smbios tables;

	smbios_write(&tables);
	fw_cfg_blob_add_file(blob, "etc/smbios/smbios-anchor", tables.entry, sizeof(tables.entry));
	fw_cfg_blob_add_file(blob, "etc/smbios/smbios-tables", tables.structures, tables.structure_bytes);
}

/** The disks in their order, as Open Firmware paths, and nothing else: never the network. */
static void add_boot_order(struct fw_cfg_blob *blob, const struct config *config)
{
	char order[CONFIG_DISKS_MAX * 40 + 1] = "";
	size_t used = 0;

	for (unsigned int i = 0; i < config->disk_count; i++)
		used += (size_t)snprintf(order + used, sizeof(order) - used, "%s/pci@i0cf8/scsi@%x/disk@0,0",
					 i ? "\n" : "", MACHINE_DISK_SLOT + i);
	fw_cfg_blob_add_file(blob, "bootorder", order, used + 1);
}

static size_t write_blob(struct memory *ram, const struct config *config)
{
	uint8_t *bytes = ram_at(ram, RAM_HIGH_START - ram->top_bytes, BLOB_ROOM);
	struct fw_cfg_blob blob;

	fw_cfg_blob_start(&blob, bytes, BLOB_ROOM);
	add_processors(&blob, config);
	add_memory(&blob, ram);
	add_acpi(&blob, config);
	add_smbios(&blob);
	add_boot_order(&blob, config);
	return fw_cfg_blob_end(&blob);
}

bool firmware_size(const struct config *config, uint64_t *top_bytes, char *error, size_t error_bytes)
{
	uint64_t file_bytes;
	int fd = file_open(config->firmware, &file_bytes, error, error_bytes);

	if (fd < 0)
		return false;
	close(fd);
	if (file_bytes < PAGE_BYTES || file_bytes % PAGE_BYTES || file_bytes > FIRMWARE_BYTES_MAX) {
		snprintf(error, error_bytes,
			 "%s: no firmware image: it must be whole pages of 4 KiB, at most 8 MiB, such as OVMF.fd",
			 config->firmware);
		return false;
	}
	*top_bytes = file_bytes + BLOB_ROOM;
	return true;
}

bool firmware_load(struct memory *ram, const struct config *config, uint64_t *blob_bytes, char *error,
		   size_t error_bytes)
{
	uint64_t file_bytes;
	int fd = file_open(config->firmware, &file_bytes, error, error_bytes);
	bool good;

	if (fd < 0)
		return false;
	good = file_bytes + BLOB_ROOM == ram->top_bytes &&
	       file_read(fd, 0, ram_at(ram, RAM_HIGH_START - file_bytes, file_bytes), file_bytes);
	close(fd);
	if (!good) {
		snprintf(error, error_bytes, "%s: changed while it was read", config->firmware);
		return false;
	}
	*blob_bytes = write_blob(ram, config);
	if (!*blob_bytes)
		snprintf(error, error_bytes, "%s: what its firmware is told does not fit in %u bytes", config->name, BLOB_ROOM);
	return *blob_bytes;
}
