/*
 * Disk images in and out: opens a file that somebody else made, judges it (format.h, ova.h), and only then lets QEMU's
 * tools, sandboxed, turn it into a sparse raw disk; or writes a raw disk in another format.
 */
#ifndef BULKHEAD_DISKS_CONVERT_H
#define BULKHEAD_DISKS_CONVERT_H

#include "format.h"
#include "ova.h"

/** Unless a caller says otherwise no disk larger than this is taken in. */
#define DISK_BYTES_DEFAULT_MAX (2ull << 40)

/** An image that was judged and may be read. */
struct disk_image {
	int fd;
	struct disk_source disk;    /**< the disk's own bytes: the whole file, or a part of an archive */
	struct disk_facts facts;    /**< of that disk */
	enum disk_format container; /**< DISK_OVA, or the disk's own format */
	struct ovf_machine machine; /**< what an OVF says of the machine; empty without one */
};

/**
 * Opens and judges an image, without any tool.
 * @path       a file or block device; for OVF the description, beside which the disk lies.
 * @format     DISK_FORMATS to go by magic numbers: raw is then taken only from names ending in .raw, .img or .iso.
 * @disk_name  which disk of an archive with several; NULL for the only one.
 * @bytes_max  largest disk to take.
 * Returns 0, or a negative errno and the reason; then nothing is left open.
 */
int disk_image_open(const char *path, enum disk_format format, const char *disk_name, uint64_t bytes_max,
		    struct disk_image *image, struct disk_why *why);

void disk_image_close(struct disk_image *image);

/**
 * Writes the image's disk to @raw_fd: an empty file open for reading and writing, which becomes sparse and a multiple
 * of 4096 bytes long. Takes at most the space that is free now less 256 MiB. Not flushed.
 */
int disk_image_to_raw(const struct disk_image *image, int raw_fd, void (*progress)(void *context, double percent),
		      void *context, struct disk_why *why);

/**
 * Writes a raw disk in @format to @path: under a name of its own, flushed, then renamed, so that @path is whole or not
 * there. Refuses an existing @path unless @replace.
 * @raw_fd  the disk, open for reading.
 */
int disk_export(int raw_fd, enum disk_format format, const char *path, bool replace,
		void (*progress)(void *context, double percent), void *context, struct disk_why *why);

#endif
