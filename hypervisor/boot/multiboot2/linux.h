/* SPDX-License-Identifier: MIT */
/*
 * Linux's 64-bit boot protocol (Documentation/x86/boot.rst, zero-page.rst).
 */
#ifndef BULKHEAD_BOOT_LINUX_H
#define BULKHEAD_BOOT_LINUX_H

#include "multiboot.h"

/** A kernel ready to be entered. */
struct linux_kernel {
	uint64_t entry;
	void *boot_params;
};

/**
 * Puts a bzImage in place behind the modules and fills its boot parameters.
 * @kernel: module 0, its text the command line; @initrd: module 1, or NULL
 * @regions: the memory the kernel is told of; @rsdp: address of ACPI's root pointer, 0: to be searched for
 * Returns NULL, or what is wrong.
 */
const char *linux_prepare(const struct multiboot_module *kernel, const struct multiboot_module *initrd,
			  const struct boot_region *regions, uint32_t region_count,
			  uint64_t rsdp, struct linux_kernel *result);

#endif
