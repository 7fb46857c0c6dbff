/* SPDX-License-Identifier: MIT */
/*
 * The driver's view of a virtio device on PCI; see virtio_pci.h. Section numbers are virtio 1.2's.
 */
#include "virtio_pci.h"

#include <stddef.h>

/* BAR of registers: one page for each region of 4.1.4. */
enum { REGION_COMMON = 0, REGION_ISR = 1, REGION_DEVICE = 2, REGION_NOTIFY = 3, REGION_COUNT = 4 };
#define REGION_BYTES 4096u
#define NOTIFY_STRIDE 4u

/* BAR of interrupts: MSI-X table, pending bits behind it. */
#define MSIX_PENDING 2048u

/* Offsets in the common configuration, 4.1.4.3. */
enum {
	COMMON_DEVICE_FEATURE_SELECT = 0x00,
	COMMON_DEVICE_FEATURE = 0x04,
	COMMON_DRIVER_FEATURE_SELECT = 0x08,
	COMMON_DRIVER_FEATURE = 0x0c,
	COMMON_CONFIG_VECTOR = 0x10,
	COMMON_QUEUE_COUNT = 0x12,
	COMMON_STATUS = 0x14,
	COMMON_GENERATION = 0x15,
	COMMON_QUEUE_SELECT = 0x16,
	COMMON_QUEUE_SIZE = 0x18,
	COMMON_QUEUE_VECTOR = 0x1a,
	COMMON_QUEUE_ENABLE = 0x1c,
	COMMON_QUEUE_NOTIFY_OFFSET = 0x1e,
	COMMON_QUEUE_DESCRIPTORS = 0x20,
	COMMON_QUEUE_AVAILABLE = 0x28,
	COMMON_QUEUE_USED = 0x30,
};

enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };
enum { VECTOR_MASKED = 1 };
enum { MSIX_FUNCTION_MASK = 0x4000, MSIX_ENABLE = 0x8000 };
enum { CAPABILITY_VENDOR = 0x09, CAPABILITY_MSIX = 0x11 };

static void tell(void (*callback)(struct virtio_device *device), struct virtio_device *device)
{
	if (callback)
		callback(device);
}

static void reset_state(struct virtio_device *device)
{
	device->features_accepted = 0;
	device->feature_select_device = device->feature_select_driver = 0;
	device->queue_select = 0;
	device->config_vector = VIRTIO_NO_VECTOR;
	device->status = device->isr = 0;
	device->pending = 0;
	for (unsigned int i = 0; i < device->queue_count; i++) {
		struct virtio_pci_queue *queue = &device->queues[i];

		*queue = (struct virtio_pci_queue){
			.size_max = queue->size_max,
			.size = queue->size_max,
			.vector = VIRTIO_NO_VECTOR,
		};
	}
}

static uint16_t msix_control(const struct virtio_device *device)
{
	const uint8_t *control = device->pci.config + device->msix_capability + 2;

	return (uint16_t)(control[0] | control[1] << 8);
}

static bool is_masked(const struct virtio_device *device, unsigned int vector)
{
	return !(msix_control(device) & MSIX_ENABLE) || msix_control(device) & MSIX_FUNCTION_MASK ||
	       device->vectors[vector].control & VECTOR_MASKED;
}

static uint64_t common_read(const struct virtio_device *device, uint32_t offset)
{
	static const struct virtio_pci_queue none = { .vector = VIRTIO_NO_VECTOR };
	const struct virtio_pci_queue *queue =
		device->queue_select < device->queue_count ? &device->queues[device->queue_select] : &none;

	switch (offset) {
	case COMMON_DEVICE_FEATURE_SELECT:
		return device->feature_select_device;
	case COMMON_DEVICE_FEATURE:
		return device->feature_select_device < 2 ?
			       (uint32_t)(device->features_offered >> 32 * device->feature_select_device) :
			       0;
	case COMMON_DRIVER_FEATURE_SELECT:
		return device->feature_select_driver;
	case COMMON_DRIVER_FEATURE:
		return device->feature_select_driver < 2 ?
			       (uint32_t)(device->features_accepted >> 32 * device->feature_select_driver) :
			       0;
	case COMMON_CONFIG_VECTOR:
		return device->config_vector;
	case COMMON_QUEUE_COUNT:
		return device->queue_count;
	case COMMON_STATUS:
		return device->held_status ? device->held_status : device->status;
	case COMMON_GENERATION:
		return device->config_generation;
	case COMMON_QUEUE_SELECT:
		return device->queue_select;
	case COMMON_QUEUE_SIZE:
		return queue->size;
	case COMMON_QUEUE_VECTOR:
		return queue->vector;
	case COMMON_QUEUE_ENABLE:
		return queue->enabled;
	case COMMON_QUEUE_NOTIFY_OFFSET:
		return device->queue_select;
	case COMMON_QUEUE_DESCRIPTORS:
		return (uint32_t)queue->descriptors;
	case COMMON_QUEUE_DESCRIPTORS + 4:
		return queue->descriptors >> 32;
	case COMMON_QUEUE_AVAILABLE:
		return (uint32_t)queue->available;
	case COMMON_QUEUE_AVAILABLE + 4:
		return queue->available >> 32;
	case COMMON_QUEUE_USED:
		return (uint32_t)queue->used;
	case COMMON_QUEUE_USED + 4:
		return queue->used >> 32;
	default:
		return 0;
	}
}

static void write_status(struct virtio_device *device, uint8_t value)
{
	uint8_t added = (uint8_t)(value & ~device->status);

	if (value == 0) {
		device->last_status = device->status;
		reset_state(device);
		tell(device->owner->reset, device);
		return;
	}
	/* 2.1.1: bits are only ever added; NEEDS_RESET is the device's alone. */
	added &= (uint8_t)~VIRTIO_STATUS_NEEDS_RESET;
	/* 3.1.1: features that do not go together are refused by not keeping FEATURES_OK. */
	if (added & VIRTIO_STATUS_FEATURES_OK && !(device->features_accepted & VIRTIO_F_VERSION_1))
		added &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	if (added & VIRTIO_STATUS_DRIVER_OK && !((device->status | added) & VIRTIO_STATUS_FEATURES_OK))
		added &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
	device->status |= added;
	if (added & VIRTIO_STATUS_DRIVER_OK)
		tell(device->owner->start, device);
}

static void set_half(uint64_t *value, uint32_t offset, uint32_t half)
{
	unsigned int shift = offset & 4 ? 32 : 0;

	*value = (*value & ~(0xffffffffull << shift)) | (uint64_t)half << shift;
}

/** A write to the selected queue; once it is enabled, only a reset changes it (4.1.4.3.2). */
static void queue_write(struct virtio_device *device, uint32_t offset, uint32_t value)
{
	struct virtio_pci_queue *queue = &device->queues[device->queue_select];

	switch (offset) {
	case COMMON_QUEUE_VECTOR:
		queue->vector = value < device->queue_count + 1u ? (uint16_t)value : VIRTIO_NO_VECTOR;
		if (queue->vector != VIRTIO_NO_VECTOR && device->owner->vector_changed)
			device->owner->vector_changed(device, queue->vector);
		return;
	case COMMON_QUEUE_ENABLE:
		if (value == 1)
			queue->enabled = true;
		return;
	}
	if (queue->enabled)
		return;
	switch (offset) {
	case COMMON_QUEUE_SIZE:
		if (value && value <= queue->size_max && !(value & (value - 1)))
			queue->size = (uint16_t)value;
		break;
	case COMMON_QUEUE_DESCRIPTORS:
	case COMMON_QUEUE_DESCRIPTORS + 4:
		set_half(&queue->descriptors, offset, value);
		break;
	case COMMON_QUEUE_AVAILABLE:
	case COMMON_QUEUE_AVAILABLE + 4:
		set_half(&queue->available, offset, value);
		break;
	case COMMON_QUEUE_USED:
	case COMMON_QUEUE_USED + 4:
		set_half(&queue->used, offset, value);
		break;
	}
}

static void common_write(struct virtio_device *device, uint32_t offset, uint32_t value)
{
	if (device->held_status)
		return;
	switch (offset) {
	case COMMON_DEVICE_FEATURE_SELECT:
		device->feature_select_device = value;
		break;
	case COMMON_DRIVER_FEATURE_SELECT:
		device->feature_select_driver = value;
		break;
	case COMMON_DRIVER_FEATURE:
		/* 2.2.1: only what was offered, and not after FEATURES_OK. */
		if (device->feature_select_driver < 2 && !(device->status & VIRTIO_STATUS_FEATURES_OK)) {
			set_half(&device->features_accepted, 4 * device->feature_select_driver, value);
			device->features_accepted &= device->features_offered;
		}
		break;
	case COMMON_CONFIG_VECTOR:
		device->config_vector = value < device->queue_count + 1u ? (uint16_t)value : VIRTIO_NO_VECTOR;
		break;
	case COMMON_STATUS:
		write_status(device, (uint8_t)value);
		break;
	case COMMON_QUEUE_SELECT:
		device->queue_select = (uint16_t)value;
		break;
	default:
		if (device->queue_select < device->queue_count)
			queue_write(device, offset, value);
	}
}

static uint64_t bytes_read(const uint8_t *bytes, uint32_t length, uint32_t offset, uint32_t size_bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < size_bytes; i++)
		if (offset + i < length)
			value |= (uint64_t)bytes[offset + i] << 8 * i;
	return value;
}

static uint64_t msix_read(const struct virtio_device *device, uint32_t offset, uint32_t size_bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < size_bytes; i += 4) {
		uint32_t at = offset + i, word = 0;
		const struct virtio_vector *vector = &device->vectors[at / 16 % VIRTIO_VECTORS_MAX];

		if (at == MSIX_PENDING)
			word = device->pending;
		else if (at / 16 <= device->queue_count)
			word = at % 16 == 0 ? (uint32_t)vector->address :
			       at % 16 == 4 ? (uint32_t)(vector->address >> 32) :
			       at % 16 == 8 ? vector->data :
					      vector->control;
		value |= (uint64_t)word << 8 * i;
	}
	return value;
}

static void msix_write(struct virtio_device *device, uint32_t offset, uint32_t size_bytes, uint64_t value)
{
	unsigned int index = offset / 16;

	if (index > device->queue_count)
		return;
	for (uint32_t i = 0; i < size_bytes; i += 4) {
		struct virtio_vector *vector = &device->vectors[index];
		uint32_t word = (uint32_t)(value >> 8 * i);

		switch ((offset + i) % 16) {
		case 0:
			set_half(&vector->address, 0, word & ~3u);
			break;
		case 4:
			set_half(&vector->address, 4, word);
			break;
		case 8:
			vector->data = word;
			break;
		default:
			vector->control = word & VECTOR_MASKED;
		}
	}
	if (device->owner->vector_changed)
		device->owner->vector_changed(device, index);
}

static uint64_t bar_read(struct pci_function *function, unsigned int bar, uint32_t offset, uint32_t size_bytes)
{
	struct virtio_device *device = (struct virtio_device *)function;
	uint64_t value = 0;

	if (bar == VIRTIO_BAR_INTERRUPTS)
		return size_bytes < 4 || offset % 4 ? 0 : msix_read(device, offset, size_bytes);
	switch (offset / REGION_BYTES) {
	case REGION_COMMON:
		/* 4.1.3.1: drivers use each field's own width, or 32-bit halves of 64-bit fields. */
		value = common_read(device, offset);
		if (size_bytes == 8)
			value |= common_read(device, offset + 4) << 32;
		break;
	case REGION_ISR:
		value = device->isr;
		device->isr = 0; /* 4.1.4.5: reading acknowledges */
		break;
	case REGION_DEVICE:
		value = bytes_read(device->config, device->config_bytes, offset % REGION_BYTES, size_bytes);
		break;
	}
	return value;
}

static void device_config_write(struct virtio_device *device, uint32_t offset, uint32_t size_bytes, uint64_t value)
{
	if (offset + size_bytes > device->config_writable_bytes)
		return;
	for (uint32_t i = 0; i < size_bytes; i++)
		device->config[offset + i] = (uint8_t)(value >> 8 * i);
	if (device->owner->config_written)
		device->owner->config_written(device, offset, size_bytes);
}

static void bar_write(struct pci_function *function, unsigned int bar, uint32_t offset, uint32_t size_bytes,
		      uint64_t value)
{
	struct virtio_device *device = (struct virtio_device *)function;

	if (bar == VIRTIO_BAR_INTERRUPTS) {
		if (size_bytes >= 4 && offset % 4 == 0)
			msix_write(device, offset, size_bytes, value);
		return;
	}
	switch (offset / REGION_BYTES) {
	case REGION_COMMON:
		common_write(device, offset, (uint32_t)value);
		if (size_bytes == 8)
			common_write(device, offset + 4, (uint32_t)(value >> 32));
		break;
	case REGION_DEVICE:
		device_config_write(device, offset % REGION_BYTES, size_bytes, value);
		break;
	case REGION_NOTIFY:
		offset = offset % REGION_BYTES / NOTIFY_STRIDE;
		if (offset < device->queue_count && device->status & VIRTIO_STATUS_DRIVER_OK &&
		    device->queues[offset].enabled && device->owner->notify)
			device->owner->notify(device, offset);
		break;
	}
}

/**
 * The window in configuration space through which firmware reaches the BARs without mapping them (4.1.4.9).
 * Returns whether an access to @offset goes through it, and where to.
 */
static bool window_target(const struct virtio_device *device, uint32_t offset, uint32_t *bar_offset,
			  uint32_t *size_bytes)
{
	const uint8_t *capability = device->pci.config + device->window_capability;
	unsigned int bar = capability[4];

	*bar_offset = (uint32_t)bytes_read(capability, 16, 8, 4);
	*size_bytes = (uint32_t)bytes_read(capability, 16, 12, 4);
	return offset == device->window_capability + 16u && bar == VIRTIO_BAR_REGISTERS &&
	       (*size_bytes == 1 || *size_bytes == 2 || *size_bytes == 4) && *bar_offset % *size_bytes == 0 &&
	       *bar_offset < REGION_COUNT * REGION_BYTES;
}

static void config_reading(struct pci_function *function, uint32_t offset, uint32_t size_bytes)
{
	struct virtio_device *device = (struct virtio_device *)function;
	uint32_t bar_offset, width;
	uint64_t value;

	if (!window_target(device, offset, &bar_offset, &width))
		return;
	value = bar_read(function, VIRTIO_BAR_REGISTERS, bar_offset, width);
	for (uint32_t i = 0; i < size_bytes; i++)
		function->config[offset + i] = (uint8_t)(value >> 8 * i);
}

/** A write to the MSI-X control may have unmasked the function: its owner must look at every vector. */
static void config_written(struct pci_function *function, uint32_t offset, uint32_t size_bytes)
{
	struct virtio_device *device = (struct virtio_device *)function;
	uint32_t bar_offset, width;

	if (window_target(device, offset, &bar_offset, &width))
		bar_write(function, VIRTIO_BAR_REGISTERS, bar_offset, width, bytes_read(function->config + offset, 4, 0, width));
	if (offset + size_bytes <= device->msix_capability + 2u || offset > device->msix_capability + 3u)
		return;
	for (unsigned int i = 0; i <= device->queue_count && device->owner->vector_changed; i++)
		device->owner->vector_changed(device, i);
}

/** Adds the capability that says where a region lies (4.1.4). */
static void add_region(struct virtio_device *device, uint8_t type, unsigned int region)
{
	uint8_t body[18] = {
		[0] = sizeof(body) + 2 - (type == 2 ? 0 : 4),
		[1] = type,
		[2] = VIRTIO_BAR_REGISTERS,
		[7] = (uint8_t)(region * REGION_BYTES >> 8),
		[11] = REGION_BYTES >> 8,
		[14] = NOTIFY_STRIDE,
	};

	(void)pci_add_capability(&device->pci, CAPABILITY_VENDOR, body, NULL, (uint8_t)(body[0] - 2));
}

void virtio_pci_init(struct virtio_device *device, const struct virtio_identity *identity,
		     const struct virtio_owner *owner, void *context)
{
	/* 4.1.2: modern devices are 1AF4h:1040h + type, revision 1 or more. */
	const struct pci_identity pci = {
		.vendor = 0x1af4,
		.device = (uint16_t)(0x1040 + identity->type),
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.class_code = identity->class_code,
		.revision = 1,
	};
	/* Message control: table size - 1; table at 0, pending bits behind it, with the BAR in the lowest bits. */
	static const uint8_t window[18] = { 20, 5 };
	static const uint8_t window_writable[18] = { [2] = 0xff, [6] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
						     0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const uint8_t msix[10] = { (uint8_t)identity->queue_count, 0, VIRTIO_BAR_INTERRUPTS, 0, 0, 0, VIRTIO_BAR_INTERRUPTS,
				   MSIX_PENDING >> 8, 0, 0 };
	static const uint8_t msix_writable[10] = { 0, (MSIX_ENABLE | MSIX_FUNCTION_MASK) >> 8 };

	*device = (struct virtio_device){
		.owner = owner,
		.context = context,
		.features_offered = identity->features | VIRTIO_F_VERSION_1,
		.queue_count = identity->queue_count,
		.config_bytes = identity->config_bytes,
		.config_writable_bytes = identity->config_writable_bytes,
	};
	pci_init(&device->pci, &pci);
	device->pci.written = config_written;
	device->pci.reading = config_reading;
	device->pci.bar_read = bar_read;
	device->pci.bar_write = bar_write;
	pci_add_bar(&device->pci, VIRTIO_BAR_INTERRUPTS, 4096);
	pci_add_bar(&device->pci, VIRTIO_BAR_REGISTERS, REGION_COUNT * REGION_BYTES);
	add_region(device, 1, REGION_COMMON);
	add_region(device, 2, REGION_NOTIFY);
	add_region(device, 3, REGION_ISR);
	add_region(device, 4, REGION_DEVICE);
	device->window_capability = pci_add_capability(&device->pci, CAPABILITY_VENDOR, window, window_writable,
						       sizeof(window));
	device->msix_capability = pci_add_capability(&device->pci, CAPABILITY_MSIX, msix, msix_writable,
						     sizeof(msix));
	for (unsigned int i = 0; i < identity->queue_count; i++)
		device->queues[i].size_max = identity->queue_size_max;
	for (unsigned int i = 0; i <= identity->queue_count; i++)
		device->vectors[i].control = VECTOR_MASKED;
	reset_state(device);
}

void virtio_pci_set_config(struct virtio_device *device, const void *config)
{
	const uint8_t *bytes = config;

	for (uint32_t i = 0; i < device->config_bytes; i++)
		device->config[i] = bytes[i];
	device->config_generation++;
}

bool virtio_pci_vector_message(const struct virtio_device *device, unsigned int vector,
			       struct virtio_message *message)
{
	if (is_masked(device, vector))
		return false;
	*message = (struct virtio_message){ device->vectors[vector].address, device->vectors[vector].data };
	return true;
}

bool virtio_pci_interrupt(struct virtio_device *device, int queue, struct virtio_message *message)
{
	uint16_t vector = queue < 0 ? device->config_vector : device->queues[queue].vector;

	device->isr |= queue < 0 ? ISR_CONFIG : ISR_QUEUE;
	if (vector == VIRTIO_NO_VECTOR)
		return false;
	if (!virtio_pci_vector_message(device, vector, message)) {
		device->pending |= 1u << vector;
		return false;
	}
	return true;
}

bool virtio_pci_take_pending(struct virtio_device *device, struct virtio_message *message)
{
	for (unsigned int vector = 0; vector <= device->queue_count; vector++) {
		if (!(device->pending & 1u << vector) || !virtio_pci_vector_message(device, vector, message))
			continue;
		device->pending &= ~(1u << vector);
		return true;
	}
	return false;
}

void virtio_pci_needs_reset(struct virtio_device *device)
{
	device->status |= VIRTIO_STATUS_NEEDS_RESET;
}

void virtio_pci_hold_reset(struct virtio_device *device)
{
	/* Never 0, which would say that the reset is done. */
	device->held_status = device->last_status | VIRTIO_STATUS_NEEDS_RESET;
}

bool virtio_pci_finish_reset(struct virtio_device *device)
{
	bool was_held = device->held_status;

	device->held_status = 0;
	return was_held;
}

void virtio_pci_offer_queue(struct virtio_device *device, unsigned int queue, uint16_t size_max)
{
	device->queues[queue].size_max = device->queues[queue].size = size_max;
}

bool virtio_pci_is_running(const struct virtio_device *device)
{
	return (device->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET)) == VIRTIO_STATUS_DRIVER_OK;
}
