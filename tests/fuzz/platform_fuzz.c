/* SPDX-License-Identifier: MIT */
/*
 * A guest's driver, its backends and the driver of the service domain as one hostile input to a platform: accesses to
 * ports, configuration space and registers, writes into guest memory and relay areas, calls in any order. Whatever they
 * do, no step copies more than the budget, and a device's reset is done only when it was released.
 */
#include "fake_memory.h"
#include "platform.h"

#include <stdlib.h>
#include <string.h>

#define GUEST_BYTES 32768u
#define STEP_BYTES  12u
#define REGISTERS	    0xc0010000ull

static uint8_t guest_bytes[GUEST_BYTES], area_bytes[3][RELAY_AREA_BYTES];
static struct memory guest = { guest_bytes, 0, GUEST_BYTES, 0 };
static struct memory areas[3];
static struct platform *platform;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void make(void)
{
	static const struct bulkhead_device_description disk = { .type = 2, .class_code = 0x010000,
		.features = VIRTIO_F_EVENT_INDEX | VIRTIO_F_RING_INDIRECT, .queue_count = 1, .queue_size_max = 16,
		.config_bytes = 60, .config_writable_bytes = 8 };
	static const struct bulkhead_device_description network = { .type = 1, .class_code = 0x020000,
		.features = VIRTIO_F_EVENT_INDEX, .queue_count = 3, .queue_size_max = 16, .config_bytes = 12 };

	static const struct bulkhead_device_description balloon = { .type = BALLOON_TYPE, .class_code = 0xff0000,
		.features = VIRTIO_F_EVENT_INDEX, .queue_count = BALLOON_QUEUES, .queue_size_max = 16,
		.config_bytes = BALLOON_CONFIG_BYTES, .config_writable_bytes = BALLOON_CONFIG_BYTES };

	if (!platform)
		platform = malloc(sizeof(*platform));
	memset(platform, 0, sizeof(*platform));
	memset(guest_bytes, 0, sizeof(guest_bytes));
	platform_init(platform, &guest);
	apic_bus_add(&platform->apics, 0, 1000000);
	platform_add_device(platform, 1, &disk);
	platform_add_device(platform, 2, &network);
	platform_add_device(platform, 3, &balloon);
	platform_set_blob(platform, 16384, 4096);
	for (unsigned int i = 0; i < 3; i++) {
		/* The third queue of the network has no area. */
		unsigned int queue = i == 2 ? 1 : 0;

		areas[i] = (struct memory){ area_bytes[i], queue * RELAY_AREA_BYTES, RELAY_AREA_BYTES, 0 };
		platform_add_relay(platform, &platform->devices[i > 0], (uint8_t)queue, &areas[i]);
	}
	/* Where a driver would put them; one that moves them away loses only its device. */
	for (unsigned int i = 0; i < 3; i++) {
		pci_config_write(&platform->bus, 1 + i, 0x10, 4, (uint32_t)REGISTERS + i * 0x10000);
		pci_config_write(&platform->bus, 1 + i, 0x04, 2, 6);
	}
}

/** The device that a step is about: disk, network or balloon. */
static unsigned int which(const uint8_t *step)
{
	return (step[1] & 1) + (step[1] >> 7);
}

static void access_device(const uint8_t *step)
{
	static const uint8_t widths[] = { 1, 2, 4, 8 };
	uint64_t address = REGISTERS + which(step) * 0x10000, value;
	uint16_t offset;

	memcpy(&offset, step + 2, 2);
	memcpy(&value, step + 4, 8);
	address += step[1] & 2 ? offset % 64 : offset % 0x4000;
	if (step[1] & 4)
		address = MACHINE_ECAM + ((uint64_t)(1 + which(step)) << 15) + offset % 512;
	if (step[1] & 8)
		(void)platform_mmio_read(platform, address, widths[step[1] >> 4 & 3], &value);
	else
		(void)platform_mmio_write(platform, address, widths[step[1] >> 4 & 3], value);
}

static void do_step(const uint8_t *step)
{
	struct platform_device *device = &platform->devices[which(step)];
	uint8_t *area = area_bytes[step[1] % 3];
	uint16_t offset;
	uint32_t value;

	memcpy(&offset, step + 2, 2);
	memcpy(&value, step + 4, 4);
	switch (step[0] % 8) {
	case 0: /* rings and small buffers lie in the first 4 KiB */
		memcpy(guest_bytes + (step[1] & 1 ? offset % 4092 : offset % (GUEST_BYTES - 4)), &value, 4);
		break;
	case 1:
		memcpy(area + offset % (RELAY_PAYLOAD + 4096), &value, 4);
		break;
	case 2:
		if (device->relay_of[step[2] % device->device.queue_count])
			(void)platform_backend(device, step[2] % device->device.queue_count);
		break;
	case 3:
		if (step[1] & 2 ? platform_lose(device) && !device->is_started :
				  platform_release(device) && device->is_started)
			abort();
		break;
	case 4:
		(void)platform_work(platform);
		break;
	case 5:
		if (step[1] & 1)
			(void)platform_port_write(platform, offset, step[1] & 2 ? 4 : 2, value);
		else
			(void)platform_port_read(platform, offset, step[1] & 2 ? 4 : 1, &value);
		break;
	default:
		access_device(step);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	make();
	for (size_t at = 0; at + STEP_BYTES <= size_bytes; at += STEP_BYTES) {
		struct platform_effects effects = { 0 };

		fake_memory_copied = 0;
		do_step(data + at);
		platform_take_effects(platform, &effects);
		if (fake_memory_copied > PLATFORM_BUDGET_BYTES || effects.doorbells >> 11 ||
		    (platform->waiting & ~PLATFORM_BALLOON_WAITS) >> 3 || effects.given_up_count + effects.wanted_count > BALLOON_STEP_PAGES)
			abort();
	}
	return 0;
}
