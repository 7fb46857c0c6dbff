/* SPDX-License-Identifier: MIT */
/*
 * The configuration in bulkhead.efi's section .bhconf: lines "key=value", "#" starts a comment.
 *
 *   log=error|warning|info|debug     what the hypervisor's log keeps (default: info)
 *   if-unverified=stop|continue      firmware neither verified nor measured this file (default: stop)
 *   if-unable=stop|start-linux       the machine cannot run the hypervisor (default: stop)
 */
#ifndef BULKHEAD_BOOT_CONFIG_H
#define BULKHEAD_BOOT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct boot_config {
	uint32_t log_level; /* 0 errors .. 3 everything */
	bool continue_unverified;
	bool start_linux_if_unable;
	uint32_t bad_line; /* number of the first line that makes no sense, 0: none */
};

/** Reads a configuration. Returns false, with bad_line set, if a line makes no sense. */
bool boot_config_parse(const char *text, size_t size_bytes, struct boot_config *config);

/** A section of a PE file that is loaded in memory (PE/COFF 8.3, section 4). */
struct pe_section {
	const uint8_t *data; /* NULL: no such section */
	uint64_t size_bytes;
};

/**
 * Finds a section of a loaded image by name.
 * @image, @image_bytes: the image as it lies in memory
 * @name: at most 8 characters
 */
struct pe_section pe_section_find(const uint8_t *image, uint64_t image_bytes, const char *name);

#endif
