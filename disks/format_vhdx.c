/*
 * VHDX ([MS-VHDX]): two headers, two region tables, a metadata table. Refused: differencing disks, and logs that still
 * have to be replayed (reading must not write).
 */
#include "format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define HEADER_BYTES	4096
#define REGION_BYTES	65536
#define ENTRIES_MAX	2047
#define METADATA_MAX	(1u << 20)
#define REGION_BAT	0
#define REGION_METADATA 1

/* GUIDs as they lie in the file. */
static const uint8_t region_guids[][16] = {
	[REGION_BAT] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08},
	[REGION_METADATA] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88,
			     0x6e},
};

enum { ITEM_PARAMETERS, ITEM_SIZE, ITEM_LOGICAL, ITEMS };

static const struct {
	uint8_t guid[16];
	uint32_t size_bytes;
} items[ITEMS] = {
	[ITEM_PARAMETERS] = {{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7,
			      0x6b},
			     8},
	[ITEM_SIZE] = {{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8},
		       8},
	[ITEM_LOGICAL] = {{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab,
			   0x5f},
			  4},
};

/** CRC-32C with the four bytes at @sum_at taken as zeros. */
static uint32_t crc32c(const uint8_t *bytes, size_t size_bytes, size_t sum_at)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < size_bytes; i++) {
		crc ^= i >= sum_at && i < sum_at + 4 ? 0 : bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static int read_summed(const struct disk_source *source, uint64_t at, uint8_t *bytes, size_t size_bytes,
		       const char *signature)
{
	int error = disk_source_read(source, at, bytes, size_bytes);

	if (error)
		return error;
	if (memcmp(bytes, signature, 4) != 0 || disk_le32(bytes + 4) != crc32c(bytes, size_bytes, 4))
		return -EINVAL;
	return 0;
}

/** Of the two headers the valid one with the higher sequence number counts. */
static int check_headers(const struct disk_source *source, struct disk_why *why)
{
	static const uint8_t none[16];
	uint8_t header[HEADER_BYTES], current[HEADER_BYTES];
	bool found = false;

	for (uint64_t at = 0x10000; at <= 0x20000; at += 0x10000) {
		if (read_summed(source, at, header, sizeof(header), "head"))
			continue;
		if (!found || disk_le64(header + 8) > disk_le64(current + 8))
			memcpy(current, header, sizeof(header));
		found = true;
	}
	if (!found)
		return disk_refuse(why, EINVAL, "is damaged: neither VHDX header has a good checksum");
	if (disk_le16(current + 66) != 1)
		return disk_refuse(why, ENOTSUP, "has VHDX version %u; 1 is known", disk_le16(current + 66));
	if (memcmp(current + 48, none, sizeof(none)) != 0)
		return disk_refuse(why, ENOTSUP,
				   "was not closed cleanly (its log must be replayed); open and close it once where it was made");
	return 0;
}

static int find_region(const struct disk_source *source, const uint8_t *table, int which, struct disk_source *region,
		       struct disk_why *why)
{
	uint32_t count = disk_le32(table + 8);

	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *entry = table + 16 + 32 * i;

		if (memcmp(entry, region_guids[which], 16) == 0)
			return disk_source_part(region, source, disk_le64(entry + 16), disk_le32(entry + 24));
	}
	return disk_refuse(why, EINVAL, "is damaged: a VHDX region is missing");
}

static int read_items(const struct disk_source *metadata, uint8_t values[ITEMS][8], struct disk_why *why)
{
	uint8_t table[REGION_BYTES];
	bool found[ITEMS] = {false};
	uint32_t count;
	int error = disk_source_read(metadata, 0, table, sizeof(table));

	if (error)
		return error;
	count = disk_le16(table + 10);
	if (memcmp(table, "metadata", 8) != 0 || count > ENTRIES_MAX)
		return disk_refuse(why, EINVAL, "is damaged: its VHDX metadata table is none");
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *entry = table + 32 + 32 * i;

		for (int item = 0; item < ITEMS; item++) {
			if (memcmp(entry, items[item].guid, 16) != 0)
				continue;
			if (found[item] || disk_le32(entry + 20) != items[item].size_bytes)
				return disk_refuse(why, EINVAL, "is damaged: a VHDX metadata item is double or mis-sized");
			error = disk_source_read(metadata, disk_le32(entry + 16), values[item], items[item].size_bytes);
			if (error)
				return error;
			found[item] = true;
		}
	}
	for (int item = 0; item < ITEMS; item++)
		if (!found[item])
			return disk_refuse(why, EINVAL, "is damaged: a VHDX metadata item is missing");
	return 0;
}

int disk_vhdx_check(const struct disk_source *source, uint64_t *disk_bytes, struct disk_why *why)
{
	uint8_t signature[8], table[REGION_BYTES], values[ITEMS][8];
	struct disk_source bat, metadata;
	uint32_t block_bytes, flags, sector;
	int error = disk_source_read(source, 0, signature, sizeof(signature));

	if (error)
		return error;
	if (memcmp(signature, "vhdxfile", 8) != 0)
		return disk_refuse(why, EINVAL, "is not a VHDX image");
	error = check_headers(source, why);
	if (error)
		return error;
	if (read_summed(source, 0x30000, table, sizeof(table), "regi") &&
	    read_summed(source, 0x40000, table, sizeof(table), "regi"))
		return disk_refuse(why, EINVAL, "is damaged: neither VHDX region table has a good checksum");
	if (disk_le32(table + 8) > ENTRIES_MAX)
		return disk_refuse(why, EINVAL, "is damaged: %u VHDX regions", disk_le32(table + 8));
	error = find_region(source, table, REGION_BAT, &bat, why);
	if (!error)
		error = find_region(source, table, REGION_METADATA, &metadata, why);
	if (error)
		return error;
	error = read_items(&metadata, values, why);
	if (error)
		return error;
	block_bytes = disk_le32(values[ITEM_PARAMETERS]);
	flags = disk_le32(values[ITEM_PARAMETERS] + 4);
	sector = disk_le32(values[ITEM_LOGICAL]);
	*disk_bytes = disk_le64(values[ITEM_SIZE]);
	if (flags & 2)
		return disk_refuse(why, ENOTSUP,
				   "is a difference to a parent disk; merge it into its parent where that is");
	if (block_bytes < 1u << 20 || block_bytes > 256u << 20 || (block_bytes & (block_bytes - 1)) ||
	    (sector != 512 && sector != 4096))
		return disk_refuse(why, EINVAL, "is damaged: VHDX blocks of %u bytes, sectors of %u", block_bytes, sector);
	if (*disk_bytes <= DISK_BYTES_MAX && bat.size_bytes / 8 < *disk_bytes / block_bytes)
		return disk_refuse(why, EINVAL, "is damaged: its VHDX block table is too short for its size");
	return 0;
}
