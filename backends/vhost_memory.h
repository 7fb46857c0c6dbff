/*
 * A guest's memory as a vhost-user front-end gives it: regions of files, mapped here. Every address that comes from the
 * front-end or the guest becomes a pointer only through this table, with its length.
 */
#ifndef BULKHEAD_BACKENDS_VHOST_MEMORY_H
#define BULKHEAD_BACKENDS_VHOST_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#define VHOST_REGIONS_MAX 8

struct vhost_region {
	uint64_t guest_address, size_bytes, user_address;
	uint8_t *mapped; /**< where guest_address is here */
	void *map_start; /**< what mmap() gave */
	size_t map_bytes;
};

struct vhost_memory {
	unsigned int count;
	struct vhost_region regions[VHOST_REGIONS_MAX];
};

/**
 * Maps @size_bytes of @fd at @offset as a region. The file must be that long, and regions must not overlap.
 * @fd stays the caller's. Returns 0 or a negative errno.
 */
int vhost_memory_add(struct vhost_memory *memory, int fd, uint64_t guest_address, uint64_t size_bytes,
		     uint64_t user_address, uint64_t offset);

/** Unmaps everything. */
void vhost_memory_clear(struct vhost_memory *memory);

/** Where @bytes at a guest address lie here: within one region or NULL. */
void *vhost_memory_at(const struct vhost_memory *memory, uint64_t guest_address, uint64_t bytes);

/** The same for an address of the front-end, as rings have. */
void *vhost_memory_at_user(const struct vhost_memory *memory, uint64_t user_address, uint64_t bytes);

#endif
