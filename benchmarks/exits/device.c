/* SPDX-License-Identifier: MIT */
/*
 * See device.h. The transport is our own library's on both sides (hypervisor/platform/virtio_pci.c), so where its registers
 * lie is known; section numbers are virtio 1.2's.
 */
#include "device.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define DEVICE_ID      0x10441af4u /* entropy */
#define REGISTERS      0xc0000000u /* where we put the base addresses, in the window for devices below 4 GiB */
#define INTERRUPTS     0xc0010000u
#define NOTIFY	       (REGISTERS + 0x3000)
#define MESSAGES       0xfee00000u

/* Common configuration (4.1.4.3). */
enum { FEATURE_SELECT = 0x08, FEATURES = 0x0c, STATUS = 0x14, QUEUE_SIZE = 0x18, QUEUE_VECTOR = 0x1a, QUEUE_ENABLE = 0x1c,
       QUEUE_TABLE = 0x20, QUEUE_AVAILABLE = 0x28, QUEUE_USED = 0x30 };
enum { ENTRIES = 8, REQUEST_BYTES = 64, DESCRIPTOR_WRITE = 2 };

static struct {
	struct {
		uint64_t address;
		uint32_t size_bytes;
		uint16_t flags, next;
	} table[ENTRIES];
	struct {
		uint16_t flags, index, ring[ENTRIES];
	} available;
	struct {
		uint16_t flags, index;
		struct {
			uint32_t head, size_bytes;
		} ring[ENTRIES];
	} used __attribute__((aligned(4)));
	uint8_t buffer[REQUEST_BYTES];
} memory __attribute__((aligned(4096)));

static uint32_t config_read(uint32_t function, uint32_t offset)
{
	uint32_t value;

	__asm__ volatile("outl %0, %1" : : "a"(0x80000000u | function << 11 | offset), "d"((uint16_t)CONFIG_ADDRESS));
	__asm__ volatile("inl %1, %0" : "=a"(value) : "d"((uint16_t)CONFIG_DATA));
	return value;
}

static void config_write(uint32_t function, uint32_t offset, uint32_t value)
{
	(void)config_read(function, offset);
	__asm__ volatile("outl %0, %1" : : "a"(value), "d"((uint16_t)CONFIG_DATA));
}

#define SET(bits, at, value) (*(volatile uint##bits##_t *)(uintptr_t)(at) = (uint##bits##_t)(value))

/* Switches on MSI-X, whose first message is @vector to this processor. */
static void start_interrupts(uint32_t function, uint8_t vector)
{
	uint32_t at = config_read(function, 0x34) & 0xfc;

	SET(32, INTERRUPTS, MESSAGES);
	SET(32, INTERRUPTS + 4, 0);
	SET(32, INTERRUPTS + 8, vector);
	SET(32, INTERRUPTS + 12, 0);
	while (at && (config_read(function, at) & 0xff) != 0x11)
		at = config_read(function, at) >> 8 & 0xfc;
	config_write(function, at, config_read(function, at) | 0x80000000u);
}

static void start_queue(void)
{
	SET(16, REGISTERS + QUEUE_SIZE, ENTRIES);
	SET(16, REGISTERS + QUEUE_VECTOR, 0);
	SET(32, REGISTERS + QUEUE_TABLE, (uintptr_t)memory.table);
	SET(32, REGISTERS + QUEUE_AVAILABLE, (uintptr_t)&memory.available);
	SET(32, REGISTERS + QUEUE_USED, (uintptr_t)&memory.used);
	memory.table[0].address = (uintptr_t)memory.buffer;
	memory.table[0].size_bytes = REQUEST_BYTES;
	memory.table[0].flags = DESCRIPTOR_WRITE;
	SET(16, REGISTERS + QUEUE_ENABLE, 1);
}

bool device_start(uint8_t vector)
{
	uint32_t function = 0;

	while (function < 32 && config_read(function, 0) != DEVICE_ID)
		function++;
	if (function == 32)
		return false;
	/* Two base addresses of 64 bits: registers, interrupts. */
	config_write(function, 0x10, REGISTERS);
	config_write(function, 0x14, 0);
	config_write(function, 0x18, INTERRUPTS);
	config_write(function, 0x1c, 0);
	config_write(function, 4, config_read(function, 4) | 6); /* memory, bus master */
	SET(8, REGISTERS + STATUS, 0);
	SET(8, REGISTERS + STATUS, 3);
	SET(32, REGISTERS + FEATURE_SELECT, 1);
	SET(32, REGISTERS + FEATURES, 1); /* VERSION_1 */
	SET(8, REGISTERS + STATUS, 11);
	start_interrupts(function, vector);
	start_queue();
	SET(8, REGISTERS + STATUS, 15);
	return true;
}

void device_request(void)
{
	uint16_t index = memory.available.index;

	memory.available.ring[index % ENTRIES] = 0;
	__asm__ volatile("" : : : "memory");
	*(volatile uint16_t *)&memory.available.index = (uint16_t)(index + 1);
}

void device_ring(void)
{
	SET(16, NOTIFY, 0);
}

bool device_is_done(void)
{
	return *(volatile uint16_t *)&memory.used.index == memory.available.index;
}
