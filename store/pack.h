/*
 * pack.h: the file that holds frames: header, frames, the table that names them, trailer.
 *
 * A pack is written once by whoever has the domain's key. Elsewhere it may be present in part: the
 * same frames at the same places with holes between them. The table is a frame that needs no key; a
 * manifest names it, it names the frames, so one signature covers every byte.
 */
#ifndef STORE_PACK_H
#define STORE_PACK_H

#include "store/format.h"

#include <stddef.h>
#include <stdint.h>

struct pack_header {
	uint32_t frame_plain_bytes; /* no data frame holds more */
	uint8_t domain_id[DOMAIN_ID_BYTES];
	uint8_t salt[SALT_BYTES];
};

struct pack_entry {
	uint8_t name[NAME_BYTES];
	uint32_t offset;
	uint32_t stored_bytes;
	uint16_t blocks; /* of a data frame; 0 otherwise */
	uint8_t kind;    /* FRAME_DATA or FRAME_MAP */
};

/** A pack's table, checked: frames lie back to back from the header up to @table_offset. */
struct pack_table {
	uint8_t salt[SALT_BYTES];
	uint8_t name[NAME_BYTES]; /* SHA-256 of the table frame */
	uint32_t table_offset;
	uint32_t frame_count;
	struct pack_entry *entries;
};

/** Path of a pack in a store: "packs/<salt>.pack" (or ".part" while it is written). */
#define PACK_PATH_BYTES 72
void pack_path(const uint8_t salt[SALT_BYTES], const char *suffix, char path[PACK_PATH_BYTES]);

void pack_header_write(const struct pack_header *header, uint8_t data[PACK_HEADER_BYTES]);

/** Returns 0 or -EBADMSG. */
int pack_header_read(const uint8_t data[PACK_HEADER_BYTES], struct pack_header *header);

/** Length of a table frame, and of the whole pack. */
uint32_t pack_table_bytes(uint32_t frame_count);
uint64_t pack_bytes(uint32_t table_offset, uint32_t frame_count);

/**
 * Reads a table frame.
 *
 * @data, @bytes: the frame and nothing else. It is hashed: compare @table->name before believing it.
 * @table_offset: where it lies in the pack.
 *
 * Returns 0, -EBADMSG, -ENOMEM or -EIO. Release with pack_table_release().
 */
int pack_table_read(const uint8_t *data, size_t bytes, uint32_t table_offset,
		    struct pack_table *table);

/**
 * Writes the table frame and the trailer; fills in @table->name.
 *
 * @data: room for pack_table_bytes() + PACK_TRAILER_BYTES.
 *
 * Returns 0 or -EIO.
 */
int pack_table_write(struct pack_table *table, uint8_t *data);

void pack_table_release(struct pack_table *table);

/** Reads the trailer: how many frames there are. Returns 0 or -EBADMSG. */
int pack_trailer_read(const uint8_t data[PACK_TRAILER_BYTES], uint32_t *frame_count);

void pack_trailer_write(uint32_t frame_count, uint8_t data[PACK_TRAILER_BYTES]);

#endif
