/* A small FAT file system in memory: see fat_image.h. */
#include "fat_image.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>

#define SECTOR	     512u
#define SECTORS	     (FAT_IMAGE_BYTES / SECTOR)
#define RESERVED     1u
#define FATS	     2u
#define FAT_SECTORS  6u /* 12 bits for each of fewer than 2048 clusters */
#define ROOT_ENTRIES 112u
#define ROOT_SECTORS (ROOT_ENTRIES * 32u / SECTOR)
#define DATA_SECTOR  (RESERVED + FATS * FAT_SECTORS + ROOT_SECTORS)
#define CLUSTERS     (SECTORS - DATA_SECTOR)
#define LONG_PART    13u /* characters of a long name in one entry */

static void put(unsigned char *at, uint32_t value, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++)
		at[i] = (unsigned char)(value >> (8 * i));
}

static void write_boot_sector(unsigned char *sector, const char *label)
{
	static const unsigned char jump[] = {0xeb, 0x3c, 0x90};

	memcpy(sector, jump, sizeof(jump));
	memcpy(sector + 3, "BULKHEAD", 8);
	put(sector + 11, SECTOR, 2);
	sector[13] = 1; /* sectors a cluster */
	put(sector + 14, RESERVED, 2);
	sector[16] = FATS;
	put(sector + 17, ROOT_ENTRIES, 2);
	put(sector + 19, SECTORS, 2);
	sector[21] = 0xf8; /* fixed disk */
	put(sector + 22, FAT_SECTORS, 2);
	put(sector + 24, 32, 2);
	put(sector + 26, 2, 2);
	sector[36] = 0x80;
	sector[38] = 0x29; /* the three fields below are there */
	put(sector + 39, 0x42484344, 4);
	memset(sector + 43, ' ', 11);
	memcpy(sector + 43, label, strlen(label));
	memcpy(sector + 54, "FAT12   ", 8);
	put(sector + 510, 0xaa55, 2);
}

static void set_cluster(unsigned char *image, uint32_t cluster, uint32_t next)
{
	for (uint32_t copy = 0; copy < FATS; copy++) {
		unsigned char *at =
		    image + (RESERVED + copy * FAT_SECTORS) * SECTOR + cluster * 3 / 2;

		if (cluster % 2 == 0) {
			at[0] = (unsigned char)next;
			at[1] = (unsigned char)((at[1] & 0xf0) | (next >> 8 & 0x0f));
		} else {
			at[0] = (unsigned char)((at[0] & 0x0f) | (next << 4 & 0xf0));
			at[1] = (unsigned char)(next >> 4);
		}
	}
}

static unsigned char short_name_sum(const unsigned char name[11])
{
	unsigned char sum = 0;

	for (int i = 0; i < 11; i++)
		sum = (unsigned char)((sum << 7 | sum >> 1) + name[i]);
	return sum;
}

/** One long-name entry: characters [13 * (order - 1), ...) of the name, then 0, then ones. */
static void write_long_entry(unsigned char *entry, const char *name, unsigned int order, int last,
			     unsigned char sum)
{
	static const unsigned char places[LONG_PART] = {1,  3,	5,  7,	9,  14, 16,
							18, 20, 22, 24, 28, 30};
	size_t length = strlen(name);

	entry[0] = (unsigned char)(order | (last ? 0x40 : 0));
	entry[11] = 0x0f;
	entry[13] = sum;
	for (unsigned int i = 0; i < LONG_PART; i++) {
		size_t at = LONG_PART * (order - 1) + i;

		put(entry + places[i],
		    at < length	   ? (unsigned char)name[at]
		    : at == length ? 0
				   : 0xffff,
		    2);
	}
}

/** Writes a file's directory entries; returns how many. `number` makes its short name unique. */
static unsigned int write_entries(unsigned char *entry, const struct fat_file *file,
				  unsigned int number, uint32_t first_cluster)
{
	unsigned int parts = (unsigned int)((strlen(file->name) + LONG_PART - 1) / LONG_PART);
	unsigned char short_name[11];
	char text[12];

	snprintf(text, sizeof(text), "FILE%02u~1   ", number % 100);
	memcpy(short_name, text, sizeof(short_name));
	for (unsigned int i = parts; i > 0; i--, entry += 32)
		write_long_entry(entry, file->name, i, i == parts, short_name_sum(short_name));
	memcpy(entry, short_name, sizeof(short_name));
	entry[11] = 0x20;
	put(entry + 16, 0x5821, 2); /* dates: 2024-01-01, the same every time */
	put(entry + 24, 0x5821, 2);
	put(entry + 26, first_cluster, 2);
	put(entry + 28, (uint32_t)file->size_bytes, 4);
	return parts + 1;
}

int fat_image_write(unsigned char *image, const char *label, const struct fat_file *files,
		    size_t count)
{
	unsigned char *root = image + (RESERVED + FATS * FAT_SECTORS) * SECTOR;
	unsigned int used_entries = 1;
	uint32_t next = 2;

	if (strlen(label) > 11)
		return -ENAMETOOLONG;
	memset(image, 0, FAT_IMAGE_BYTES);
	write_boot_sector(image, label);
	set_cluster(image, 0, 0xff8);
	set_cluster(image, 1, 0xfff);
	memset(root, ' ', 11);
	memcpy(root, label, strlen(label));
	root[11] = 0x08;
	for (size_t i = 0; i < count; i++) {
		uint32_t clusters = (uint32_t)((files[i].size_bytes + SECTOR - 1) / SECTOR);

		if (strlen(files[i].name) == 0 || strlen(files[i].name) > 2 * LONG_PART)
			return -ENAMETOOLONG;
		if (clusters > CLUSTERS + 2 - next || used_entries + 3 > ROOT_ENTRIES)
			return -ENOSPC;
		used_entries += write_entries(root + 32 * used_entries, &files[i], (unsigned int)i,
					      clusters ? next : 0);
		if (clusters > 0)
			memcpy(image + (DATA_SECTOR + next - 2) * SECTOR, files[i].bytes,
			       files[i].size_bytes);
		for (uint32_t c = 0; c < clusters; c++)
			set_cluster(image, next + c, c + 1 < clusters ? next + c + 1 : 0xfff);
		next += clusters;
	}
	return 0;
}
