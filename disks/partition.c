/* Partition tables; see partition.h. UEFI 2.10, 5.3 (GPT). Sectors are 512 bytes, as on every image that is taken in. */
#include "partition.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define SECTOR	     512u
#define ENTRY_BYTES  128u
#define MBR_AT	     446u
#define MBR_ENTRIES  4u
#define TYPE_GPT     0xeeu

static uint32_t crc32(const uint8_t *bytes, size_t size_bytes)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < size_bytes; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static int add(const struct disk_source *disk, struct partition_table *table, uint64_t first, uint64_t sectors,
	       struct disk_why *why)
{
	struct disk_source part;

	if (sectors == 0 || first > UINT64_MAX / SECTOR || sectors > UINT64_MAX / SECTOR ||
	    disk_source_part(&part, disk, first * SECTOR, sectors * SECTOR))
		return disk_refuse(why, EINVAL, "has a damaged partition table: a partition lies outside the disk");
	table->partitions[table->count++] = (struct partition){first * SECTOR, sectors * SECTOR};
	return 0;
}

static int read_gpt(const struct disk_source *disk, struct partition_table *table, struct disk_why *why)
{
	static const uint8_t unused[16];
	uint8_t header[SECTOR], sum[92], entry[ENTRY_BYTES];
	uint32_t count, bytes;
	uint64_t entries;
	int error = disk_source_read(disk, SECTOR, header, sizeof(header));

	if (error)
		return disk_refuse(why, EINVAL, "has a damaged partition table: it ends in the GPT's header");
	memcpy(sum, header, sizeof(sum));
	memset(sum + 16, 0, 4);
	if (memcmp(header, "EFI PART", 8) != 0 || disk_le32(header + 12) != sizeof(sum) ||
	    crc32(sum, sizeof(sum)) != disk_le32(header + 16))
		return disk_refuse(why, EINVAL, "has a damaged partition table: the GPT's header has a wrong checksum");
	entries = disk_le64(header + 72);
	count = disk_le32(header + 80);
	bytes = disk_le32(header + 84);
	if (count > PARTITIONS_MAX || bytes != ENTRY_BYTES || entries > disk->size_bytes / SECTOR)
		return disk_refuse(why, EINVAL, "has a GPT of %u entries of %u bytes; 128 of 128 are known", count, bytes);
	for (uint32_t i = 0; i < count; i++) {
		if (disk_source_read(disk, entries * SECTOR + i * ENTRY_BYTES, entry, sizeof(entry)))
			return disk_refuse(why, EINVAL, "has a damaged partition table: it ends in the GPT");
		if (memcmp(entry, unused, sizeof(unused)) == 0)
			continue;
		if (disk_le64(entry + 40) < disk_le64(entry + 32))
			return disk_refuse(why, EINVAL, "has a damaged partition table: a partition ends before it starts");
		error = add(disk, table, disk_le64(entry + 32), disk_le64(entry + 40) - disk_le64(entry + 32) + 1, why);
		if (error)
			return error;
	}
	return 0;
}

int partition_read(const struct disk_source *disk, struct partition_table *table, struct disk_why *why)
{
	uint8_t sector[SECTOR];
	int error = 0;

	memset(table, 0, sizeof(*table));
	if (disk_source_read(disk, 0, sector, sizeof(sector)))
		return disk_refuse(why, EINVAL, "is shorter than a sector");
	if (sector[510] == 0x55 && sector[511] == 0xaa) {
		for (unsigned int i = 0; i < MBR_ENTRIES; i++)
			if (sector[MBR_AT + 16 * i + 4] == TYPE_GPT)
				return read_gpt(disk, table, why);
		for (unsigned int i = 0; !error && i < MBR_ENTRIES; i++) {
			const uint8_t *entry = sector + MBR_AT + 16 * i;

			if (entry[4] != 0)
				error = add(disk, table, disk_le32(entry + 8), disk_le32(entry + 12), why);
		}
	}
	if (!error && table->count == 0)
		error = add(disk, table, 0, disk->size_bytes / SECTOR, why);
	return error;
}
