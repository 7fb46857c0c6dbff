/* SPDX-License-Identifier: MIT */
/*
 * Platforms: calls that describe one, a guest's driver that sets a device up, requests that go through the relay to a
 * backend and come back, resets, and the end of it all.
 */
#include "core_platform_fixture.h"

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
	/* Behind its page nothing is. */
	assert_int_equal(read_at(handle, MACHINE_LAPIC + PAGE_BYTES, 4) & 0xffffffff, 0xffffffff);
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

static uint16_t area_pins(unsigned int number)
{
	return frame_of(&core.frames, phys_at(AREA(number)))->pins;
}

static void a_relay_pins_its_pages_step_by_step(void **state)
{
	uint64_t handle = make_platform(), *list = page_at(LIST);

	(void)state;
	assert_int_equal(add_relay(handle, SLOT << 8), BULKHEAD_INVALID);
	assert_int_equal(add_device(handle, SLOT), BULKHEAD_OK);
	assert_int_equal(add_relay(handle, SLOT << 8 | 1), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELAY, handle, SLOT << 8, PLATFORM, 0), BULKHEAD_NOT_OWNED);
	(void)add_relay(handle, 0);
	/* A step pins all its pages or none, and those before it stay. */
	list[63] = PLATFORM;
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELAY, handle, SLOT << 8, LIST, 0), BULKHEAD_NOT_OWNED);
	list[63] = AREA(63) + 8;
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELAY, handle, SLOT << 8, LIST, 0), BULKHEAD_BAD_ADDRESS);
	assert_int_equal(area_pins(0), 0);
	assert_int_equal(area_pins(62), 0);
	list[63] = AREA(63);
	list[64] = PLATFORM;
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELAY, handle, SLOT << 8, LIST, 0), BULKHEAD_AGAIN);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELAY, handle, SLOT << 8, LIST, 0), BULKHEAD_NOT_OWNED);
	assert_int_equal(area_pins(0), 1);
	assert_int_equal(area_pins(63), 1);
	assert_int_equal(area_pins(65), 0);
	assert_int_equal(add_relay(handle, SLOT << 8), BULKHEAD_OK);
	assert_int_equal(area_pins(0), 1);
	assert_int_equal(area_pins(258), 1);
	assert_int_equal(add_relay(handle, SLOT << 8), BULKHEAD_OCCUPIED);
	/* A pinned page is not given away. */
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, AREA(0), 0, 1), BULKHEAD_NOT_OWNED);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	for (unsigned int i = 0; i < BULKHEAD_RELAY_PAGES; i++)
		assert_int_equal(area_pins(i), 0);
}

static void an_unfinished_relay_lets_go_with_its_guest(void **state)
{
	uint64_t handle = make_platform();

	(void)state;
	assert_int_equal(add_device(handle, SLOT), BULKHEAD_OK);
	(void)add_relay(handle, 0);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELAY, handle, SLOT << 8, LIST, 0), BULKHEAD_AGAIN);
	assert_int_equal(area_pins(63), 1);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(area_pins(i), 0);
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

/** The guest's processor, which does nothing of its own. */
static void rest(struct vcpu *vcpu)
{
	struct bulkhead_run *run = page_at(vcpu->run_page.value);

	run->exit = BULKHEAD_RUN_INTERRUPT;
}

/** Enters the guest until nothing waits. */
static void run_to_rest(uint64_t handle)
{
	fake_on_run = rest;
	do
		assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_OK);
	while (run_page()->exit == BULKHEAD_RUN_KICK);
	fake_on_run = NULL;
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
	run_to_rest(handle);
	assert_int_equal(guest_of(handle)->platform->platform.waiting, 0);
	assert_int_equal(((uint16_t *)guest_memory(USED))[1], 20);
}

static void what_the_guest_only_gives_a_lost_backend_is_taken(void **state)
{
	uint64_t handle = make_running(), effects;
	uint16_t *used = (uint16_t *)guest_memory(USED), *area = page_at(AREA(1));

	(void)state;
	start_driver(handle, 0);
	make_requests(1, 512, false);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(used[1], 0);
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_LOSE, handle, SLOT, &effects), BULKHEAD_OK);
	run_to_rest(handle);
	assert_int_equal(used[1], 1);
	/* Told again, it is not given back again. */
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_LOSE, handle, SLOT, &effects), BULKHEAD_OK);
	run_to_rest(handle);
	assert_int_equal(used[1], 1);
	/* What comes then is taken when it comes; the relay area is left alone. */
	make_requests(3, 512, false);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(used[1], 4);
	make_requests(1, 512, true);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(used[1], 4);
	assert_int_equal(area[1], 1);
}

static void what_the_guest_only_gives_a_liar_is_taken(void **state)
{
	uint64_t handle = make_running(), effects;
	uint16_t *used = (uint16_t *)guest_memory(USED);

	(void)state;
	start_driver(handle, 0);
	make_requests(2, 512, false);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	complete(200, 0); /* one that it never had */
	assert_int_equal(call2(BULKHEAD_CALL_PLATFORM_BACKEND, handle, SLOT << 8, &effects), BULKHEAD_OK);
	assert_int_equal(read_at(handle, REGISTERS + 0x14, 1), 15 | 64);
	run_to_rest(handle);
	assert_int_equal(used[1], 2);
	make_requests(1, 512, false);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	assert_int_equal(used[1], 3);
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

static void parts_of_a_measurement_do_not_mix(void **state)
{
	uint64_t handle = make_platform();

	(void)state;
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(1), 0, 64), BULKHEAD_AGAIN);
	assert_int_equal(add_device(handle, SLOT), BULKHEAD_BUSY);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BLOB, handle, 16, 16, 0), BULKHEAD_BUSY);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(1), 0, 64), BULKHEAD_OK);
	assert_int_equal(add_device(handle, SLOT), BULKHEAD_OK);
	/* A page whose number does not fit is no page of RAM. */
	(void)add_relay(handle, 0);
	((uint64_t *)page_at(LIST))[0] = 1ull << 45;
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELAY, handle, SLOT << 8, LIST, 0), BULKHEAD_BAD_ADDRESS);
}

static void memory_that_does_not_begin_at_0_is_not_told_by_the_chipset(void **state)
{
	uint64_t handle = make_platform();

	(void)state;
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, 1ull << 32, 512, 0), BULKHEAD_OK);
	add_vcpu(handle);
	seal(handle);
	assert_true(guest_of(handle)->platform->platform.chipset.ram_low_bytes == 8ull << 20);
}

static void a_sealed_guest_without_a_platform_has_no_lines(void **state)
{
	uint64_t handle = make_guest();

	(void)state;
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CONFIG, handle, SLOT, LIST, 60), BULKHEAD_BAD_STATE);
	seal(handle);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LINE, handle, 4, 1, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CONFIG, handle, SLOT, LIST, 60), BULKHEAD_BAD_STATE);
}

static void what_a_device_does_not_have_is_refused(void **state)
{
	uint64_t handle = make_platform();

	(void)state;
	description.queue_count = 2;
	assert_int_equal(add_device(handle, SLOT), BULKHEAD_OK);
	description.queue_count = 1;
	assert_int_equal(add_relay(handle, SLOT << 8), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CONFIG, handle, SLOT, LIST, 60), BULKHEAD_OK);
	add_vcpu(handle);
	seal(handle);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CONFIG, handle, SLOT + 1, LIST, 60), BULKHEAD_INVALID);
	/* The second queue has no relay area. */
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BACKEND, handle, SLOT << 8 | 1, 0, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LINE, handle, 8, 1, 0), BULKHEAD_OK);
}

static void a_backends_call_makes_room_for_more_requests(void **state)
{
	uint64_t handle = make_running(), effects = 0;
	enum bulkhead_error error;
	bool kicks = false, goes_on = false;

	(void)state;
	start_driver(handle, 0);
	for (unsigned int round = 0; round < 4; round++) {
		make_requests(60, PAGE_BYTES, true);
		write_at(handle, REGISTERS + 0x3000, 2, 0);
		for (unsigned int i = 0; i < 40; i++)
			(void)read_at(handle, REGISTERS + 0x14, 1);
	}
	make_requests(60, PAGE_BYTES, true);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	/* The area is full: what waits goes on when the backend has done some. */
	complete(200, PAGE_BYTES);
	do {
		error = call2(BULKHEAD_CALL_PLATFORM_BACKEND, handle, SLOT << 8, &effects);
		kicks |= effects & BULKHEAD_EFFECT_KICK_BACKEND;
		goes_on |= error == BULKHEAD_AGAIN;
	} while (error == BULKHEAD_AGAIN);
	assert_int_equal(error, BULKHEAD_OK);
	assert_true(goes_on);
	assert_true(kicks);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(parts_of_a_measurement_do_not_mix),
		TEST(memory_that_does_not_begin_at_0_is_not_told_by_the_chipset),
		TEST(a_sealed_guest_without_a_platform_has_no_lines),
		TEST(what_a_device_does_not_have_is_refused),
		TEST(a_backends_call_makes_room_for_more_requests),
		TEST(creation_checks_and_measures),
		TEST(creation_resumes_and_holds_others_off),
		TEST(a_blob_lies_in_declared_memory),
		TEST(missing_tables_refuse_a_platform_and_change_nothing),
		TEST(without_a_platform_nothing_is_there),
		TEST(a_vcpu_reads_its_own_local_apic),
		TEST(descriptions_are_checked),
		TEST(a_relay_pins_its_pages_step_by_step),
		TEST(an_unfinished_relay_lets_go_with_its_guest),
		TEST(sixteen_areas_exist),
		TEST(states_are_kept_apart),
		TEST(a_driver_finds_its_device),
		TEST(requests_reach_the_backend_and_come_back),
		TEST(long_work_goes_on_at_the_next_run),
		TEST(a_lying_backend_breaks_its_device_only),
		TEST(a_reset_is_done_when_the_backend_let_go),
		TEST(a_lost_backend_is_told_and_another_takes_over),
		TEST(work_for_a_lost_backend_ends),
		TEST(what_the_guest_only_gives_a_lost_backend_is_taken),
		TEST(what_the_guest_only_gives_a_liar_is_taken),
		TEST(rings_outside_memory_break_the_device),
		TEST(the_power_button_interrupts_until_it_is_acknowledged),
		TEST(the_end_gives_everything_back),
	};

	return cmocka_run_group_tests_name("core-platform", tests, NULL, NULL);
}
