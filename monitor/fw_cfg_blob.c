/* SPDX-License-Identifier: MIT */
/*
 * Items one behind the other; see fw_cfg_blob.h. Keys and the directory are of QEMU's docs/specs/fw_cfg.rst.
 */
#include "fw_cfg_blob.h"

#include <string.h>

#define KEY_DIRECTORY  0x19u
#define KEY_FILE_FIRST 0x20u
#define ITEMS_AT       (sizeof(struct fw_cfg_header) + FW_CFG_ENTRIES_MAX * sizeof(struct fw_cfg_entry))
#define ITEM_ALIGNED   16u

_Static_assert(sizeof(struct fw_cfg_file) == 64, "as the directory lists it");

void fw_cfg_blob_start(struct fw_cfg_blob *blob, uint8_t *bytes, size_t room)
{
	*blob = (struct fw_cfg_blob){
		.bytes = bytes,
		.used = ITEMS_AT,
		.room = room > ITEMS_AT ? room : 0,
		.header = { .magic = FW_CFG_MAGIC },
	};
}

void fw_cfg_blob_add(struct fw_cfg_blob *blob, uint16_t key, const void *content, size_t size_bytes)
{
	size_t at = (blob->used + ITEM_ALIGNED - 1) & ~(size_t)(ITEM_ALIGNED - 1);
	struct fw_cfg_entry entry = { .key = key, .offset = (uint32_t)at, .size_bytes = (uint32_t)size_bytes };

	if (at > blob->room || size_bytes > blob->room - at || blob->header.count == FW_CFG_ENTRIES_MAX) {
		blob->room = 0;
		return;
	}
	memcpy(blob->bytes + at, content, size_bytes);
	memcpy(blob->bytes + sizeof(blob->header) + blob->header.count * sizeof(entry), &entry, sizeof(entry));
	blob->header.count++;
	blob->used = at + size_bytes;
}

void fw_cfg_blob_add_file(struct fw_cfg_blob *blob, const char *name, const void *content, size_t size_bytes)
{
	uint16_t key = (uint16_t)(KEY_FILE_FIRST + blob->file_count);
	struct fw_cfg_file *file = &blob->directory.files[blob->file_count];

	if (blob->file_count == FW_CFG_BLOB_FILES_MAX || strlen(name) >= sizeof(file->name)) {
		blob->room = 0;
		return;
	}
	file->size_bytes = __builtin_bswap32((uint32_t)size_bytes);
	file->key = __builtin_bswap16(key);
	memcpy(file->name, name, strlen(name));
	blob->file_count++;
	fw_cfg_blob_add(blob, key, content, size_bytes);
}

size_t fw_cfg_blob_end(struct fw_cfg_blob *blob)
{
	blob->directory.count = __builtin_bswap32(blob->file_count);
	fw_cfg_blob_add(blob, KEY_DIRECTORY, &blob->directory,
			sizeof(blob->directory.count) + blob->file_count * sizeof(struct fw_cfg_file));
	if (!blob->room)
		return 0;
	memcpy(blob->bytes, &blob->header, sizeof(blob->header));
	return blob->used;
}
