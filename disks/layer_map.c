/*
 * The map file of a layer, crash-safe without renames:
 *
 *      0  header 0      4096  header 1          the one with a good MAC and the higher generation counts
 *   8192  checkpoint 0, checkpoint 1            all bitmaps; the header names the one that counts and holds its MAC
 *      .  journal                               records in sequence since that checkpoint
 *
 * A record begins at a multiple of 512 bytes, so writing one never touches another; it names the generation it belongs
 * to and its place in the sequence, and the first that does not hold ends the journal. A checkpoint goes into the area
 * that does not count, is synced, and then counts by the header that is written next: into the slot of the older one.
 */
#include "layer_private.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES	4096u
#define AREAS_AT	(2 * HEADER_BYTES)
#define MAGIC		"BHLAYER1"
#define RECORD_MAGIC	0x31524c42u /* "BLR1" */
#define RECORD_HEADER	48u

/** Little-endian on disk, as every field of this file. */
struct header {
	char magic[8];
	uint32_t kind, area;
	uint64_t blocks, generation;
	uint32_t journal_bytes, reserved;
	uint8_t checkpoint_mac[32], mac[32];
};
_Static_assert(sizeof(struct header) == 104, "written to disk");

struct record {
	uint32_t magic, runs;
	uint64_t generation, sequence;
	uint64_t reserved;
	uint8_t mac[16];
};
_Static_assert(sizeof(struct record) == RECORD_HEADER, "written to disk");
_Static_assert(sizeof(struct blockmap_run) == 16, "written to disk");

static uint64_t area_bytes(uint64_t blocks)
{
	uint64_t words = (blocks + 63) / 64, regions = (blocks + BLOCKS_A_REGION - 1) / BLOCKS_A_REGION;

	return (3 * 8 * words + 8 * ((regions + 63) / 64) + HEADER_BYTES - 1) / HEADER_BYTES * HEADER_BYTES;
}

static uint64_t journal_at(uint64_t blocks)
{
	return AREAS_AT + 2 * area_bytes(blocks);
}

static int header_mac(const struct layer_keys *keys, const struct header *header, uint8_t mac[32])
{
	return layer_mac(keys->map, header, offsetof(struct header, mac), "header", 6, mac);
}

static int write_header(struct store_file *file, const struct layer_keys *keys, struct header *header)
{
	uint8_t sector[RECORD_UNIT] = {0};
	int error = header_mac(keys, header, header->mac);

	if (error)
		return error;
	memcpy(sector, header, sizeof(*header));
	return file->files->write(file, sector, sizeof(sector), le64toh(header->generation) % 2 * HEADER_BYTES);
}

uint8_t *layer_map_pack(const struct blockmap *map)
{
	size_t bytes = blockmap_bytes(map);
	uint8_t *packed = calloc(1, area_bytes(map->blocks));

	if (!packed)
		return NULL;
	memcpy(packed, map->data, bytes);
	memcpy(packed + bytes, map->zero, bytes);
	for (size_t i = 0; i < bytes / 8; i++) {
		uint64_t word = map->changed[i] | map->sent[i];

		memcpy(packed + 2 * bytes + 8 * i, &word, 8);
	}
	memcpy(packed + 3 * bytes, map->loose, blockmap_region_bytes(map));
	return packed;
}

static void unpack_map(struct blockmap *map, const uint8_t *packed)
{
	size_t bytes = blockmap_bytes(map);

	memcpy(map->data, packed, bytes);
	memcpy(map->zero, packed + bytes, bytes);
	memcpy(map->changed, packed + 2 * bytes, bytes);
	memcpy(map->loose, packed + 3 * bytes, blockmap_region_bytes(map));
}

static int write_checkpoint(struct store_file *file, const struct layer_keys *keys, const uint8_t *packed,
			    struct header *header)
{
	uint64_t bytes = area_bytes(le64toh(header->blocks));
	int error;

	error = layer_mac(keys->map, packed, bytes, "checkpoint", 10, header->checkpoint_mac);
	if (!error)
		error = file->files->write(file, packed, bytes, AREAS_AT + le32toh(header->area) * bytes);
	if (!error)
		error = file->files->sync(file);
	if (!error)
		error = write_header(file, keys, header);
	return error ? error : file->files->sync(file);
}

int layer_map_create(struct store_file *file, const struct layer_keys *keys, enum layer_kind kind, uint64_t blocks,
		     uint32_t journal_bytes)
{
	struct header header = {
		.magic = MAGIC,
		.kind = htole32(kind),
		.blocks = htole64(blocks),
		.generation = htole64(1),
		.journal_bytes = htole32(journal_bytes),
	};
	struct blockmap map;
	uint8_t *packed;
	int error;

	if (journal_bytes < 4096 || journal_bytes % RECORD_UNIT || journal_bytes > 1u << 30)
		return -EINVAL;
	error = blockmap_make(&map, blocks);
	if (error)
		return error;
	packed = layer_map_pack(&map);
	blockmap_release(&map);
	if (!packed)
		return -ENOMEM;
	error = file->files->truncate(file, journal_at(blocks) + journal_bytes);
	if (!error)
		error = write_checkpoint(file, keys, packed, &header);
	free(packed);
	return error;
}

static bool read_header(struct store_file *file, const struct layer_keys *keys, uint32_t slot, struct header *header)
{
	uint8_t mac[32];

	return store_file_read_all(file, header, sizeof(*header), slot * HEADER_BYTES) == 0 &&
	       memcmp(header->magic, MAGIC, sizeof(header->magic)) == 0 && header_mac(keys, header, mac) == 0 &&
	       CRYPTO_memcmp(mac, header->mac, sizeof(mac)) == 0;
}

static int read_checkpoint(struct store_file *file, const struct layer_keys *keys, const struct header *header,
			   struct blockmap *map)
{
	uint64_t bytes = area_bytes(map->blocks);
	uint8_t *packed = malloc(bytes), mac[32];
	int error;

	if (!packed)
		return -ENOMEM;
	error = store_file_read_all(file, packed, bytes, AREAS_AT + le32toh(header->area) % 2 * bytes);
	if (!error)
		error = layer_mac(keys->map, packed, bytes, "checkpoint", 10, mac);
	if (!error && CRYPTO_memcmp(mac, header->checkpoint_mac, sizeof(mac)) != 0)
		error = -EBADMSG;
	if (!error)
		unpack_map(map, packed);
	free(packed);
	return error;
}

/** Length of a record in the journal. */
static uint64_t record_bytes(uint64_t runs)
{
	return (RECORD_HEADER + 16 * runs + RECORD_UNIT - 1) / RECORD_UNIT * RECORD_UNIT;
}

static int record_mac(const struct layer_keys *keys, const struct record *record, const struct blockmap_run *runs,
		      uint8_t mac[32])
{
	return layer_mac(keys->map, record, offsetof(struct record, mac), runs, 16 * (size_t)le32toh(record->runs), mac);
}

/** Reads the record at the journal's end into @buffer. Returns 0, or -ENODATA if none holds there. */
static int read_record(const struct layer_map_file *map_file, const struct layer_keys *keys, uint64_t start,
		       uint8_t *buffer)
{
	struct record *record = (struct record *)buffer;
	uint64_t left = map_file->journal_bytes - map_file->journal_used;
	uint8_t mac[32];

	if (left < RECORD_UNIT ||
	    store_file_read_all(map_file->file, buffer, RECORD_UNIT, start + map_file->journal_used))
		return -ENODATA;
	if (le32toh(record->magic) != RECORD_MAGIC || le64toh(record->generation) != map_file->generation ||
	    le64toh(record->sequence) != map_file->sequence || le32toh(record->runs) > RUNS_A_RECORD ||
	    record_bytes(le32toh(record->runs)) > left)
		return -ENODATA;
	if (store_file_read_all(map_file->file, buffer, record_bytes(le32toh(record->runs)),
				start + map_file->journal_used) ||
	    record_mac(keys, record, (struct blockmap_run *)(buffer + RECORD_HEADER), mac) ||
	    CRYPTO_memcmp(mac, record->mac, sizeof(record->mac)) != 0)
		return -ENODATA;
	return 0;
}

static int replay(struct layer_map_file *map_file, const struct layer_keys *keys, struct blockmap *map)
{
	uint64_t start = journal_at(map->blocks);
	uint8_t *buffer = malloc(record_bytes(RUNS_A_RECORD));
	int error = 0;

	if (!buffer)
		return -ENOMEM;
	while (!error && read_record(map_file, keys, start, buffer) == 0) {
		const struct record *record = (struct record *)buffer;
		const struct blockmap_run *runs = (struct blockmap_run *)(buffer + RECORD_HEADER);

		for (uint32_t i = 0; !error && i < le32toh(record->runs); i++) {
			struct blockmap_run run = {.first = le64toh(runs[i].first),
						   .count = le32toh(runs[i].count),
						   .kind = le32toh(runs[i].kind)};

			error = blockmap_apply(map, &run);
		}
		map_file->journal_used += record_bytes(le32toh(record->runs));
		map_file->sequence++;
	}
	free(buffer);
	return error;
}

int layer_map_open(struct layer_map_file *map_file, const struct layer_keys *keys, enum layer_kind *kind,
		   struct blockmap *map)
{
	struct header headers[2], *header = NULL;
	int error;

	for (uint32_t slot = 0; slot < 2; slot++)
		if (read_header(map_file->file, keys, slot, &headers[slot]) &&
		    (!header || le64toh(headers[slot].generation) > le64toh(header->generation)))
			header = &headers[slot];
	if (!header)
		return -EBADMSG;
	error = blockmap_make(map, le64toh(header->blocks));
	if (error)
		return error;
	map_file->generation = le64toh(header->generation);
	map_file->area = le32toh(header->area) % 2;
	map_file->journal_bytes = le32toh(header->journal_bytes);
	map_file->journal_used = map_file->sequence = 0;
	*kind = le32toh(header->kind) == LAYER_SEALED ? LAYER_SEALED : LAYER_WRITABLE;
	error = read_checkpoint(map_file->file, keys, header, map);
	if (!error)
		error = replay(map_file, keys, map);
	/* What was read may not be on disk yet, if only the process died; what follows relies on it. */
	if (!error)
		error = map_file->file->files->sync(map_file->file);
	if (error)
		blockmap_release(map);
	else
		blockmap_settle(map);
	return error;
}

int layer_map_append(struct layer_map_file *map_file, const struct layer_keys *keys, const struct blockmap_run *runs,
		     size_t count)
{
	/* The map file's size is its layout: the journal begins where it ends less its own length. */
	struct store_file *file = map_file->file;
	uint64_t bytes = record_bytes(count), size;
	uint8_t *buffer, mac[32];
	int error;

	if (bytes > map_file->journal_bytes - map_file->journal_used)
		return -ENOSPC;
	error = file->files->size(file, &size);
	if (error)
		return error;
	buffer = calloc(1, bytes);
	if (!buffer)
		return -ENOMEM;
	struct record *record = (struct record *)buffer;
	struct blockmap_run *to = (struct blockmap_run *)(buffer + RECORD_HEADER);

	*record = (struct record){.magic = htole32(RECORD_MAGIC),
				  .runs = htole32((uint32_t)count),
				  .generation = htole64(map_file->generation),
				  .sequence = htole64(map_file->sequence)};
	for (size_t i = 0; i < count; i++)
		to[i] = (struct blockmap_run){.first = htole64(runs[i].first),
					      .count = htole32(runs[i].count),
					      .kind = htole32(runs[i].kind)};
	error = record_mac(keys, record, to, mac);
	memcpy(record->mac, mac, sizeof(record->mac));
	if (!error)
		error = file->files->write(file, buffer, bytes,
					   size - map_file->journal_bytes + map_file->journal_used);
	free(buffer);
	if (!error)
		error = file->files->sync(file);
	if (error)
		return error;
	map_file->journal_used += bytes;
	map_file->sequence++;
	return 0;
}

int layer_map_checkpoint(struct layer_map_file *map_file, const struct layer_keys *keys, enum layer_kind kind,
			 uint64_t blocks, const uint8_t *packed)
{
	struct header header = {
		.magic = MAGIC,
		.kind = htole32(kind),
		.area = htole32(!map_file->area),
		.blocks = htole64(blocks),
		.generation = htole64(map_file->generation + 1),
		.journal_bytes = htole32(map_file->journal_bytes),
	};
	int error = write_checkpoint(map_file->file, keys, packed, &header);

	if (error)
		return error;
	map_file->generation++;
	map_file->area = !map_file->area;
	map_file->journal_used = map_file->sequence = 0;
	return 0;
}
