/* SPDX-License-Identifier: MIT */
/*
 * Places the hypervisor's ELF file in memory. Pure: works on two buffers.
 */
#ifndef BULKHEAD_BOOT_ELF_LOAD_H
#define BULKHEAD_BOOT_ELF_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Where things lie in a file that elf_measure() accepted. */
struct elf_layout {
	uint64_t image_bytes; /* memory it takes, whole pages */
	uint64_t entry;	      /* offset of the entry point */
};

/** Checks a file: 64-bit, position independent, x86-64, everything inside it. */
bool elf_measure(const uint8_t *file, size_t size_bytes, struct elf_layout *layout);

/**
 * Copies the segments, clears the rest and relocates to the address the memory has.
 * @memory: layout.image_bytes bytes, where the image will run
 * Returns false if a relocation is of an unknown kind or points outside the image.
 */
bool elf_place(const uint8_t *file, size_t size_bytes, uint8_t *memory,
	       const struct elf_layout *layout);

#endif
