/* SPDX-License-Identifier: MIT */
/*
 * What the tests of platforms share: a guest with one, its driver's accesses, and its rings.
 */
#ifndef CORE_PLATFORM_FIXTURE_H
#define CORE_PLATFORM_FIXTURE_H

#include "core_fixture.h"

#include <bulkhead/vcpu.h>

#include "guest_platform.h"

/* Guest memory the tests fill, and where the driver's rings lie in it. */
#define RING(n)	    ((n) * PAGE_BYTES)
#define DESCRIPTORS RING(0)
#define AVAILABLE   RING(1)
#define USED	    RING(2)
#define BUFFER	    RING(3)
#define INTERRUPTS  0xc0000000ull
#define REGISTERS   0xc0010000ull
#define SLOT	    3u
#define AREA(n)	    LARGE(4) + (n) * PAGE_BYTES /* pages of the relay area */
#define PLATFORM    LARGE(3)
#define LIST	    PAGE(140)

static struct bulkhead_device_description description = {
	.type = 2,
	.class_code = 0x010000,
	.features = 1ull << 9,
	.queue_count = 1,
	.queue_size_max = 128,
	.config_bytes = 60,
};

static inline void *page_at(uint64_t page)
{
	return arch_page(phys_at(page));
}

static inline uint64_t make_platform(void)
{
	uint64_t handle = 0;

	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(100), 1, &handle), BULKHEAD_OK);
	for (int i = 0; i < 12; i++)
		assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(101 + i), 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, 0, 2048, 0), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_PLATFORM_CREATE, handle, PLATFORM, 0, 0), BULKHEAD_OK);
	return handle;
}

static inline enum bulkhead_error add_device(uint64_t handle, uint64_t slot)
{
	memcpy(page_at(LIST), &description, sizeof(description));
	return call(BULKHEAD_CALL_PLATFORM_DEVICE, handle, slot, LIST, 0);
}

static inline enum bulkhead_error add_relay(uint64_t handle, uint64_t name)
{
	uint64_t *list = page_at(LIST);

	for (unsigned int i = 0; i < BULKHEAD_RELAY_PAGES; i++)
		list[i] = AREA(i);
	return call_all(BULKHEAD_CALL_PLATFORM_RELAY, handle, name, LIST, 0);
}

static inline void add_vcpu(uint64_t handle)
{
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 0, PAGE(120), PAGE(130)), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, PAGE(131), 0), BULKHEAD_OK);
}

/* A sealed guest with a disk, memory for its rings, and one vCPU. */
static inline uint64_t make_running(void)
{
	uint64_t handle = make_platform();

	assert_int_equal(add_device(handle, SLOT), BULKHEAD_OK);
	assert_int_equal(add_relay(handle, SLOT << 8), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(1), 0, 64), BULKHEAD_OK);
	add_vcpu(handle);
	seal(handle);
	return handle;
}

static struct bulkhead_run *run_page(void)
{
	return page_at(PAGE(130));
}

/* The guest's processor: does one access each run. */
static struct {
	bool is_write;
	uint64_t address, value;
	uint32_t size_bytes;
	bool is_answered;
} access;

static inline void one_access(struct vcpu *vcpu)
{
	struct bulkhead_run *run = page_at(vcpu->run_page.value);

	access.is_answered = guest_platform_mmio(vcpu, guest_phys_at(access.address), access.size_bytes,
						 access.is_write, &access.value);
	run->exit = guest_platform_must_exit(vcpu) ? BULKHEAD_RUN_KICK : BULKHEAD_RUN_INTERRUPT;
}

static inline void write_at(uint64_t handle, uint64_t address, uint32_t size_bytes, uint64_t value)
{
	access.is_write = true;
	access.address = address;
	access.size_bytes = size_bytes;
	access.value = value;
	fake_on_run = one_access;
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_OK);
	fake_on_run = NULL;
}

static inline uint64_t read_at(uint64_t handle, uint64_t address, uint32_t size_bytes)
{
	access.is_write = false;
	access.address = address;
	access.size_bytes = size_bytes;
	fake_on_run = one_access;
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_OK);
	fake_on_run = NULL;
	return access.value;
}

static inline uint64_t ecam(uint32_t offset)
{
	return MACHINE_ECAM + (SLOT << 15) + offset;
}

/* A driver's way to DRIVER_OK; the last write tells the monitor. */
static inline void start_driver(uint64_t handle, uint64_t rings)
{
	write_at(handle, ecam(0x10), 4, REGISTERS);
	write_at(handle, ecam(0x14), 4, 0);
	write_at(handle, ecam(0x18), 4, INTERRUPTS);
	write_at(handle, ecam(0x1c), 4, 0);
	write_at(handle, ecam(0x04), 2, 6);
	write_at(handle, REGISTERS + 0x14, 1, 1);
	write_at(handle, REGISTERS + 0x14, 1, 3);
	write_at(handle, REGISTERS + 0x08, 4, 0);
	write_at(handle, REGISTERS + 0x0c, 4, 1u << 9);
	write_at(handle, REGISTERS + 0x08, 4, 1);
	write_at(handle, REGISTERS + 0x0c, 4, 1);
	write_at(handle, REGISTERS + 0x14, 1, 11);
	write_at(handle, REGISTERS + 0x16, 2, 0);
	write_at(handle, REGISTERS + 0x18, 2, 128);
	write_at(handle, REGISTERS + 0x20, 8, rings + DESCRIPTORS);
	write_at(handle, REGISTERS + 0x28, 8, rings + AVAILABLE);
	write_at(handle, REGISTERS + 0x30, 8, rings + USED);
	write_at(handle, REGISTERS + 0x1c, 2, 1);
	write_at(handle, REGISTERS + 0x14, 1, 15);
}

static inline uint8_t *guest_memory(uint64_t address)
{
	return (uint8_t *)page_at(LARGE(1)) + address;
}

struct ring_descriptor {
	uint64_t address;
	uint32_t size_bytes;
	uint16_t flags, next;
};

/* Requests with one buffer of @size_bytes each, all that the device reads, or (@writes) writes. */
static inline void make_requests(uint16_t count, uint32_t size_bytes, bool writes)
{
	struct ring_descriptor *table = (struct ring_descriptor *)guest_memory(DESCRIPTORS);
	uint16_t *available = (uint16_t *)guest_memory(AVAILABLE);

	for (uint16_t i = 0; i < count; i++) {
		table[i] = (struct ring_descriptor){ BUFFER + i * PAGE_BYTES, size_bytes, writes ? 2 : 0, 0 };
		available[2 + (uint16_t)(available[1] + i) % 128] = i;
	}
	available[1] = (uint16_t)(available[1] + count);
}

/* A balloon's inflate queue, with its rings where start_driver() puts them; the deflate queue's lie behind. */
static inline uint64_t make_with_balloon(uint64_t page_count)
{
	static const struct bulkhead_device_description balloon = {
		.type = 5, .class_code = 0xff0000, .queue_count = 2, .queue_size_max = 128,
		.config_bytes = 8, .config_writable_bytes = 8,
	};
	uint64_t handle = make_platform();

	memcpy(page_at(LIST), &balloon, sizeof(balloon));
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_DEVICE, handle, SLOT, LIST, 0), BULKHEAD_OK);
	assert_int_equal(add_relay(handle, SLOT << 8), BULKHEAD_INVALID);
	memcpy(page_at(LIST), &balloon, sizeof(balloon));
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_DEVICE, handle, SLOT + 1, LIST, 0), BULKHEAD_LIMIT);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(1), 0, page_count), BULKHEAD_OK);
	add_vcpu(handle);
	seal(handle);
	write_at(handle, ecam(0x10), 4, REGISTERS);
	write_at(handle, ecam(0x04), 2, 6);
	write_at(handle, REGISTERS + 0x14, 1, 3);
	write_at(handle, REGISTERS + 0x08, 4, 1);
	write_at(handle, REGISTERS + 0x0c, 4, 1);
	write_at(handle, REGISTERS + 0x14, 1, 11);
	for (uint64_t queue = 0; queue < 2; queue++) {
		write_at(handle, REGISTERS + 0x16, 2, queue);
		write_at(handle, REGISTERS + 0x20, 8, RING(8 * queue) + DESCRIPTORS);
		write_at(handle, REGISTERS + 0x28, 8, RING(8 * queue) + AVAILABLE);
		write_at(handle, REGISTERS + 0x30, 8, RING(8 * queue) + USED);
		write_at(handle, REGISTERS + 0x1c, 2, 1);
	}
	write_at(handle, REGISTERS + 0x14, 1, 15);
	/* No backend hears of it, and none can be lost. */
	assert_int_equal(run_page()->exit, BULKHEAD_RUN_INTERRUPT);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1), 15);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LOSE, handle, SLOT, 0, 0), BULKHEAD_BAD_STATE);
	return handle;
}

/* One request that puts guest pages into the balloon. */
static inline void inflate(uint32_t first, uint32_t count)
{
	uint32_t *numbers = (uint32_t *)guest_memory(BUFFER);

	for (uint32_t i = 0; i < count; i++)
		numbers[i] = first + i;
	make_requests(1, 4 * count, false);
}

#endif
