/*
 * A guest's disk as a backend serves it, in bytes: a system disk (a version below, an overlay above) or a user disk (one
 * layer). Any whole sectors may be read and written; what is smaller than a block is completed from below first.
 */
#ifndef BULKHEAD_DISKS_GUESTDISK_H
#define BULKHEAD_DISKS_GUESTDISK_H

#include "version.h"

#include <pthread.h>

#define SECTOR_BYTES 512u

/** What lies beneath a layer, or instead of one. All functions are called by several threads. */
struct guestdisk_base {
	int (*read)(void *context, uint64_t first, uint64_t count, void *buffer);
	void *context;
};

struct guestdisk {
	struct layer *top;	    /**< NULL: read-only */
	struct guestdisk_base base; /**< read is NULL for a user disk: absent blocks are zero */
	uint64_t bytes;		    /**< size, a multiple of 512 */
	uint64_t blocks;	    /**< 4 KiB blocks, the last perhaps in part beyond the end */
	pthread_mutex_t part_lock;  /**< one completes a block from below at a time */
};

/** Prepares a disk; the parts stay the caller's. Returns 0, or -EINVAL if the layer's size is another. */
int guestdisk_make(struct guestdisk *disk, struct layer *top, const struct guestdisk_base *base, uint64_t bytes);
void guestdisk_release(struct guestdisk *disk);

/** Whether a request is whole sectors within the disk. */
bool guestdisk_fits(const struct guestdisk *disk, uint64_t offset, uint64_t bytes);

/*
 * Requests that do not fit are -EINVAL, changes of a read-only disk -EROFS. What flush finds written survives a power
 * cut. A discarded range reads as zeros.
 */
int guestdisk_read(struct guestdisk *disk, uint64_t offset, uint64_t bytes, void *buffer);
int guestdisk_write(struct guestdisk *disk, uint64_t offset, uint64_t bytes, const void *buffer);
int guestdisk_zero(struct guestdisk *disk, uint64_t offset, uint64_t bytes);
int guestdisk_flush(struct guestdisk *disk);

/** The base that reads a version. */
struct guestdisk_base guestdisk_version(struct version *version);

#endif
