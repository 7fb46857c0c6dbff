/* pack.c: see pack.h. */
#include "store/pack.h"
#include "store/bytes.h"
#include "store/domain.h"
#include "store/frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t header_magic[8] = {'B', 'H', 'P', 'A', 'C', 'K', '1', 0};
static const uint8_t trailer_magic[8] = {'B', 'H', 'P', 'K', 'E', 'N', 'D', '1'};

void pack_path(const uint8_t salt[SALT_BYTES], const char *suffix, char path[PACK_PATH_BYTES])
{
	char text[2 * SALT_BYTES + 1];

	store_hex(salt, SALT_BYTES, text);
	snprintf(path, PACK_PATH_BYTES, "packs/%s.%s", text, suffix);
}

void pack_header_write(const struct pack_header *header, uint8_t data[PACK_HEADER_BYTES])
{
	uint8_t digest[32];

	memcpy(data, header_magic, 8);
	put_u32(data + 8, STORE_FORMAT);
	put_u32(data + 12, header->frame_plain_bytes);
	memcpy(data + 16, header->domain_id, DOMAIN_ID_BYTES);
	memcpy(data + 32, header->salt, SALT_BYTES);
	/* A digest only so that a damaged header is told from a foreign one. */
	memset(data + 48, 0, 16);
	if (!store_sha256(data, 48, digest))
		memcpy(data + 48, digest, 16);
}

int pack_header_read(const uint8_t data[PACK_HEADER_BYTES], struct pack_header *header)
{
	uint8_t digest[32];

	if (memcmp(data, header_magic, 8) || get_u32(data + 8) != STORE_FORMAT ||
	    store_sha256(data, 48, digest) || memcmp(digest, data + 48, 16))
		return -EBADMSG;
	header->frame_plain_bytes = get_u32(data + 12);
	memcpy(header->domain_id, data + 16, DOMAIN_ID_BYTES);
	memcpy(header->salt, data + 32, SALT_BYTES);
	if (!header->frame_plain_bytes || header->frame_plain_bytes % BLOCK_BYTES ||
	    header->frame_plain_bytes > FRAME_PLAIN_MAX)
		return -EBADMSG;
	return 0;
}

uint32_t pack_table_bytes(uint32_t frame_count)
{
	return FRAME_HEADER_BYTES + frame_count * PACK_ENTRY_BYTES;
}

uint64_t pack_bytes(uint32_t table_offset, uint32_t frame_count)
{
	return (uint64_t)table_offset + pack_table_bytes(frame_count) + PACK_TRAILER_BYTES;
}

static int entry_read(const uint8_t *data, struct pack_entry *entry)
{
	memcpy(entry->name, data, NAME_BYTES);
	entry->offset = get_u32(data + 32);
	entry->stored_bytes = get_u32(data + 36);
	entry->blocks = get_u16(data + 40);
	entry->kind = data[42];
	if (data[43] || (entry->kind != FRAME_DATA && entry->kind != FRAME_MAP) ||
	    entry->stored_bytes <= FRAME_HEADER_BYTES + FRAME_TAG_BYTES ||
	    entry->stored_bytes > FRAME_STORED_MAX || entry->blocks > FRAME_BLOCKS_MAX ||
	    (entry->kind == FRAME_DATA) != (entry->blocks > 0))
		return -EBADMSG;
	return 0;
}

struct extent {
	uint32_t offset, bytes;
};

static int by_offset(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Frames tile the pack: no gap, no overlap, in whatever order they were written. */
static int check_tiling(const struct pack_table *table)
{
	struct extent *extents = calloc(table->frame_count + 1, sizeof(*extents));
	uint64_t at = PACK_HEADER_BYTES;
	int error = 0;

	if (!extents)
		return -ENOMEM;
	for (uint32_t i = 0; i < table->frame_count; i++) {
		extents[i].offset = table->entries[i].offset;
		extents[i].bytes = table->entries[i].stored_bytes;
	}
	qsort(extents, table->frame_count, sizeof(*extents), by_offset);
	for (uint32_t i = 0; i < table->frame_count && !error; i++) {
		if (extents[i].offset != at)
			error = -EBADMSG;
		at += extents[i].bytes;
	}
	if (!error && at != table->table_offset)
		error = -EBADMSG;
	free(extents);
	return error;
}

int pack_table_read(const uint8_t *data, size_t bytes, uint32_t table_offset,
		    struct pack_table *table)
{
	struct frame_header header;
	int error = frame_header_read(data, bytes, &header);

	memset(table, 0, sizeof(*table));
	if (error)
		return error;
	if (header.kind != FRAME_TABLE || header.stored_bytes != bytes ||
	    header.plain_bytes % PACK_ENTRY_BYTES || table_offset > PACK_BYTES_MAX)
		return -EBADMSG;
	table->frame_count = header.plain_bytes / PACK_ENTRY_BYTES;
	table->table_offset = table_offset;
	if (!table->frame_count || header.number != table->frame_count)
		return -EBADMSG;
	memcpy(table->salt, header.salt, SALT_BYTES);
	error = store_sha256(data, bytes, table->name);
	if (error)
		return error;
	table->entries = calloc(table->frame_count, sizeof(*table->entries));
	if (!table->entries)
		return -ENOMEM;
	for (uint32_t i = 0; i < table->frame_count && !error; i++)
		error = entry_read(data + FRAME_HEADER_BYTES + i * PACK_ENTRY_BYTES,
				   &table->entries[i]);
	if (!error)
		error = check_tiling(table);
	if (error)
		pack_table_release(table);
	return error;
}

int pack_table_write(struct pack_table *table, uint8_t *data)
{
	struct frame_header header = {
	    .kind = FRAME_TABLE,
	    .number = table->frame_count,
	    .plain_bytes = table->frame_count * PACK_ENTRY_BYTES,
	    .stored_bytes = pack_table_bytes(table->frame_count),
	};

	memcpy(header.salt, table->salt, SALT_BYTES);
	frame_header_write(&header, data);
	for (uint32_t i = 0; i < table->frame_count; i++) {
		const struct pack_entry *entry = &table->entries[i];
		uint8_t *at = data + FRAME_HEADER_BYTES + i * PACK_ENTRY_BYTES;

		memcpy(at, entry->name, NAME_BYTES);
		put_u32(at + 32, entry->offset);
		put_u32(at + 36, entry->stored_bytes);
		put_u16(at + 40, entry->blocks);
		at[42] = entry->kind;
		at[43] = 0;
	}
	pack_trailer_write(table->frame_count, data + header.stored_bytes);
	return store_sha256(data, header.stored_bytes, table->name);
}

void pack_table_release(struct pack_table *table)
{
	free(table->entries);
	memset(table, 0, sizeof(*table));
}

void pack_trailer_write(uint32_t frame_count, uint8_t data[PACK_TRAILER_BYTES])
{
	memcpy(data, trailer_magic, 8);
	put_u32(data + 8, frame_count);
	put_u32(data + 12, pack_table_bytes(frame_count));
}

int pack_trailer_read(const uint8_t data[PACK_TRAILER_BYTES], uint32_t *frame_count)
{
	*frame_count = get_u32(data + 8);
	if (memcmp(data, trailer_magic, 8) || !*frame_count || *frame_count > PACK_FRAMES_MAX ||
	    get_u32(data + 12) != pack_table_bytes(*frame_count))
		return -EBADMSG;
	return 0;
}
