/* SPDX-License-Identifier: MIT */
/*
 * Serves the blob by byte port and by transfers to guest memory; see fw_cfg.h.
 */
#include "fw_cfg.h"

#define KEY_SIGNATURE 0x0000u
#define KEY_ID	      0x0001u
#define ID_FEATURES   3u /* traditional interface, DMA */

/* Control word of a transfer, after the specification. */
enum {
	DMA_ERROR = 1,
	DMA_READ = 2,
	DMA_SKIP = 4,
	DMA_SELECT = 8,
	DMA_WRITE = 16,
};

/** A transfer's control structure in guest memory; big endian. */
struct dma {
	uint32_t control;
	uint32_t size_bytes;
	uint64_t address;
};

/* What the device says without a blob item: offset beyond the blob marks them. */
static const uint8_t signature[4] = { 'Q', 'E', 'M', 'U' };
static const uint8_t id[4] = { ID_FEATURES };

#define OFFSET_SIGNATURE 0xfffffff0u
#define OFFSET_ID	 0xfffffff4u

static const uint8_t dma_signature[8] = { 'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G' };

void fw_cfg_init(struct fw_cfg *device, struct memory *memory, uint64_t base, uint32_t blob_bytes)
{
	*device = (struct fw_cfg){ .memory = memory, .base = base, .blob_bytes = blob_bytes };
}

bool fw_cfg_has_port(const struct fw_cfg *device, uint16_t port, uint32_t size_bytes)
{
	if (!device->base)
		return false;
	if (port >= FW_CFG_PORT_DMA && port < FW_CFG_PORT_DMA + 8)
		return size_bytes <= FW_CFG_PORT_DMA + 8u - port;
	return port == FW_CFG_PORT_DATA || (port == FW_CFG_PORT_SELECT && size_bytes <= 2);
}

static bool read_blob(const struct fw_cfg *device, uint32_t offset, void *to, uint32_t size_bytes)
{
	if (offset > device->blob_bytes || size_bytes > device->blob_bytes - offset)
		return false;
	return memory_read(device->memory, device->base + offset, to, size_bytes);
}

static bool find(const struct fw_cfg *device, uint16_t key, struct fw_cfg_entry *entry)
{
	struct fw_cfg_header header;

	if (!read_blob(device, 0, &header, sizeof(header)) || header.magic != FW_CFG_MAGIC ||
	    header.count > FW_CFG_ENTRIES_MAX)
		return false;
	for (uint32_t i = 0; i < header.count; i++) {
		uint32_t at = (uint32_t)(sizeof(header) + i * sizeof(*entry));

		if (!read_blob(device, at, entry, sizeof(*entry)))
			return false;
		if (entry->key == key)
			return entry->offset <= device->blob_bytes &&
			       entry->size_bytes <= device->blob_bytes - entry->offset;
	}
	return false;
}

static void select_item(struct fw_cfg *device, uint16_t key)
{
	struct fw_cfg_entry entry = { 0 };

	device->at = 0;
	if (key == KEY_SIGNATURE)
		entry = (struct fw_cfg_entry){ .offset = OFFSET_SIGNATURE, .size_bytes = sizeof(signature) };
	else if (key == KEY_ID)
		entry = (struct fw_cfg_entry){ .offset = OFFSET_ID, .size_bytes = sizeof(id) };
	else if (!find(device, key, &entry))
		entry = (struct fw_cfg_entry){ 0 };
	device->offset = entry.offset;
	device->size_bytes = entry.size_bytes;
}

/** Takes the next bytes of the item; beyond its end there are zeros. */
static void take(struct fw_cfg *device, uint8_t *to, uint32_t size_bytes)
{
	uint32_t left = device->size_bytes - device->at;
	uint32_t real = size_bytes < left ? size_bytes : left;

	for (uint32_t i = 0; i < size_bytes; i++)
		to[i] = 0;
	if (device->offset >= OFFSET_SIGNATURE) {
		const uint8_t *from = device->offset == OFFSET_SIGNATURE ? signature : id;

		for (uint32_t i = 0; i < real; i++)
			to[i] = from[device->at + i];
	} else if (real && !read_blob(device, device->offset + device->at, to, real)) {
		for (uint32_t i = 0; i < real; i++)
			to[i] = 0;
	}
	device->at += real;
}

uint32_t fw_cfg_port_read(struct fw_cfg *device, uint16_t port, uint32_t size_bytes)
{
	uint32_t value = 0;
	uint8_t byte;

	if (port == FW_CFG_PORT_DATA) {
		take(device, &byte, 1);
		return byte;
	}
	if (port < FW_CFG_PORT_DMA)
		return 0;
	for (uint32_t i = 0; i < size_bytes; i++)
		value |= (uint32_t)dma_signature[port - FW_CFG_PORT_DMA + i] << (8 * i);
	return value;
}

/** Copies, or skips, the next step of a transfer. Returns false if guest memory is not there. */
static bool transfer_step(struct fw_cfg *device, const struct dma *dma, uint32_t size_bytes)
{
	uint8_t bytes[256];

	for (uint32_t done = 0; done < size_bytes;) {
		uint32_t size = size_bytes - done < sizeof(bytes) ? size_bytes - done : (uint32_t)sizeof(bytes);

		take(device, bytes, size);
		if ((dma->control & DMA_READ) &&
		    !memory_write(device->memory, dma->address + device->dma_done + done, bytes, size))
			return false;
		done += size;
	}
	device->dma_done += size_bytes;
	return true;
}

static void skip(struct fw_cfg *device, uint32_t size_bytes)
{
	uint32_t left = device->size_bytes - device->at;

	device->at += size_bytes < left ? size_bytes : left;
}

/** Writes the result where the guest waits for it. */
static bool finish(struct fw_cfg *device, uint64_t at, bool is_good)
{
	uint32_t control = __builtin_bswap32(is_good ? 0 : DMA_ERROR);

	device->is_dma_running = false;
	if (!memory_write(device->memory, at, &control, sizeof(control)))
		device->dma_done = 0; /* no memory there, and so nobody who waits */
	return true;
}

/** Starts a transfer or goes on with it. Returns whether it is finished. */
static bool transfer(struct fw_cfg *device, uint64_t at)
{
	uint32_t left, step;
	struct dma dma;

	if (!memory_read(device->memory, at, &dma, sizeof(dma)))
		return finish(device, at, false);
	dma.control = __builtin_bswap32(dma.control);
	dma.size_bytes = __builtin_bswap32(dma.size_bytes);
	dma.address = __builtin_bswap64(dma.address);
	if (!device->is_dma_running) {
		device->is_dma_running = true;
		device->dma_done = 0;
		if (dma.control & DMA_SELECT)
			select_item(device, (uint16_t)(dma.control >> 16));
	}
	if (dma.control & DMA_WRITE)
		return finish(device, at, false); /* nothing here can be written */
	if (!(dma.control & DMA_READ)) {
		if (dma.control & DMA_SKIP)
			skip(device, dma.size_bytes);
		return finish(device, at, true);
	}
	left = device->dma_done < dma.size_bytes ? dma.size_bytes - device->dma_done : 0;
	step = left < FW_CFG_DMA_STEP ? left : FW_CFG_DMA_STEP;
	if (!transfer_step(device, &dma, step))
		return finish(device, at, false);
	return step < left ? false : finish(device, at, true);
}

bool fw_cfg_port_write(struct fw_cfg *device, uint16_t port, uint32_t size_bytes, uint32_t value)
{
	if (port == FW_CFG_PORT_SELECT && size_bytes == 2) {
		device->is_dma_running = false;
		select_item(device, (uint16_t)value);
	} else if (port == FW_CFG_PORT_DMA && size_bytes == 4) {
		device->is_dma_running = false;
		device->dma_high = __builtin_bswap32(value);
	} else if (port == FW_CFG_PORT_DMA + 4 && size_bytes == 4) {
		return transfer(device, (uint64_t)device->dma_high << 32 | __builtin_bswap32(value));
	}
	return true;
}
