/* SPDX-License-Identifier: MIT */
/*
 * Platforms: calls that describe one, a guest's driver that sets a device up, requests that go through the relay to a
 * backend and come back, resets, and the end of it all.
 */
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

static void *page_at(uint64_t page)
{
	return arch_page(phys_at(page));
}

static uint64_t make_platform(void)
{
	uint64_t handle = 0;

	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(100), 1, &handle), BULKHEAD_OK);
	for (int i = 0; i < 12; i++)
		assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(101 + i), 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, 0, 2048, 0), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_PLATFORM_CREATE, handle, PLATFORM, 0, 0), BULKHEAD_OK);
	return handle;
}

static enum bulkhead_error add_device(uint64_t handle, uint64_t slot)
{
	memcpy(page_at(LIST), &description, sizeof(description));
	return call(BULKHEAD_CALL_PLATFORM_DEVICE, handle, slot, LIST, 0);
}

static enum bulkhead_error add_relay(uint64_t handle, uint64_t name)
{
	uint64_t *list = page_at(LIST);

	for (unsigned int i = 0; i < BULKHEAD_RELAY_PAGES; i++)
		list[i] = AREA(i);
	return call(BULKHEAD_CALL_PLATFORM_RELAY, handle, name, LIST, 0);
}

static void add_vcpu(uint64_t handle)
{
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 0, PAGE(120), PAGE(130)), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, PAGE(131), 0), BULKHEAD_OK);
}

/* A sealed guest with a disk, memory for its rings, and one vCPU. */
static uint64_t make_running(void)
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

static void one_access(struct vcpu *vcpu)
{
	struct bulkhead_run *run = page_at(vcpu->run_page.value);

	access.is_answered = guest_platform_mmio(vcpu, guest_phys_at(access.address), access.size_bytes,
						 access.is_write, &access.value);
	run->exit = guest_platform_must_exit(vcpu) ? BULKHEAD_RUN_KICK : BULKHEAD_RUN_INTERRUPT;
}

static void write_at(uint64_t handle, uint64_t address, uint32_t size_bytes, uint64_t value)
{
	access.is_write = true;
	access.address = address;
	access.size_bytes = size_bytes;
	access.value = value;
	fake_on_run = one_access;
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_OK);
	fake_on_run = NULL;
}

static uint64_t read_at(uint64_t handle, uint64_t address, uint32_t size_bytes)
{
	access.is_write = false;
	access.address = address;
	access.size_bytes = size_bytes;
	fake_on_run = one_access;
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_OK);
	fake_on_run = NULL;
	return access.value;
}

static uint64_t ecam(uint32_t offset)
{
	return MACHINE_ECAM + (SLOT << 15) + offset;
}

/* A driver's way to DRIVER_OK; the last write tells the monitor. */
static void start_driver(uint64_t handle, uint64_t rings)
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

static uint8_t *guest_memory(uint64_t address)
{
	return (uint8_t *)page_at(LARGE(1)) + address;
}

struct ring_descriptor {
	uint64_t address;
	uint32_t size_bytes;
	uint16_t flags, next;
};

/* Requests with one buffer of @size_bytes each, all that the device reads, or (@writes) writes. */
static void make_requests(uint16_t count, uint32_t size_bytes, bool writes)
{
	struct ring_descriptor *table = (struct ring_descriptor *)guest_memory(DESCRIPTORS);
	uint16_t *available = (uint16_t *)guest_memory(AVAILABLE);

	for (uint16_t i = 0; i < count; i++) {
		table[i] = (struct ring_descriptor){ BUFFER + i * PAGE_BYTES, size_bytes, writes ? 2 : 0, 0 };
		available[2 + (uint16_t)(available[1] + i) % 128] = i;
	}
	available[1] = (uint16_t)(available[1] + count);
}

/* A backend completes @count requests in the order they came; it wrote @written bytes into each. */
static void complete(uint16_t count, uint32_t written)
{
	const uint16_t *available = page_at(AREA(1));
	uint16_t *used = page_at(AREA(2));

	for (uint16_t i = 0; i < count; i++) {
		uint16_t at = (uint16_t)(used[1] % 256);
		uint32_t *entry = (uint32_t *)(used + 2) + 2 * at;

		entry[0] = available[2 + at];
		entry[1] = written;
		used[1]++;
	}
}

static void creation_checks_and_measures(void **state)
{
	uint64_t handle, value, records;

	(void)state;
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CREATE, 77, PLATFORM, 0, 0), BULKHEAD_NO_GUEST);
	handle = make_platform();
	records = guest_of(handle)->measurement.record_count;
	assert_int_equal(records, 3);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CREATE, handle, PLATFORM, 0, 0), BULKHEAD_OCCUPIED);
	assert_int_equal(call2(BULKHEAD_CALL_STATUS, LIST, 0, &value), BULKHEAD_OK);
	assert_int_equal(((struct bulkhead_status *)page_at(LIST))->platform_pages, GUEST_PLATFORM_PAGES);
	assert_true(((struct bulkhead_status *)page_at(LIST))->tsc_khz > 0);
	for (unsigned int i = 0; i < GUEST_PLATFORM_PAGES; i++)
		assert_int_equal(frame_of(&core.frames, phys_at(PLATFORM + i * PAGE_BYTES))->state, FRAME_VCPU);
}

static void creation_resumes_and_holds_others_off(void **state)
{
	uint64_t handle = make_guest(), second = 0;

	(void)state;
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CREATE, handle, PLATFORM, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(200), 1, &second), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CREATE, second, PLATFORM + 1, 0, 0), BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CREATE, second, LARGE(4) - PAGE_BYTES, 0, 0),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CREATE, second, PLATFORM, 0, 0), BULKHEAD_AGAIN);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CREATE, second, LARGE(5), 0, 0), BULKHEAD_BUSY);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, second, 0, PAGE(220), PAGE(230)), BULKHEAD_BUSY);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BLOB, second, 0, 16, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SEAL, second, 0, 0, 0), BULKHEAD_BUSY);
	/* Nobody can reach the pages in between, and the end gives them back. */
	assert_false(calls_service_write(VIEWER_CPU0, phys_at(PLATFORM), 1));
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, second, 0, 0, 0), BULKHEAD_OK);
	assert_true(calls_service_write(VIEWER_CPU0, phys_at(PLATFORM), 1));
}

static void a_blob_lies_in_declared_memory(void **state)
{
	uint64_t handle = make_platform();

	(void)state;
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BLOB, handle, 8, 16, 0), BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BLOB, handle, 0, 16, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BLOB, handle, 16, 0, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BLOB, handle, 16, (16 << 20) + 1, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BLOB, handle, 1ull << 40, 16, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BLOB, handle, (8 << 20) - 16, 17, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BLOB, handle, (8 << 20) - 16, 16, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BLOB, handle, 16, 16, 0), BULKHEAD_OCCUPIED);
	assert_int_equal(guest_of(handle)->measurement.record_count, 4);
}

static void missing_tables_refuse_a_platform_and_change_nothing(void **state)
{
	uint64_t handle = 0;

	(void)state;
	fake_start(RESERVED_TABLES + 1);
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(100), 1, &handle), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CREATE, handle, PLATFORM, 0, 0), BULKHEAD_NO_TABLES);
	assert_true(calls_service_write(VIEWER_CPU0, phys_at(PLATFORM), 1));
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, 0, PAGE(0), 0, 0), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_PLATFORM_CREATE, handle, PLATFORM, 0, 0), BULKHEAD_OK);
}

/* A vCPU's accesses where no platform is: the monitor's to answer. */
static void without_a_platform_nothing_is_there(void **state)
{
	struct vcpu *vcpu = &guest_of(make_guest())->vcpus[0];
	uint64_t value = 0;
	uint32_t narrow = 0;

	(void)state;
	assert_false(guest_platform_mmio(vcpu, guest_phys_at(MACHINE_LAPIC), 4, false, &value));
	assert_false(guest_platform_port(vcpu, 0xcf8, 4, false, &narrow));
	assert_false(guest_platform_must_exit(vcpu));
	assert_false(guest_platform_resume(vcpu));
}

static void a_vcpu_reads_its_own_local_apic(void **state)
{
	uint64_t handle = make_running();

	(void)state;
	assert_int_equal(read_at(handle, MACHINE_LAPIC + 0x30, 4) & 0xff, 0x14);
	assert_true(access.is_answered);
}

static void descriptions_are_checked(void **state)
{
	static const struct {
		size_t offset;
		uint32_t value;
	} wrong[] = {
		{ offsetof(struct bulkhead_device_description, type), 0 },
		{ offsetof(struct bulkhead_device_description, type), 64 },
		{ offsetof(struct bulkhead_device_description, class_code), 1u << 24 },
		{ offsetof(struct bulkhead_device_description, features), 1u << 24 },
		{ offsetof(struct bulkhead_device_description, features) + 4, 1u << 2 },
		{ offsetof(struct bulkhead_device_description, queue_count), 0 },
		{ offsetof(struct bulkhead_device_description, queue_count), 9 },
		{ offsetof(struct bulkhead_device_description, queue_size_max), 0 },
		{ offsetof(struct bulkhead_device_description, queue_size_max), 96 },
		{ offsetof(struct bulkhead_device_description, queue_size_max), 256 },
		{ offsetof(struct bulkhead_device_description, config_bytes), 257 },
		{ offsetof(struct bulkhead_device_description, config_writable_bytes), 61 },
	};
	uint64_t handle = make_platform();

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		memcpy(page_at(LIST), &description, sizeof(description));
		memcpy((uint8_t *)page_at(LIST) + wrong[i].offset, &wrong[i].value, 4);
		assert_int_equal(call(BULKHEAD_CALL_PLATFORM_DEVICE, handle, SLOT, LIST, 0), BULKHEAD_INVALID);
	}
	assert_int_equal(add_device(handle, 0), BULKHEAD_INVALID);
	assert_int_equal(add_device(handle, 32), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_DEVICE, handle, 1, PLATFORM, 0), BULKHEAD_NOT_OWNED);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(add_device(handle, 30 - i), BULKHEAD_OK);
	assert_int_equal(add_device(handle, 30), BULKHEAD_OCCUPIED);
	assert_int_equal(add_device(handle, 31), BULKHEAD_OCCUPIED); /* the chipset's */
	assert_int_equal(add_device(handle, 1), BULKHEAD_LIMIT);
	assert_int_equal(guest_of(handle)->measurement.record_count, 11);
}

static void a_relay_pins_all_its_pages_or_none(void **state)
{
	uint64_t handle = make_platform(), *list = page_at(LIST);

	(void)state;
	assert_int_equal(add_relay(handle, SLOT << 8), BULKHEAD_INVALID);
	assert_int_equal(add_device(handle, SLOT), BULKHEAD_OK);
	assert_int_equal(add_relay(handle, SLOT << 8 | 1), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELAY, handle, SLOT << 8, PLATFORM, 0), BULKHEAD_NOT_OWNED);
	(void)add_relay(handle, 0);
	list[258] = PLATFORM;
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELAY, handle, SLOT << 8, LIST, 0), BULKHEAD_NOT_OWNED);
	list[258] = AREA(258) + 8;
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELAY, handle, SLOT << 8, LIST, 0), BULKHEAD_BAD_ADDRESS);
	assert_int_equal(frame_of(&core.frames, phys_at(AREA(0)))->pins, 0);
	assert_int_equal(frame_of(&core.frames, phys_at(AREA(257)))->pins, 0);
	assert_int_equal(add_relay(handle, SLOT << 8), BULKHEAD_OK);
	assert_int_equal(frame_of(&core.frames, phys_at(AREA(258)))->pins, 1);
	assert_int_equal(add_relay(handle, SLOT << 8), BULKHEAD_OCCUPIED);
	/* A pinned page is not given away. */
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, AREA(0), 0, 1), BULKHEAD_NOT_OWNED);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(frame_of(&core.frames, phys_at(AREA(0)))->pins, 0);
	assert_int_equal(frame_of(&core.frames, phys_at(AREA(258)))->pins, 0);
}

static void sixteen_areas_exist(void **state)
{
	uint64_t handle = make_platform();

	(void)state;
	description.queue_count = 8;
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(add_device(handle, i), BULKHEAD_OK);
	description.queue_count = 1;
	for (unsigned int i = 0; i < 16; i++)
		assert_int_equal(add_relay(handle, (1 + i / 8) << 8 | i % 8), BULKHEAD_OK);
	assert_int_equal(add_relay(handle, 3 << 8), BULKHEAD_LIMIT);
	assert_int_equal(frame_of(&core.frames, phys_at(AREA(7)))->pins, 16);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(frame_of(&core.frames, phys_at(AREA(7)))->pins, 0);
}

static void states_are_kept_apart(void **state)
{
	uint64_t handle = make_guest(), sealed;

	(void)state;
	assert_int_equal(add_device(handle, 1), BULKHEAD_BAD_STATE);
	assert_int_equal(add_relay(handle, 1 << 8), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CONFIG, handle, 1, LIST, 60), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LINE, handle, 4, 1, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BACKEND, handle, 1 << 8, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELEASE, handle, 1, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LOSE, handle, 1, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	for (unsigned int number = BULKHEAD_CALL_PLATFORM_CREATE; number <= BULKHEAD_CALL_PLATFORM_LOSE; number++)
		assert_int_equal(call(number, handle, 0, 0, 0), BULKHEAD_NO_GUEST);
	sealed = make_running();
	assert_int_equal(add_device(sealed, 1), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELEASE, sealed, SLOT, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELEASE, sealed, 9, 0, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LOSE, sealed, SLOT, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LOSE, sealed, 9, 0, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BACKEND, sealed, 9 << 8, 0, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BACKEND, sealed, SLOT << 8 | 1, 0, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LINE, sealed, 5, 1, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LINE, sealed, 4, 2, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LINE, sealed, 4, 1, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CONFIG, sealed, SLOT, LIST, 59), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CONFIG, sealed, SLOT, LARGE(1), 60), BULKHEAD_NOT_OWNED);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CONFIG, sealed, SLOT, LIST, 60), BULKHEAD_OK);
}

static void a_driver_finds_its_device(void **state)
{
	uint64_t handle = make_running();

	(void)state;
	assert_int_equal(read_at(handle, MACHINE_ECAM, 4), 0x29c08086);
	assert_int_equal(read_at(handle, ecam(0), 4), 0x10421af4);
	assert_int_equal(read_at(handle, MACHINE_ECAM + (4 << 15), 4), 0xffffffff);
	assert_int_equal(read_at(handle, MACHINE_PCI_HOLE, 4), UINT64_MAX);
	assert_true(access.is_answered);
	(void)read_at(handle, 0x80000000, 4);
	assert_false(access.is_answered);
	start_driver(handle, 0);
	assert_int_equal(run_page()->exit, BULKHEAD_RUN_DEVICE);
	assert_int_equal(run_page()->event, BULKHEAD_DEVICE_START);
	assert_int_equal(run_page()->slot, SLOT);
	assert_int_equal(run_page()->queues, 1);
	assert_int_equal(run_page()->features, 1ull << 32 | 1u << 9);
}

static void requests_reach_the_backend_and_come_back(void **state)
{
	uint64_t handle = make_running(), effects;

	(void)state;
	start_driver(handle, 0);
	memset(guest_memory(BUFFER), 0x5a, 2 * PAGE_BYTES);
	make_requests(2, 4096, false);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(run_page()->exit, BULKHEAD_RUN_KICK);
	assert_int_equal(run_page()->doorbells, 1);
	assert_int_equal(((uint16_t *)page_at(AREA(1)))[1], 2);
	assert_int_equal(*(uint8_t *)page_at(AREA(3)), 0x5a);
	complete(2, 0);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_BACKEND, handle, SLOT << 8, &effects), BULKHEAD_OK);
	assert_int_equal(((uint16_t *)guest_memory(USED))[1], 2);

	make_requests(1, 512, true);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	memset(page_at(AREA(3)), 0x77, PAGE_BYTES);
	memset(page_at(AREA(4)), 0x77, PAGE_BYTES);
	complete(1, 512);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_BACKEND, handle, SLOT << 8, &effects), BULKHEAD_OK);
	assert_int_equal(guest_memory(BUFFER)[0], 0x77);
	assert_int_equal(guest_memory(BUFFER)[511], 0x77);
	assert_int_equal(guest_memory(BUFFER)[512], 0x5a);
}

static void long_work_goes_on_at_the_next_run(void **state)
{
	uint64_t handle = make_running();
	unsigned int runs = 0;

	(void)state;
	start_driver(handle, 0);
	make_requests(40, 4096, false);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	while (((uint16_t *)page_at(AREA(1)))[1] < 40) {
		uint64_t entered = fake_counters.runs;

		run_page()->exit = 0;
		assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_OK);
		/* The run ended with the work: the guest was not entered. */
		assert_int_equal(run_page()->exit, BULKHEAD_RUN_KICK);
		assert_int_equal(fake_counters.runs, entered);
		assert_true(++runs < 40);
	}
	assert_true(runs >= 2);
}

static void a_lying_backend_breaks_its_device_only(void **state)
{
	uint64_t handle = make_running(), effects;

	(void)state;
	start_driver(handle, 0);
	make_requests(1, 512, true);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	complete(1, 513);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_BACKEND, handle, SLOT << 8, &effects), BULKHEAD_OK);
	assert_int_equal(((uint16_t *)guest_memory(USED))[1], 0);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1), 15 | 64);
	/* And stays so, whatever comes. */
	complete(1, 0);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_BACKEND, handle, SLOT << 8, &effects), BULKHEAD_OK);
	assert_int_equal(((uint16_t *)guest_memory(USED))[1], 0);
}

static void a_reset_is_done_when_the_backend_let_go(void **state)
{
	uint64_t handle = make_running(), effects;

	(void)state;
	start_driver(handle, 0);
	make_requests(1, 512, true);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	write_at(handle, REGISTERS + 0x14, 1, 0);
	assert_int_equal(run_page()->exit, BULKHEAD_RUN_DEVICE);
	assert_int_equal(run_page()->event, BULKHEAD_DEVICE_RESET);
	assert_int_not_equal(read_at(handle, REGISTERS + 0x14, 1), 0);
	write_at(handle, REGISTERS + 0x14, 1, 1);
	/* What the backend still does reaches nobody. */
	complete(1, 512);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_BACKEND, handle, SLOT << 8, &effects), BULKHEAD_OK);
	assert_int_equal(((uint16_t *)guest_memory(USED))[1], 0);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_RELEASE, handle, SLOT, &effects), BULKHEAD_OK);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1), 0);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_RELEASE, handle, SLOT, &effects), BULKHEAD_BAD_STATE);
	memset(guest_memory(AVAILABLE), 0, PAGE_BYTES);
	start_driver(handle, 0);
	assert_int_equal(run_page()->event, BULKHEAD_DEVICE_START);
	assert_int_equal(((uint16_t *)page_at(AREA(2)))[1], 0);
}

static void a_lost_backend_is_told_and_another_takes_over(void **state)
{
	uint64_t handle = make_running(), effects;

	(void)state;
	start_driver(handle, 0);
	make_requests(1, 512, true);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_LOSE, handle, SLOT, &effects), BULKHEAD_OK);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1), 15 | 64);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_LOSE, handle, SLOT, &effects), BULKHEAD_OK);
	/* What the lost one still does reaches nobody; the guest's requests wait for nobody. */
	complete(1, 512);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_BACKEND, handle, SLOT << 8, &effects), BULKHEAD_OK);
	assert_int_equal(((uint16_t *)guest_memory(USED))[1], 0);
	make_requests(1, 512, true);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(run_page()->exit, BULKHEAD_RUN_INTERRUPT);
	/* Reset, and started again. */
	write_at(handle, REGISTERS + 0x14, 1, 0);
	assert_int_equal(run_page()->event, BULKHEAD_DEVICE_RESET);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_LOSE, handle, SLOT, &effects), BULKHEAD_BAD_STATE);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_RELEASE, handle, SLOT, &effects), BULKHEAD_OK);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1), 0);
	memset(guest_memory(AVAILABLE), 0, PAGE_BYTES);
	start_driver(handle, 0);
	make_requests(1, 512, true);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	complete(1, 512);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_BACKEND, handle, SLOT << 8, &effects), BULKHEAD_OK);
	assert_int_equal(((uint16_t *)guest_memory(USED))[1], 1);
}

static void work_for_a_lost_backend_ends(void **state)
{
	uint64_t handle = make_running(), effects;

	(void)state;
	start_driver(handle, 0);
	make_requests(20, 4096, false); /* more than one step copies */
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(run_page()->exit, BULKHEAD_RUN_KICK);
	assert_int_not_equal(guest_of(handle)->platform->platform.waiting, 0);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_LOSE, handle, SLOT, &effects), BULKHEAD_OK);
	assert_int_equal(guest_of(handle)->platform->platform.waiting, 0);
}

static void rings_outside_memory_break_the_device(void **state)
{
	uint64_t handle = make_running();

	(void)state;
	start_driver(handle, 1ull << 41);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1) & 64, 0);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1) & 64, 64);
	write_at(handle, REGISTERS + 0x14, 1, 0);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELEASE, handle, SLOT, 0, 0), BULKHEAD_OK);
	/* Not aligned: refused before any backend hears of it, and a reset is done at once. */
	start_driver(handle, 1);
	assert_int_equal(run_page()->exit, BULKHEAD_RUN_INTERRUPT);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1) & 64, 64);
	write_at(handle, REGISTERS + 0x14, 1, 0);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1), 0);
}

/* A balloon's inflate queue, with its rings where start_driver() puts them; the deflate queue's lie behind. */
static uint64_t make_with_balloon(uint64_t page_count)
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
static void inflate(uint32_t first, uint32_t count)
{
	uint32_t *numbers = (uint32_t *)guest_memory(BUFFER);

	for (uint32_t i = 0; i < count; i++)
		numbers[i] = first + i;
	make_requests(1, 4 * count, false);
}

/* One request that takes guest pages out of the balloon. */
static void deflate(uint32_t first, uint32_t count)
{
	uint16_t *available = (uint16_t *)guest_memory(RING(8) + AVAILABLE);
	struct ring_descriptor *table = (struct ring_descriptor *)guest_memory(RING(8) + DESCRIPTORS);
	uint32_t *numbers = (uint32_t *)guest_memory(RING(12));

	for (uint32_t i = 0; i < count; i++)
		numbers[i] = first + i;
	table[0] = (struct ring_descriptor){ RING(12), 4 * count, 0, 0 };
	available[2 + available[1] % 128] = 0;
	available[1]++;
}

static void what_a_guest_gives_up_comes_back_cleared(void **state)
{
	uint64_t handle = make_with_balloon(64);

	(void)state;
	memset(guest_memory(RING(20)), 0x5a, 20 * PAGE_BYTES);
	inflate(20, 20);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	/* A step's worth, told by the run page; those pages are nobody's until they are taken back. */
	assert_int_equal(run_page()->exit, BULKHEAD_RUN_KICK);
	assert_in_range(run_page()->given_up_count, 15, 16);
	assert_true(run_page()->given_up[0] == RING(20));
	assert_int_equal(((uint16_t *)guest_memory(USED))[1], 0);
	assert_false(calls_service_write(VIEWER_CPU0, phys_at(LARGE(1) + RING(20)), 1));
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RECLAIM, LARGE(1) + RING(20), 1, 0, 0), BULKHEAD_OK);
	assert_true(calls_service_write(VIEWER_CPU0, phys_at(LARGE(1) + RING(20)), 1));
	assert_int_equal(guest_memory(RING(20))[8], 0);
	/* The rest at the next run; then the guest hears that it is done. */
	(void)read_at(handle, REGISTERS + 0x14, 1);
	assert_in_range(run_page()->given_up_count, 4, 5);
	assert_int_equal(((uint16_t *)guest_memory(USED))[1], 1);
	(void)read_at(handle, REGISTERS + 0x14, 1);
	assert_int_equal(run_page()->given_up_count, 0);
	/* Not everything can be given up: what is no memory, and what has gone already. */
	inflate(39, 2);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(run_page()->given_up_count, 1);
	assert_true(run_page()->given_up[0] == RING(40));
	/* What is taken out is usable once it is filled again, with zeros. */
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RECLAIM, LARGE(1) + RING(21), 1, 0, 0), BULKHEAD_OK);
	deflate(20, 2);
	write_at(handle, REGISTERS + 0x3004, 2, 0);
	assert_int_equal(run_page()->wanted_count, 2);
	assert_true(run_page()->wanted[1] == RING(21));
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(1) + RING(20), RING(20), 2), BULKHEAD_OK);
	(void)read_at(handle, REGISTERS + 0x14, 1);
	assert_int_equal(run_page()->wanted_count, 0);
	assert_int_equal(((uint16_t *)guest_memory(RING(8) + USED))[1], 1);
	/* What is no memory is not waited for. */
	deflate(1u << 30, 2);
	write_at(handle, REGISTERS + 0x3004, 2, 0);
	assert_int_equal(run_page()->wanted_count, 0);
	assert_int_equal(((uint16_t *)guest_memory(RING(8) + USED))[1], 2);
}

static void a_balloon_waits_for_tables_and_forgets_at_a_reset(void **state)
{
	uint64_t handle = make_with_balloon(512); /* one large page: to give a part up takes a table */

	(void)state;
	while (call(BULKHEAD_CALL_GUEST_REFUND, handle, 0, 0, 0) == BULKHEAD_OK)
		;
	inflate(200, 2);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(run_page()->tables, 1);
	assert_int_equal(run_page()->given_up_count, 0);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(150), 0, 0), BULKHEAD_OK);
	(void)read_at(handle, REGISTERS + 0x14, 1);
	assert_int_equal(run_page()->tables, 0);
	assert_int_equal(run_page()->given_up_count, 2);
	/* A request in the middle of its work is forgotten by a reset, which no backend holds up. */
	inflate(210, 40);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_not_equal(guest_of(handle)->platform->platform.waiting, 0);
	write_at(handle, REGISTERS + 0x14, 1, 0);
	(void)read_at(handle, REGISTERS + 0x14, 1);
	(void)read_at(handle, REGISTERS + 0x14, 1);
	write_at(handle, REGISTERS + 0x14, 1, 0);
	assert_int_equal(guest_of(handle)->platform->platform.waiting, 0);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1), 0);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
}

static void the_power_button_interrupts_until_it_is_acknowledged(void **state)
{
	uint64_t handle = make_running(), effects;
	struct platform *platform = &guest_of(handle)->platform->platform;
	uint32_t value;

	(void)state;
	/* The power management's line as message to the first processor, level-triggered. */
	assert_true(platform_mmio_write(platform, MACHINE_IOAPIC, 4, 0x10 + 2 * MACHINE_SCI));
	assert_true(platform_mmio_write(platform, MACHINE_IOAPIC + 0x10, 4, 1u << 15 | 0x41));
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_LINE, handle, MACHINE_SCI, &effects), BULKHEAD_OK);
	assert_true(platform_port_write(platform, MACHINE_PM_EVENT + 2, 2, 0x100));
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LINE, handle, MACHINE_SCI, 1, 0), BULKHEAD_OK);
	assert_true(chipset_power_line(&platform->chipset));
	/* Nobody but the guest takes it away. */
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LINE, handle, MACHINE_SCI, 0, 0), BULKHEAD_OK);
	assert_true(chipset_power_line(&platform->chipset));
	assert_true(platform_port_read(platform, MACHINE_PM_EVENT, 2, &value));
	assert_int_equal(value & 0xffff, 0x100);
	assert_true(platform_port_write(platform, MACHINE_PM_EVENT, 2, 0x100));
	assert_false(chipset_power_line(&platform->chipset));
}

static void the_end_gives_everything_back(void **state)
{
	uint64_t handle = make_running();

	(void)state;
	start_driver(handle, 0);
	make_requests(2, 4096, false);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(core.frames.count[FRAME_VCPU], 0);
	assert_int_equal(core.frames.count[FRAME_GUEST], 0);
	assert_int_equal(core.frames.count[FRAME_NOBODY], 0);
	for (unsigned int i = 0; i < GUEST_PLATFORM_PAGES; i++)
		for (unsigned int word = 0; word < 512; word++)
			assert_int_equal(((uint64_t *)page_at(PLATFORM + i * PAGE_BYTES))[word], 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(creation_checks_and_measures),
		TEST(creation_resumes_and_holds_others_off),
		TEST(a_blob_lies_in_declared_memory),
		TEST(missing_tables_refuse_a_platform_and_change_nothing),
		TEST(without_a_platform_nothing_is_there),
		TEST(a_vcpu_reads_its_own_local_apic),
		TEST(descriptions_are_checked),
		TEST(a_relay_pins_all_its_pages_or_none),
		TEST(sixteen_areas_exist),
		TEST(states_are_kept_apart),
		TEST(a_driver_finds_its_device),
		TEST(requests_reach_the_backend_and_come_back),
		TEST(long_work_goes_on_at_the_next_run),
		TEST(a_lying_backend_breaks_its_device_only),
		TEST(a_reset_is_done_when_the_backend_let_go),
		TEST(a_lost_backend_is_told_and_another_takes_over),
		TEST(work_for_a_lost_backend_ends),
		TEST(rings_outside_memory_break_the_device),
		TEST(what_a_guest_gives_up_comes_back_cleared),
		TEST(a_balloon_waits_for_tables_and_forgets_at_a_reset),
		TEST(the_power_button_interrupts_until_it_is_acknowledged),
		TEST(the_end_gives_everything_back),
	};

	return cmocka_run_group_tests_name("core-platform", tests, NULL, NULL);
}
