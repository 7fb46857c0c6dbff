/* SPDX-License-Identifier: MIT */
/*
 * The firmware configuration device (QEMU's docs/specs/fw_cfg.rst): from it a guest's firmware and kernel learn memory,
 * processors, boot order and ACPI tables. Its contents, the blob, lie in the guest's own memory, where they were loaded
 * and measured before the seal; nobody else can change them afterwards. The guest itself may, and is then the only one
 * to be misled: every offset is checked at each use.
 *
 * The blob: struct fw_cfg_header, then count entries of struct fw_cfg_entry sorted by nothing, then the items.
 * All little endian. Items with a name are listed by the builder in item 19h, the device's file directory.
 */
#ifndef BULKHEAD_PLATFORM_FW_CFG_H
#define BULKHEAD_PLATFORM_FW_CFG_H

#include "memory.h"

#define FW_CFG_PORT_SELECT 0x510u
#define FW_CFG_PORT_DATA   0x511u
#define FW_CFG_PORT_DMA	   0x514u /**< upper half of the address, big endian; 518h: lower half, starts */

#define FW_CFG_MAGIC	   0x47464342u /* "BCFG" */
#define FW_CFG_ENTRIES_MAX 64u
#define FW_CFG_BLOB_MAX	   (16u << 20)

/** Bytes of one call of fw_cfg_dma(), at most. */
#define FW_CFG_DMA_STEP 16384u

struct fw_cfg_header {
	uint32_t magic;
	uint32_t count;
};

struct fw_cfg_entry {
	uint16_t key;
	uint16_t reserved;
	uint32_t offset; /**< from the blob's start */
	uint32_t size_bytes;
};

struct fw_cfg {
	struct memory *memory;
	uint64_t base; /**< of the blob; 0: there is no device */
	uint32_t blob_bytes;
	uint32_t offset, size_bytes; /**< of the selected item */
	uint32_t at;		     /**< next byte of it */
	uint32_t dma_high;	     /**< as written to port 514h */
	bool is_dma_running;
	uint32_t dma_done; /**< bytes of the transfer that is running */
};

/** Says where the blob lies. @base 0: no device, all ports read ones. */
void fw_cfg_init(struct fw_cfg *device, struct memory *memory, uint64_t base, uint32_t blob_bytes);

/** Whether a port is the device's. */
bool fw_cfg_has_port(const struct fw_cfg *device, uint16_t port, uint32_t size_bytes);

/** Port reads. The data port gives one byte, whatever the width. */
uint32_t fw_cfg_port_read(struct fw_cfg *device, uint16_t port, uint32_t size_bytes);

/**
 * Port writes. Returns false if a transfer to memory was started or continued and is not finished: the caller leaves
 * the guest's instruction pointer where it is, so that the same write comes again after pending interrupts.
 */
bool fw_cfg_port_write(struct fw_cfg *device, uint16_t port, uint32_t size_bytes, uint32_t value);

#endif
