/*
 * Requests of a virtio block device; see blk.h. The header is copied once; data passes through the thread's own buffer,
 * so that nothing is encrypted, compared or kept while the guest can still change it.
 */
#include "blk.h"

#include <endian.h>
#include <string.h>

#define SEGMENTS 254u
#define RANGES	 32u

#define RANGE_SECTORS_MAX (1u << 22) /* 2 GiB a request */

void blk_make(struct blk *blk, struct guestdisk *disk, unsigned int queue_count, const char *serial)
{
	memset(blk, 0, sizeof(*blk));
	blk->disk = disk;
	memcpy(blk->serial, serial, strnlen(serial, sizeof(blk->serial)));
	blk->config.capacity = htole64(disk->bytes / SECTOR_BYTES);
	blk->config.seg_max = htole32(SEGMENTS);
	blk->config.blk_size = htole32(SECTOR_BYTES);
	blk->config.physical_block_exp = 3; /* 4 KiB: smaller writes have to be completed from below */
	blk->config.min_io_size = htole16(BLOCK_BYTES / SECTOR_BYTES);
	blk->config.opt_io_size = htole32(BLK_PIECE_BYTES / SECTOR_BYTES);
	blk->config.num_queues = htole16((uint16_t)queue_count);
	blk->config.max_discard_sectors = htole32(RANGE_SECTORS_MAX);
	blk->config.max_discard_seg = htole32(RANGES);
	blk->config.discard_sector_alignment = htole32(BLOCK_BYTES / SECTOR_BYTES);
	blk->config.max_write_zeroes_sectors = htole32(RANGE_SECTORS_MAX);
	blk->config.max_write_zeroes_seg = htole32(RANGES);
	blk->config.write_zeroes_may_unmap = 1;
	blk->kind.features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_TOPOLOGY |
			     1ull << VIRTIO_BLK_F_FLUSH;
	if (disk->top)
		blk->kind.features |= 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	else
		blk->kind.features |= 1ull << VIRTIO_BLK_F_RO;
	if (queue_count > 1)
		blk->kind.features |= 1ull << VIRTIO_BLK_F_MQ;
	blk->kind.queue_count = queue_count;
	blk->kind.config = &blk->config;
	blk->kind.config_bytes = sizeof(blk->config);
	blk->kind.serve = blk_serve;
	blk->kind.scratch_bytes = BLK_PIECE_BYTES;
	blk->kind.context = blk;
}

static uint8_t status_of(int error)
{
	return error ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

/** Whether sectors from @sector on lie within the disk; *@offset is where in bytes. */
static bool range_fits(const struct blk *blk, uint64_t sector, uint64_t bytes, uint64_t *offset)
{
	if (sector > blk->disk->bytes / SECTOR_BYTES)
		return false;
	*offset = sector * SECTOR_BYTES;
	return guestdisk_fits(blk->disk, *offset, bytes);
}

static uint8_t serve_read(const struct blk *blk, const struct vhost_request *request, uint64_t sector, uint8_t *scratch)
{
	uint64_t left = request->in_bytes - 1, offset, at = 0;
	int error = 0;

	if (!range_fits(blk, sector, left, &offset))
		return VIRTIO_BLK_S_IOERR;
	while (!error && left) {
		size_t now = left < BLK_PIECE_BYTES ? (size_t)left : BLK_PIECE_BYTES;

		error = guestdisk_read(blk->disk, offset + at, now, scratch);
		if (!error && !vhost_copy_to(request->in, request->in_count, at, scratch, now))
			return VIRTIO_BLK_S_IOERR;
		at += now;
		left -= now;
	}
	return status_of(error);
}

static uint8_t serve_write(const struct blk *blk, const struct vhost_request *request, uint64_t sector,
			   uint8_t *scratch)
{
	uint64_t left = request->out_bytes - sizeof(struct virtio_blk_outhdr), offset, at = 0;
	int error = 0;

	if (!range_fits(blk, sector, left, &offset))
		return VIRTIO_BLK_S_IOERR;
	while (!error && left) {
		size_t now = left < BLK_PIECE_BYTES ? (size_t)left : BLK_PIECE_BYTES;

		if (!vhost_copy_from(request->out, request->out_count, sizeof(struct virtio_blk_outhdr) + at, scratch,
				     now))
			return VIRTIO_BLK_S_IOERR;
		error = guestdisk_write(blk->disk, offset + at, now, scratch);
		at += now;
		left -= now;
	}
	return status_of(error);
}

/** Discard and write zeroes: ranges; all are checked before the first is carried out. */
static uint8_t serve_ranges(const struct blk *blk, const struct vhost_request *request, uint32_t flags_allowed)
{
	struct virtio_blk_discard_write_zeroes ranges[RANGES];
	uint64_t bytes = request->out_bytes - sizeof(struct virtio_blk_outhdr), offset;
	size_t count = bytes / sizeof(*ranges);
	int error = 0;

	if (bytes == 0 || bytes % sizeof(*ranges) || count > RANGES)
		return VIRTIO_BLK_S_UNSUPP;
	if (!vhost_copy_from(request->out, request->out_count, sizeof(struct virtio_blk_outhdr), ranges, bytes))
		return VIRTIO_BLK_S_IOERR;
	for (size_t i = 0; i < count; i++) {
		uint32_t sectors = le32toh(ranges[i].num_sectors);

		if (le32toh(ranges[i].flags) & ~flags_allowed)
			return VIRTIO_BLK_S_UNSUPP;
		if (sectors > RANGE_SECTORS_MAX ||
		    !range_fits(blk, le64toh(ranges[i].sector), (uint64_t)sectors * SECTOR_BYTES, &offset))
			return VIRTIO_BLK_S_IOERR;
	}
	for (size_t i = 0; !error && i < count; i++)
		error = guestdisk_zero(blk->disk, le64toh(ranges[i].sector) * SECTOR_BYTES,
				       (uint64_t)le32toh(ranges[i].num_sectors) * SECTOR_BYTES);
	return status_of(error);
}

static uint8_t serve_id(const struct blk *blk, const struct vhost_request *request)
{
	uint64_t room = request->in_bytes - 1;
	size_t now = room < sizeof(blk->serial) ? (size_t)room : sizeof(blk->serial);

	return vhost_copy_to(request->in, request->in_count, 0, blk->serial, now) ? VIRTIO_BLK_S_OK
										   : VIRTIO_BLK_S_IOERR;
}

uint32_t blk_serve(void *context, const struct vhost_request *request, void *scratch)
{
	const struct blk *blk = context;
	struct virtio_blk_outhdr header;
	uint8_t status = VIRTIO_BLK_S_UNSUPP;

	/* Without room for a status nothing can be answered; the request goes back as it came. */
	if (request->in_bytes < 1 || request->in_bytes > UINT32_MAX)
		return 0;
	if (!vhost_copy_from(request->out, request->out_count, 0, &header, sizeof(header)))
		return 0;
	switch (le32toh(header.type)) {
	case VIRTIO_BLK_T_IN:
		status = serve_read(blk, request, le64toh(header.sector), scratch);
		break;
	case VIRTIO_BLK_T_OUT:
		status = serve_write(blk, request, le64toh(header.sector), scratch);
		break;
	case VIRTIO_BLK_T_FLUSH:
		status = status_of(guestdisk_flush(blk->disk));
		break;
	case VIRTIO_BLK_T_GET_ID:
		status = serve_id(blk, request);
		break;
	case VIRTIO_BLK_T_DISCARD:
		status = serve_ranges(blk, request, 0);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		status = serve_ranges(blk, request, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
		break;
	}
	if (!vhost_copy_to(request->in, request->in_count, request->in_bytes - 1, &status, 1))
		return 0;
	return (uint32_t)request->in_bytes;
}
