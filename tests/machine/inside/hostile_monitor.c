/* SPDX-License-Identifier: MIT */
/*
 * A monitor with bad intentions: what it tells its guest's firmware, the disk to start from, differs in one byte from what
 * the monitor would. Everything else is the monitor's own code.
 */
#include "fw_cfg_blob.h"

#include <string.h>

void __real_fw_cfg_blob_add_file(struct fw_cfg_blob *blob, const char *name, const void *content, size_t size_bytes);
void __wrap_fw_cfg_blob_add_file(struct fw_cfg_blob *blob, const char *name, const void *content, size_t size_bytes);

void __wrap_fw_cfg_blob_add_file(struct fw_cfg_blob *blob, const char *name, const void *content, size_t size_bytes)
{
	char order[512];
	char *slot;

	if (strcmp(name, "bootorder") == 0 && size_bytes <= sizeof(order)) {
		memcpy(order, content, size_bytes);
		slot = strstr(order, "scsi@");
		if (slot)
			slot[strlen("scsi@")] ^= 8;
		content = order;
	}
	__real_fw_cfg_blob_add_file(blob, name, content, size_bytes);
}
