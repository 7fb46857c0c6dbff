/* SPDX-License-Identifier: MIT */
/*
 * Places a Linux kernel and what it is told in guest RAM; see linux_boot.h.
 */
#include "linux_boot.h"
#include "acpi_tables.h"
#include "config.h"
#include "file.h"
#include "machine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Low memory: page tables, descriptor table, boot parameters, command line, ACPI tables. */
enum {
	AT_DESCRIPTORS = 0x6000,
	AT_PARAMETERS = 0x7000,
	AT_PAGE_TABLES = 0x9000, /* one PML4, one PDPT, four page directories: 4 GiB */
	AT_COMMAND_LINE = 0x20000,
	AT_ACPI = 0xe0000,
	ACPI_BYTES = 0x10000,
};

/* Offsets in the boot parameters ("zero page") and the kernel's setup header. */
enum {
	PARAM_RSDP = 0x070,
	PARAM_E820_COUNT = 0x1e8,
	PARAM_SETUP_SECTORS = 0x1f1,
	PARAM_HEADER_JUMP = 0x201,
	PARAM_MAGIC = 0x202,
	PARAM_VERSION = 0x206,
	PARAM_LOADER = 0x210,
	PARAM_LOAD_FLAGS = 0x211,
	PARAM_INITRD = 0x218,
	PARAM_INITRD_BYTES = 0x21c,
	PARAM_COMMAND_LINE = 0x228,
	PARAM_INITRD_MAX = 0x22c,
	PARAM_EXTENDED_FLAGS = 0x236,
	PARAM_COMMAND_LINE_MAX = 0x238,
	PARAM_PREFERRED = 0x258,
	PARAM_INIT_BYTES = 0x260,
	PARAM_E820 = 0x2d0,
};
enum { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3 };
enum { EXTENDED_64BIT = 1 };
#define SETUP_MAX 32768u

static uint64_t field(const uint8_t *bytes, unsigned int offset, unsigned int size)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size; i++)
		value |= (uint64_t)bytes[offset + i] << 8 * i;
	return value;
}

static void set_field(uint8_t *bytes, unsigned int offset, unsigned int size, uint64_t value)
{
	for (unsigned int i = 0; i < size; i++)
		bytes[offset + i] = (uint8_t)(value >> 8 * i);
}

/** Adds one range to the e820 map in the boot parameters. */
static void add_range(uint8_t *parameters, uint64_t start, uint64_t bytes, uint32_t type)
{
	unsigned int count = parameters[PARAM_E820_COUNT]++;

	set_field(parameters, PARAM_E820 + 20 * count, 8, start);
	set_field(parameters, PARAM_E820 + 20 * count + 8, 8, bytes);
	set_field(parameters, PARAM_E820 + 20 * count + 16, 4, type);
}

static bool load_kernel(struct memory *ram, const char *path, uint8_t *parameters, uint64_t *entry, char *error,
			size_t error_bytes)
{
	uint8_t setup[0x400];
	uint64_t file_bytes, setup_bytes, kernel_bytes, preferred, init_bytes, header_end;
	int fd = file_open(path, &file_bytes, error, error_bytes);
	uint8_t *to;
	bool good = false;

	if (fd < 0)
		return false;
	if (file_bytes < sizeof(setup) || !file_read(fd, 0, setup, sizeof(setup)) ||
	    field(setup, PARAM_MAGIC, 4) != 0x53726448 || field(setup, PARAM_VERSION, 2) < 0x20c ||
	    !(field(setup, PARAM_EXTENDED_FLAGS, 2) & EXTENDED_64BIT)) {
		snprintf(error, error_bytes, "%s: not a 64-bit Linux bzImage of protocol 2.12 or newer", path);
		goto out;
	}
	setup_bytes = (setup[PARAM_SETUP_SECTORS] ? setup[PARAM_SETUP_SECTORS] + 1u : 5u) * 512u;
	header_end = PARAM_MAGIC + setup[PARAM_HEADER_JUMP];
	preferred = field(setup, PARAM_PREFERRED, 8);
	init_bytes = field(setup, PARAM_INIT_BYTES, 4);
	if (setup_bytes >= file_bytes || setup_bytes > SETUP_MAX || header_end > sizeof(setup)) {
		snprintf(error, error_bytes, "%s: its setup header is damaged", path);
		goto out;
	}
	kernel_bytes = file_bytes - setup_bytes;
	to = preferred < 0x100000 ? NULL : ram_at(ram, preferred, init_bytes > kernel_bytes ? init_bytes : kernel_bytes);
	if (!to) {
		snprintf(error, error_bytes, "%s: needs more memory than the guest has; raise \"memory\"", path);
		goto out;
	}
	if (!file_read(fd, setup_bytes, to, kernel_bytes)) {
		snprintf(error, error_bytes, "%s: changed while it was read", path);
		goto out;
	}
	memcpy(parameters + PARAM_SETUP_SECTORS, setup + PARAM_SETUP_SECTORS, header_end - PARAM_SETUP_SECTORS);
	*entry = preferred + 0x200;
	good = true;
out:
	close(fd);
	return good;
}

static bool load_initrd(struct memory *ram, const char *path, uint8_t *parameters, char *error, size_t error_bytes)
{
	uint64_t bytes, limit = field(parameters, PARAM_INITRD_MAX, 4) + 1, address;
	int fd = file_open(path, &bytes, error, error_bytes);
	uint8_t *to;
	bool good;

	if (fd < 0)
		return false;
	if (limit > ram->low_bytes)
		limit = ram->low_bytes;
	address = bytes < limit ? (limit - bytes) & ~0xfffull : 0;
	/* Not over the kernel, which unpacks itself where it lies. */
	to = address >= field(parameters, PARAM_PREFERRED, 8) + field(parameters, PARAM_INIT_BYTES, 4) ?
		     ram_at(ram, address, bytes) :
		     NULL;
	good = to && file_read(fd, 0, to, bytes);
	if (!to)
		snprintf(error, error_bytes, "%s: does not fit beside the kernel; raise \"memory\"", path);
	else if (!good)
		snprintf(error, error_bytes, "%s: changed while it was read", path);
	close(fd);
	set_field(parameters, PARAM_INITRD, 4, address);
	set_field(parameters, PARAM_INITRD_BYTES, 4, bytes);
	return good;
}

static void write_page_tables(struct memory *ram)
{
	uint64_t *table = ram_at(ram, AT_PAGE_TABLES, 6 * 4096);

	table[0] = (AT_PAGE_TABLES + 4096) | 3;
	for (unsigned int i = 0; i < 4; i++)
		table[512 + i] = (AT_PAGE_TABLES + 4096 * (2ull + i)) | 3;
	for (uint64_t i = 0; i < 4 * 512; i++)
		table[1024 + i] = i << 21 | 0x83; /* present, writable, 2 MiB */
}

bool linux_boot_load(struct memory *ram, const struct config *config, uint64_t *entry, char *error,
		     size_t error_bytes)
{
	uint8_t *parameters = ram_at(ram, AT_PARAMETERS, 4096);
	const char *line = config->command_line ? config->command_line : "console=ttyS0";
	size_t line_bytes = strlen(line);
	uint64_t *descriptors = ram_at(ram, AT_DESCRIPTORS, 32);

	if (!load_kernel(ram, config->kernel, parameters, entry, error, error_bytes))
		return false;
	if (line_bytes > field(parameters, PARAM_COMMAND_LINE_MAX, 4)) {
		snprintf(error, error_bytes, "%s: command-line is longer than the kernel takes", config->name);
		return false;
	}
	if (config->initrd && !load_initrd(ram, config->initrd, parameters, error, error_bytes))
		return false;
	memcpy(ram_at(ram, AT_COMMAND_LINE, line_bytes + 1), line, line_bytes + 1);
	set_field(parameters, PARAM_COMMAND_LINE, 4, AT_COMMAND_LINE);
	set_field(parameters, PARAM_LOADER, 1, 0xff);
	set_field(parameters, PARAM_RSDP, 8, AT_ACPI);
	(void)acpi_tables_write(ram_at(ram, AT_ACPI, ACPI_BYTES), ACPI_BYTES, AT_ACPI, config->processors,
				NULL);
	add_range(parameters, 0, 0xa0000, E820_RAM);
	add_range(parameters, AT_ACPI, ACPI_BYTES, E820_ACPI);
	add_range(parameters, 0x100000, ram->low_bytes - 0x100000, E820_RAM);
	add_range(parameters, MACHINE_ECAM, PCI_ECAM_BUS_BYTES, E820_RESERVED);
	if (ram->high_bytes)
		add_range(parameters, RAM_HIGH_START, ram->high_bytes, E820_RAM);
	write_page_tables(ram);
	descriptors[2] = 0x00af9b000000ffff; /* 10h: 64-bit code */
	descriptors[3] = 0x00cf93000000ffff; /* 18h: data */
	return true;
}

int linux_boot_registers(int vcpu_fd, uint64_t entry)
{
	struct kvm_regs registers = { .rip = entry, .rsi = AT_PARAMETERS, .rsp = 0x8000, .rflags = 2 };
	struct kvm_segment code = { .limit = UINT32_MAX, .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1,
				    .g = 1 };
	struct kvm_segment data = { .limit = UINT32_MAX, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1,
				    .g = 1 };
	struct kvm_sregs special;

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &special))
		return -errno;
	special.cs = code;
	special.ds = special.es = special.ss = special.fs = special.gs = data;
	special.gdt = (struct kvm_dtable){ .base = AT_DESCRIPTORS, .limit = 31 };
	special.cr3 = AT_PAGE_TABLES;
	special.cr4 = 0x20;		/* PAE */
	special.cr0 = 0x80000011;	/* paging, ET, protection */
	special.efer = 0x500;		/* long mode, enabled and active */
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &special) || ioctl(vcpu_fd, KVM_SET_REGS, &registers))
		return -errno;
	return 0;
}

void linux_boot_state(struct bulkhead_vcpu_state *state, uint64_t entry)
{
	static const struct bulkhead_segment code = { 0x10, 0xa9b, UINT32_MAX, 0 };
	static const struct bulkhead_segment data = { 0x18, 0xc93, UINT32_MAX, 0 };

	state->gpr[4] = 0x8000;
	state->gpr[6] = AT_PARAMETERS;
	state->rip = entry;
	state->cs = code;
	state->ds = state->es = state->ss = state->fs = state->gs = data;
	state->gdtr = (struct bulkhead_segment){ .limit = 31, .base = AT_DESCRIPTORS };
	state->cr3 = AT_PAGE_TABLES;
	state->cr4 = 0x20;
	state->cr0 = 0x80000011;
	state->efer = 0x500;
}
