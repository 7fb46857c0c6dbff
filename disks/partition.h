/*
 * The partitions of a raw disk: GPT, or the four of an MBR, or none (one file system on the whole disk). Read strictly
 * and bounded: the disk may come from anybody.
 */
#ifndef BULKHEAD_DISKS_PARTITION_H
#define BULKHEAD_DISKS_PARTITION_H

#include "source.h"

#define PARTITIONS_MAX 128u

struct partition {
	uint64_t start, size_bytes;
};

struct partition_table {
	unsigned int count;
	struct partition partitions[PARTITIONS_MAX];
};

/**
 * Lists the partitions in disk order of their entries; a disk without a table is one partition.
 * Returns 0, or -EINVAL with the reason if a table is damaged.
 */
int partition_read(const struct disk_source *disk, struct partition_table *table, struct disk_why *why);

#endif
