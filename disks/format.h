/*
 * Formats of disk images, as far as we judge them ourselves before any tool of QEMU's opens one: what it is, how large
 * the disk in it is, and that it leads to no other file. QEMU then gets the format by name, never guesses.
 */
#ifndef BULKHEAD_DISKS_FORMAT_H
#define BULKHEAD_DISKS_FORMAT_H

#include "source.h"

#include "store/format.h" /* DISK_BYTES_MAX: no larger disk is taken in; far below every overflow */

#include <stdbool.h>

enum disk_format {
	DISK_RAW,
	DISK_QCOW2,
	DISK_VHD,
	DISK_VHDX,
	DISK_VMDK,
	DISK_OVA, /**< an archive that holds a description and disks in VMDK */
	DISK_FORMATS,
};

/** What a header says, once it has been found harmless. */
struct disk_facts {
	enum disk_format format;
	uint64_t disk_bytes; /**< size the guest sees, a multiple of 512 */
};

/** The format's name as people write it ("qcow2"). */
const char *disk_format_name(enum disk_format format);

/** The format of that name, or DISK_FORMATS. */
enum disk_format disk_format_named(const char *name);

/** Whether export can write it. */
bool disk_format_can_export(enum disk_format format);

/**
 * Tells a format by its magic numbers; DISK_RAW if there is none. Raw bytes may imitate any other format, so a caller
 * must not take a guess for raw where the bytes come from a guest: it asks for the format by name.
 */
enum disk_format disk_format_guess(const struct disk_source *source);

/**
 * Judges a header of @format: well formed, no backing file, no data or parent file, not encrypted, size within
 * @bytes_max. Reads a bounded number of bytes.
 * Returns 0 and *@facts, or a negative errno and the reason: -EINVAL malformed, -ENOTSUP well formed but refused,
 * -EFBIG too large.
 */
int disk_format_check(const struct disk_source *source, enum disk_format format, uint64_t bytes_max,
		      struct disk_facts *facts, struct disk_why *why);

/* One judge for each format; disk_format_check() calls them. They set *@disk_bytes. */
int disk_qcow2_check(const struct disk_source *source, uint64_t *disk_bytes, struct disk_why *why);
int disk_vhd_check(const struct disk_source *source, uint64_t *disk_bytes, struct disk_why *why);
int disk_vhdx_check(const struct disk_source *source, uint64_t *disk_bytes, struct disk_why *why);
int disk_vmdk_check(const struct disk_source *source, uint64_t *disk_bytes, struct disk_why *why);

#endif
