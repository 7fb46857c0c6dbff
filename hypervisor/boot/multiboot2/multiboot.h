/* SPDX-License-Identifier: MIT */
/*
 * What Multiboot loaders say, in one form for both versions.
 */
#ifndef BULKHEAD_BOOT_MULTIBOOT_H
#define BULKHEAD_BOOT_MULTIBOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../boot_info.h"

#define MULTIBOOT_MAX_MODULES 2u

struct multiboot_module {
	uint64_t base, end;
	const char *text; /* without the file's name */
};

struct multiboot {
	const char *command_line; /* ours, without our name; never NULL */
	const void *rsdp; /* ACPI's root pointer, if the loader hands one over */
	struct multiboot_module modules[MULTIBOOT_MAX_MODULES];
	uint32_t module_count;
	uint32_t region_count;
	struct boot_region regions[BOOT_MAX_REGIONS];
};

/** Reads what a loader left. @magic, @info: EAX and EBX at entry. False: nothing usable. */
bool multiboot_read(uint32_t magic, uint32_t info, struct multiboot *result);

#endif
