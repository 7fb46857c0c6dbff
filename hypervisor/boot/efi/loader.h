/* SPDX-License-Identifier: MIT */
/*
 * Parts of the UEFI loader.
 */
#ifndef BULKHEAD_BOOT_EFI_LOADER_H
#define BULKHEAD_BOOT_EFI_LOADER_H

#include "../boot_config.h"
#include "../boot_info.h"
#include "efi.h"

/** What the loader works with. */
struct loader {
	efi_handle self;
	struct efi_system_table *system;
	struct efi_boot_services *boot;
	struct efi_loaded_image *image;
	struct boot_config config;
	struct pe_section kernel, initrd, command_line;
	uint64_t facts; /* BULKHEAD_FACT_* */
};

/** Prints a line that begins with "bulkhead: ". @more: NULL, or text that follows after ": " */
void console_line(const struct loader *loader, const char *text, const char *more);

/** Says why, and stays. */
__attribute__((noreturn)) void console_stop(const struct loader *loader, const char *reason);

/** Finds out whether firmware verified this file, and measures its parts if there is a TPM. */
void trust_establish(struct loader *loader);

/** Loads the hypervisor and takes all processors. Returns why not, or BOOT_OK: a guest from then on. */
enum boot_result launch(struct loader *loader);

/** Starts the kernel. Returns only on an error, which it prints. */
void kernel_start(struct loader *loader);

#endif
