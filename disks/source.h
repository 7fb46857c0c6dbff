/*
 * A bounded window on bytes that somebody else wrote: a file, a part of one, or memory. Every parser of this folder
 * reads through it, so that none can read outside what it was given, and so that the fuzzers need no files.
 */
#ifndef BULKHEAD_DISKS_SOURCE_H
#define BULKHEAD_DISKS_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#define DISK_WHY_BYTES 320

/** Why something was refused, in words for a person: "the thing: the reason; the remedy". */
struct disk_why {
	char text[DISK_WHY_BYTES];
};

/**
 * Sets the reason and returns -@error, so that a check can end with `return disk_refuse(why, EINVAL, ...)`.
 * Characters that are not printable are replaced: names in hostile files reach terminals.
 */
int disk_refuse(struct disk_why *why, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** Where bytes come from: @fd at @start if @memory is NULL, else memory. The source owns neither. */
struct disk_source {
	const uint8_t *memory;
	int fd;
	uint64_t start;	     /**< byte of the file at which the source begins */
	uint64_t size_bytes; /**< its length */
};

/** A source over an open regular file or block device. Returns 0, or a negative errno with the reason. */
int disk_source_open(struct disk_source *source, int fd, struct disk_why *why);

/** A part of @whole. Returns -ERANGE, without a reason, if it does not lie within. */
int disk_source_part(struct disk_source *part, const struct disk_source *whole, uint64_t start, uint64_t size_bytes);

/** Reads exactly @size_bytes at @offset. Returns 0, -ERANGE if they do not lie within the source, or another errno. */
int disk_source_read(const struct disk_source *source, uint64_t offset, void *buffer, size_t size_bytes);

/** Numbers as they stand in headers. */
uint16_t disk_be16(const uint8_t *bytes);
uint32_t disk_be32(const uint8_t *bytes);
uint64_t disk_be64(const uint8_t *bytes);
uint16_t disk_le16(const uint8_t *bytes);
uint32_t disk_le32(const uint8_t *bytes);
uint64_t disk_le64(const uint8_t *bytes);

#endif
