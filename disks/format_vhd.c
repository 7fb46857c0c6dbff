/*
 * VHD (Virtual Hard Disk Image Format Specification 1.0): a footer in the last 512 bytes; dynamic disks have a copy of
 * it at the start, a header and a block table. Refused: differencing disks.
 */
#include "format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define FOOTER_BYTES 512
#define HEADER_BYTES 1024
#define TYPE_FIXED   2
#define TYPE_DYNAMIC 3
#define TYPE_DIFFERS 4
/** VHD's own limit is 2040 GiB; its table for the smallest block in use (512 KiB) is 16 MiB. */
#define VHD_BYTES_MAX (2040ull << 30)

static bool sum_holds(const uint8_t *bytes, size_t size_bytes, size_t sum_at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size_bytes; i++)
		if (i < sum_at || i >= sum_at + 4)
			sum += bytes[i];
	return ~sum == disk_be32(bytes + sum_at);
}

static int check_dynamic(const struct disk_source *source, uint64_t header_at, uint64_t disk_bytes,
			 struct disk_why *why)
{
	uint8_t header[HEADER_BYTES];
	struct disk_source table;
	uint64_t table_at;
	uint32_t entries, block_bytes;
	int error = disk_source_read(source, header_at, header, sizeof(header));

	if (error)
		return error;
	if (memcmp(header, "cxsparse", 8) != 0 || !sum_holds(header, sizeof(header), 36))
		return disk_refuse(why, EINVAL, "is damaged: its VHD header's checksum does not hold");
	table_at = disk_be64(header + 16);
	entries = disk_be32(header + 28);
	block_bytes = disk_be32(header + 32);
	if (block_bytes < 4096 || block_bytes > 256u << 20 || (block_bytes & (block_bytes - 1)))
		return disk_refuse(why, EINVAL, "is damaged: VHD blocks of %u bytes", block_bytes);
	if ((uint64_t)entries * block_bytes < disk_bytes || entries > 64u << 20)
		return disk_refuse(why, EINVAL, "is damaged: a VHD table of %u blocks does not fit its size", entries);
	return disk_source_part(&table, source, table_at, 4ull * entries);
}

int disk_vhd_check(const struct disk_source *source, uint64_t *disk_bytes, struct disk_why *why)
{
	uint8_t footer[FOOTER_BYTES], copy[FOOTER_BYTES];
	uint32_t type;
	int error;

	if (source->size_bytes < 2 * FOOTER_BYTES)
		return -ERANGE;
	error = disk_source_read(source, source->size_bytes - FOOTER_BYTES, footer, sizeof(footer));
	if (error)
		return error;
	if (memcmp(footer, "conectix", 8) != 0 || !sum_holds(footer, sizeof(footer), 64))
		return disk_refuse(why, EINVAL, "is damaged: no VHD footer with a good checksum at its end");
	type = disk_be32(footer + 60);
	*disk_bytes = disk_be64(footer + 48);
	if (*disk_bytes > VHD_BYTES_MAX)
		return disk_refuse(why, EFBIG, "claims %" PRIu64 " bytes, more than a VHD can hold", *disk_bytes);
	if (type == TYPE_DIFFERS)
		return disk_refuse(why, ENOTSUP,
				   "is a difference to a parent disk; merge it into its parent where that is");
	if (type == TYPE_FIXED) {
		if (*disk_bytes != source->size_bytes - FOOTER_BYTES)
			return disk_refuse(why, EINVAL, "is damaged: a fixed VHD of %" PRIu64 " bytes in a file of %" PRIu64,
					   *disk_bytes, source->size_bytes);
		/* QEMU looks at the start first: a guest's own bytes there must not be taken for a header. */
		error = disk_source_read(source, 0, copy, sizeof(copy));
		if (!error && memcmp(copy, "conectix", 8) == 0)
			return disk_refuse(why, EINVAL, "is two VHDs at once: a fixed disk whose data starts like a header");
		return error;
	}
	if (type != TYPE_DYNAMIC)
		return disk_refuse(why, EINVAL, "has VHD type %u; fixed and dynamic are known", type);
	error = disk_source_read(source, 0, copy, sizeof(copy));
	if (error)
		return error;
	if (memcmp(copy, footer, sizeof(footer)) != 0)
		return disk_refuse(why, EINVAL, "is damaged: the VHD footer and its copy differ");
	return check_dynamic(source, disk_be64(footer + 16), *disk_bytes, why);
}
