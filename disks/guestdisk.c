/*
 * Sectors over blocks over layers; see guestdisk.h.
 */
#include "guestdisk.h"

#include <errno.h>
#include <string.h>

int guestdisk_make(struct guestdisk *disk, struct layer *top, const struct guestdisk_base *base, uint64_t bytes)
{
	memset(disk, 0, sizeof(*disk));
	disk->top = top;
	if (base)
		disk->base = *base;
	disk->bytes = bytes / SECTOR_BYTES * SECTOR_BYTES;
	disk->blocks = (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
	if (disk->bytes == 0 || (top && layer_blocks(top) != disk->blocks))
		return -EINVAL;
	return pthread_mutex_init(&disk->part_lock, NULL) ? -ENOMEM : 0;
}

void guestdisk_release(struct guestdisk *disk)
{
	pthread_mutex_destroy(&disk->part_lock);
}

bool guestdisk_fits(const struct guestdisk *disk, uint64_t offset, uint64_t bytes)
{
	return offset % SECTOR_BYTES == 0 && bytes % SECTOR_BYTES == 0 && offset <= disk->bytes &&
	       bytes <= disk->bytes - offset;
}

static int read_absent(struct guestdisk *disk, uint64_t first, uint64_t count, uint8_t *to)
{
	if (disk->base.read)
		return disk->base.read(disk->base.context, first, count, to);
	memset(to, 0, count * BLOCK_BYTES);
	return 0;
}

static int read_blocks(struct guestdisk *disk, uint64_t first, uint64_t count, uint8_t *to)
{
	enum block_state state = BLOCK_ABSENT;
	uint64_t now, bad;
	int error = 0;

	for (; !error && count; first += now, count -= now, to += now * BLOCK_BYTES) {
		now = disk->top ? layer_run(disk->top, first, count, &state) : count;
		if (state == BLOCK_ABSENT)
			error = read_absent(disk, first, now, to);
		else if (state == BLOCK_ZERO)
			memset(to, 0, now * BLOCK_BYTES);
		else
			error = layer_read(disk->top, first, now, to, &bad);
	}
	return error;
}

int guestdisk_read(struct guestdisk *disk, uint64_t offset, uint64_t bytes, void *buffer)
{
	uint8_t block[BLOCK_BYTES], *to = buffer;
	int error = 0;

	if (!guestdisk_fits(disk, offset, bytes))
		return -EINVAL;
	while (!error && bytes) {
		uint64_t within = offset % BLOCK_BYTES, now;

		if (within == 0 && bytes >= BLOCK_BYTES) {
			now = bytes / BLOCK_BYTES * BLOCK_BYTES;
			error = read_blocks(disk, offset / BLOCK_BYTES, now / BLOCK_BYTES, to);
		} else {
			now = BLOCK_BYTES - within < bytes ? BLOCK_BYTES - within : bytes;
			error = read_blocks(disk, offset / BLOCK_BYTES, 1, block);
			if (!error)
				memcpy(to, block + within, now);
		}
		to += now;
		offset += now;
		bytes -= now;
	}
	return error;
}

/** Changes a part of one block: @from, or zeros if it is NULL. */
static int write_part(struct guestdisk *disk, uint64_t offset, uint64_t bytes, const uint8_t *from)
{
	uint8_t block[BLOCK_BYTES];
	int error;

	pthread_mutex_lock(&disk->part_lock);
	error = read_blocks(disk, offset / BLOCK_BYTES, 1, block);
	if (!error) {
		if (from)
			memcpy(block + offset % BLOCK_BYTES, from, bytes);
		else
			memset(block + offset % BLOCK_BYTES, 0, bytes);
		error = layer_write(disk->top, offset / BLOCK_BYTES, 1, block);
	}
	pthread_mutex_unlock(&disk->part_lock);
	return error;
}

/** Walks a change: whole blocks at once, the ends as parts. */
static int change(struct guestdisk *disk, uint64_t offset, uint64_t bytes, const uint8_t *from)
{
	int error = 0;

	if (!disk->top)
		return -EROFS;
	if (!guestdisk_fits(disk, offset, bytes))
		return -EINVAL;
	while (!error && bytes) {
		uint64_t within = offset % BLOCK_BYTES, now;

		if (within == 0 && bytes >= BLOCK_BYTES) {
			now = bytes / BLOCK_BYTES * BLOCK_BYTES;
			error = from ? layer_write(disk->top, offset / BLOCK_BYTES, now / BLOCK_BYTES, from)
				     : layer_zero(disk->top, offset / BLOCK_BYTES, now / BLOCK_BYTES);
		} else {
			now = BLOCK_BYTES - within < bytes ? BLOCK_BYTES - within : bytes;
			error = write_part(disk, offset, now, from);
		}
		from = from ? from + now : NULL;
		offset += now;
		bytes -= now;
	}
	return error;
}

int guestdisk_write(struct guestdisk *disk, uint64_t offset, uint64_t bytes, const void *buffer)
{
	return change(disk, offset, bytes, buffer);
}

int guestdisk_zero(struct guestdisk *disk, uint64_t offset, uint64_t bytes)
{
	return change(disk, offset, bytes, NULL);
}

int guestdisk_flush(struct guestdisk *disk)
{
	return disk->top ? layer_flush(disk->top) : 0;
}

static int read_version(void *context, uint64_t first, uint64_t count, void *buffer)
{
	return version_read(context, first, count, buffer);
}

struct guestdisk_base guestdisk_version(struct version *version)
{
	return (struct guestdisk_base){.read = read_version, .context = version};
}
