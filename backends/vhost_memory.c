/* The table of a guest's memory; see vhost_memory.h. */
#include "vhost_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int vhost_memory_add(struct vhost_memory *memory, int fd, uint64_t guest_address, uint64_t size_bytes,
		     uint64_t user_address, uint64_t offset)
{
	struct vhost_region *region = &memory->regions[memory->count];
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start = offset / page * page;
	struct stat status;

	if (memory->count == VHOST_REGIONS_MAX)
		return -E2BIG;
	if (size_bytes == 0 || size_bytes > UINT64_MAX - guest_address || size_bytes > UINT64_MAX - user_address ||
	    offset > INT64_MAX || size_bytes > INT64_MAX - offset)
		return -EINVAL;
	for (unsigned int i = 0; i < memory->count; i++) {
		const struct vhost_region *other = &memory->regions[i];

		if (guest_address < other->guest_address + other->size_bytes &&
		    other->guest_address < guest_address + size_bytes)
			return -EINVAL;
	}
	/* Beyond a file's end an access would end this process. */
	if (fstat(fd, &status))
		return -errno;
	if (S_ISREG(status.st_mode) && (uint64_t)status.st_size < offset + size_bytes)
		return -EINVAL;
	region->map_bytes = size_bytes + (offset - start);
	region->map_start = mmap(NULL, region->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
	if (region->map_start == MAP_FAILED)
		return -errno;
	/* A core file of this process must not hold a guest's memory. */
	(void)madvise(region->map_start, region->map_bytes, MADV_DONTDUMP);
	region->mapped = (uint8_t *)region->map_start + (offset - start);
	region->guest_address = guest_address;
	region->size_bytes = size_bytes;
	region->user_address = user_address;
	memory->count++;
	return 0;
}

void vhost_memory_clear(struct vhost_memory *memory)
{
	for (unsigned int i = 0; i < memory->count; i++)
		if (memory->regions[i].map_start)
			munmap(memory->regions[i].map_start, memory->regions[i].map_bytes);
	memset(memory, 0, sizeof(*memory));
}

void *vhost_memory_at(const struct vhost_memory *memory, uint64_t guest_address, uint64_t bytes)
{
	for (unsigned int i = 0; i < memory->count; i++) {
		const struct vhost_region *region = &memory->regions[i];
		uint64_t within = guest_address - region->guest_address;

		if (guest_address >= region->guest_address && within < region->size_bytes)
			return bytes <= region->size_bytes - within ? region->mapped + within : NULL;
	}
	return NULL;
}

void *vhost_memory_at_user(const struct vhost_memory *memory, uint64_t user_address, uint64_t bytes)
{
	for (unsigned int i = 0; i < memory->count; i++) {
		const struct vhost_region *region = &memory->regions[i];
		uint64_t within = user_address - region->user_address;

		if (user_address >= region->user_address && within < region->size_bytes)
			return bytes <= region->size_bytes - within ? region->mapped + within : NULL;
	}
	return NULL;
}
