/**
 * A small FAT file system in memory: the configuration disk that a guest gets at every start.
 * FAT12, 512-byte sectors, one a cluster, long names; only what a label and a few files need
 * (Microsoft FAT specification 1.03).
 */
#ifndef AGENT_FAT_IMAGE_H
#define AGENT_FAT_IMAGE_H

#include <stddef.h>

#define FAT_IMAGE_BYTES (1024u * 1024u)

struct fat_file {
	const char *name; /* up to 26 characters, no path */
	const void *bytes;
	size_t size_bytes;
};

/**
 * Writes a file system called `label` (up to 11 capitals) with `count` files into `image`
 * (FAT_IMAGE_BYTES bytes). Returns 0 or -ENOSPC, -ENAMETOOLONG, -EINVAL.
 */
int fat_image_write(unsigned char *image, const char *label, const struct fat_file *files,
		    size_t count);

#endif
