/* SPDX-License-Identifier: MIT */
/*
 * Starts a guest by firmware (OVMF for the Q35 chipset, in one file): the file ends at 4 GiB in the guest's own memory,
 * and right below it lies what the firmware is told: memory, processors, ACPI and SMBIOS tables, what to boot from. There
 * is no flash: variables live in memory, and start anew with each launch.
 */
#ifndef BULKHEAD_MONITOR_FIRMWARE_H
#define BULKHEAD_MONITOR_FIRMWARE_H

#include "config.h"
#include "ram.h"

/**
 * How much memory below 4 GiB the firmware that @config names takes, with what it is told.
 * Returns false after filling @error with one line.
 */
bool firmware_size(const struct config *config, uint64_t *top_bytes, char *error, size_t error_bytes);

/**
 * Fills the memory below 4 GiB, of the size that firmware_size() gave.
 * @blob_bytes: set to the size of the blob, which lies at the memory's start
 * Returns false after filling @error with one line.
 */
bool firmware_load(struct memory *ram, const struct config *config, uint64_t *blob_bytes, char *error,
		   size_t error_bytes);

#endif
