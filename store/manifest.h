/*
 * manifest.h: what a version is: the bytes that get signed.
 *
 * A manifest names the disk's map by its root page and lists, pack by pack, which frames the version
 * uses. Whoever holds no key can read that list, and nothing else about the disk. A version's id is
 * the SHA-256 of the manifest.
 */
#ifndef STORE_MANIFEST_H
#define STORE_MANIFEST_H

#include "store/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Where a frame is: stable for ever, whoever holds the pack. */
struct frame_address {
	uint8_t salt[SALT_BYTES];
	uint32_t number;
};

struct manifest_pack {
	uint8_t salt[SALT_BYTES];
	uint8_t table_name[NAME_BYTES];
	uint32_t table_offset;
	uint32_t frame_count;
	uint8_t *used; /* bitmap of frame_count bits */
};

/** Release with manifest_release(); text is not NUL-terminated. */
struct manifest {
	uint8_t domain_id[DOMAIN_ID_BYTES];
	uint64_t disk_bytes;
	uint64_t created; /* seconds since 1970, UTC */
	uint8_t base[VERSION_ID_BYTES]; /* zeros: none */
	struct frame_address map_root;
	uint32_t map_levels; /* 1: the root is a leaf */
	bool has_tree_root;
	uint8_t tree_root[NAME_BYTES];
	uint64_t data_blocks;  /* blocks that are not zero */
	uint64_t stored_bytes; /* of the used frames */
	char label[MANIFEST_LABEL_MAX + 1];
	uint8_t *description; /* the machine's, opaque here */
	uint32_t description_bytes;
	uint32_t pack_count;
	struct manifest_pack *packs; /* ascending by salt */
};

/** Reads the payload of a manifest. Returns 0, -EBADMSG or -ENOMEM. */
int manifest_read(const uint8_t *data, size_t bytes, struct manifest *manifest);

/** Writes it; the caller frees @data. Returns 0, -EFBIG or -ENOMEM. */
int manifest_write(const struct manifest *manifest, uint8_t **data, size_t *bytes);

void manifest_release(struct manifest *manifest);

/** Levels a map needs for @blocks blocks. */
uint32_t manifest_map_levels(uint64_t blocks);

/** Blocks of a disk; the last may be partly beyond its end and is filled with zeros. */
uint64_t manifest_blocks(const struct manifest *manifest);

/** A label is 1 to 255 bytes of printable ASCII or UTF-8 without control characters. */
bool manifest_label_ok(const char *label);

#endif
