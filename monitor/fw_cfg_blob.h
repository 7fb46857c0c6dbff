/* SPDX-License-Identifier: MIT */
/*
 * Builds the blob that the firmware configuration device serves (hypervisor/platform/fw_cfg.h). It is measured with the
 * rest of the guest's memory, so the same configuration must always give the same bytes.
 */
#ifndef BULKHEAD_MONITOR_FW_CFG_BLOB_H
#define BULKHEAD_MONITOR_FW_CFG_BLOB_H

#include <fw_cfg.h>

#include <stddef.h>

#define FW_CFG_BLOB_FILES_MAX  16u
#define FW_CFG_FILE_NAME_BYTES 56u

/** A file as the device's directory lists it; big endian. */
struct fw_cfg_file {
	uint32_t size_bytes;
	uint16_t key;
	uint16_t reserved;
	char name[FW_CFG_FILE_NAME_BYTES];
};

struct fw_cfg_blob {
	uint8_t *bytes;
	size_t used, room; /**< room 0: it was not enough */
	struct fw_cfg_header header;
	struct {
		uint32_t count; /**< big endian */
		struct fw_cfg_file files[FW_CFG_BLOB_FILES_MAX];
	} directory;
	uint32_t file_count;
};

/** Starts an empty blob in @room bytes that are 0. */
void fw_cfg_blob_start(struct fw_cfg_blob *blob, uint8_t *bytes, size_t room);

/** Adds an item by its key. */
void fw_cfg_blob_add(struct fw_cfg_blob *blob, uint16_t key, const void *content, size_t size_bytes);

/** Adds a file by its name, which is shorter than FW_CFG_FILE_NAME_BYTES. */
void fw_cfg_blob_add_file(struct fw_cfg_blob *blob, const char *name, const void *content, size_t size_bytes);

/** Ends the blob with its directory of files. Returns its bytes, or 0 if there was not enough room. */
size_t fw_cfg_blob_end(struct fw_cfg_blob *blob);

#endif
