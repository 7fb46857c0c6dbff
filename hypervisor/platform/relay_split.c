/* SPDX-License-Identifier: MIT */
/*
 * Large requests of disks, in parts; see relay_split.h.
 */
#include "relay_split.h"

#define SECTOR_BYTES 512u
#define STATUS_BYTES 1u

enum { DISK_READ = 0, DISK_WRITE = 1 };

static bool is_data(const struct virtqueue_chain *chain, unsigned int index)
{
	return index > 0 && index + 1 < chain->segment_count;
}

bool relay_split_begin(struct relay_split *split, const struct virtqueue_chain *chain, struct memory *memory)
{
	unsigned int last = chain->segment_count - 1u;
	uint32_t data_bytes;
	bool is_read;

	*split = (struct relay_split){ 0 };
	if (chain->segment_count < 3 || chain->segments[0].device_writes ||
	    chain->segments[0].size_bytes != sizeof(split->header) || !chain->segments[last].device_writes ||
	    chain->segments[last].size_bytes != STATUS_BYTES ||
	    !memory_read(memory, chain->segments[0].address, &split->header, sizeof(split->header)))
		return false;
	if (split->header.type != DISK_READ && split->header.type != DISK_WRITE)
		return false;
	/* Data of one direction: the sums say so. */
	is_read = split->header.type == DISK_READ;
	data_bytes = is_read ? chain->write_bytes - STATUS_BYTES : chain->read_bytes - (uint32_t)sizeof(split->header);
	if (data_bytes % SECTOR_BYTES || (is_read ? chain->read_bytes != sizeof(split->header) :
						    chain->write_bytes != STATUS_BYTES))
		return false;
	split->active = true;
	return true;
}

uint32_t relay_split_share(const struct relay_split *split, const struct virtqueue_chain *chain, unsigned int index,
			   uint32_t *left_bytes)
{
	uint32_t share = chain->segments[index].size_bytes;

	if (!split->active || !is_data(chain, index))
		return share;
	if (share > *left_bytes)
		share = *left_bytes;
	*left_bytes -= share;
	return share;
}

bool relay_split_advance(struct relay_split *split, struct virtqueue_chain *chain)
{
	uint32_t left = RELAY_SPLIT_BYTES, rest = 0;

	for (unsigned int i = 0; i < chain->segment_count; i++) {
		struct virtqueue_segment *segment = &chain->segments[i];
		uint32_t share;

		if (!is_data(chain, i))
			continue;
		share = relay_split_share(split, chain, i, &left);
		segment->address += share;
		segment->size_bytes -= share;
		rest += segment->size_bytes;
	}
	split->header.sector += split->part_bytes / SECTOR_BYTES;
	if (split->header.type == DISK_READ)
		split->returned_bytes += split->part_bytes;
	return rest > 0;
}

uint32_t relay_split_writable(const struct relay_split *split)
{
	return STATUS_BYTES + (split->header.type == DISK_READ ? split->part_bytes : 0);
}
