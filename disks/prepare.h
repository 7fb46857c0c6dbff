/*
 * Takes identity out of a raw disk before it is published, moves homes to the user disk, and has qemu-guest-agent, should
 * the disk have it, started by guest/qemu-guest-agent.conf. The file system is never
 * mounted: e2fsprogs' debugfs and e2fsck change it as a file, in the sandbox that every tool has here.
 */
#ifndef BULKHEAD_DISKS_PREPARE_H
#define BULKHEAD_DISKS_PREPARE_H

#include "source.h"

#include <stdbool.h>

/** What was done, for people. */
struct prepare_report {
	unsigned int removed; /**< files */
	bool homes_moved;
	uint64_t root_start; /**< byte of the disk at which the root file system begins */
};

/**
 * Prepares a disk in place. The caller works on a copy: a failure in the middle leaves it half prepared.
 * @raw_fd      the disk, open for reading and writing.
 * @keep_homes  leave /home on the system disk.
 * Returns 0, or a negative errno and the reason: -ENOTSUP if no ext4 root file system is found.
 */
int disk_prepare(int raw_fd, bool keep_homes, struct prepare_report *report, struct disk_why *why);

#endif
