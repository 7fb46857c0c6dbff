/* SPDX-License-Identifier: MIT */
/*
 * A disk's request that is larger than a relay area: firmware that loads a program reads the whole file at once, whatever
 * the device's configuration says of sizes. It is passed on in parts, each a request of its own (virtio 1.2, 5.2.6): the
 * header with the sector moved on, a part of the data, a status. The guest sees one request; its status is the first that
 * is not good, or the last.
 */
#ifndef BULKHEAD_PLATFORM_RELAY_SPLIT_H
#define BULKHEAD_PLATFORM_RELAY_SPLIT_H

#include "virtqueue.h"

/** Data of one part. With as many segments as there can be, the part takes no more descriptors than an area has. */
#define RELAY_SPLIT_BYTES (128u * 4096u)

/** virtio 1.2, 5.2.6: what a disk's request begins with. */
struct relay_disk_header {
	uint32_t type; /**< 0 read, 1 write */
	uint32_t reserved;
	uint64_t sector; /**< of 512 bytes */
};

struct relay_split {
	bool active;		   /**< the waiting chain is what is left of such a request */
	bool in_flight;		   /**< a part of it is with the backend */
	uint16_t head, status;	   /**< the part's first and last relay descriptor */
	uint32_t part_bytes;	   /**< data of the part */
	uint32_t returned_bytes;   /**< data that came back with earlier parts */
	struct relay_disk_header header; /**< of the part, as the backend gets it */
};

/**
 * Begins with a request that the device has to split. Reads the header once.
 * Returns false if it is no read or write of whole sectors with header and status in segments of their own.
 */
bool relay_split_begin(struct relay_split *split, const struct virtqueue_chain *chain, struct memory *memory);

/**
 * How much of segment @index goes out with the next part; all of it where nothing is split.
 * @left_bytes: of the part's data; RELAY_SPLIT_BYTES at the first segment, counted down here
 */
uint32_t relay_split_share(const struct relay_split *split, const struct virtqueue_chain *chain, unsigned int index,
			   uint32_t *left_bytes);

/** Takes a part that went well off the request. Returns whether something is left. */
bool relay_split_advance(struct relay_split *split, struct virtqueue_chain *chain);

/** Bytes that the backend fills in the part. */
uint32_t relay_split_writable(const struct relay_split *split);

#endif
