/* SPDX-License-Identifier: MIT */
/*
 * Starts a Linux bzImage directly, by the 64-bit boot protocol (Documentation/arch/x86/boot.rst of Linux).
 */
#ifndef BULKHEAD_MONITOR_LINUX_BOOT_H
#define BULKHEAD_MONITOR_LINUX_BOOT_H

#include "ram.h"

#include <bulkhead/vcpu.h>
#include <linux/kvm.h>

struct config;

/**
 * Loads kernel, initrd, command line and ACPI tables into RAM.
 * @entry: set to what linux_boot_registers() wants
 * Returns false after filling @error with one line.
 */
bool linux_boot_load(struct memory *ram, const struct config *config, uint64_t *entry, char *error,
		     size_t error_bytes);

/** Sets the first processor's registers: long mode, identity map, RSI at the boot parameters. Returns 0 or -errno. */
int linux_boot_registers(int vcpu_fd, uint64_t entry);

/** The same for a guest of Bulkhead, from a processor's state after power-on. */
void linux_boot_state(struct bulkhead_vcpu_state *state, uint64_t entry);

#endif
