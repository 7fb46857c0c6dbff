/* SPDX-License-Identifier: MIT */
/* AMD-Vi against a unit that keeps stale translations: take-over, containment, flush, events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../core/log.h"
#include "amd/amdvi.h"
#include "fake_amdvi.h"

#define LEAF  ((1ull << 62) | (1ull << 61) | 7)
#define TABLE(next) (LEAF | (uint64_t)(next) << 9)
/* The tables of the one address space, behind the unit's own memory. */
#define ROOT  (FAKE_MEMORY + 0x600000)

static struct iommu iommu;

static void set_entry(uint64_t table, uint32_t index, uint64_t value)
{
	memcpy(fake_pointer(table + index * 8u, 8), &value, 8);
}

/* Pages 1..511 of memory map to themselves; 2 MiB at 2 MiB too; nothing else does. */
static void build_tables(void)
{
	set_entry(ROOT, 0, (ROOT + 0x1000) | TABLE(3));
	set_entry(ROOT + 0x1000, 0, (ROOT + 0x2000) | TABLE(2));
	set_entry(ROOT + 0x2000, 0, (ROOT + 0x3000) | TABLE(1));
	set_entry(ROOT + 0x2000, 1, 0x200000 | LEAF);
	for (uint32_t i = 1; i < 512; i++)
		set_entry(ROOT + 0x3000, i, i * 0x1000u | LEAF);
}

static void find_unit(void)
{
	struct acpi_ivrs ivrs = {
		.unit_count = 1,
		.units = {{.base = FAKE_BASE, .flags = 0x20}},
	};

	memset(&iommu, 0, sizeof(iommu));
	assert_int_equal(amdvi_find(&iommu, &ivrs), IOMMU_OK);
}

static enum iommu_result start(void)
{
	struct iommu_memory memory = {fake.memory, FAKE_MEMORY, iommu_memory_bytes(&iommu)};

	return iommu_start(&iommu, &fake_access, &memory, ROOT, 4);
}

static int started(void **state)
{
	fake_reset();
	find_unit();
	build_tables();
	return start() == IOMMU_OK ? 0 : -1;
}

static int not_started(void **state)
{
	fake_reset();
	find_unit();
	build_tables();
	return 0;
}

static bool reaches(uint16_t device, uint64_t address, bool is_write)
{
	uint64_t target;

	return fake_dma(device, address, is_write, &target) && target == address;
}

static void every_device_id_is_translated_by_the_one_table(void **state)
{
	for (uint32_t device = 0; device < AMDVI_DEVICES; device++) {
		uint64_t target;

		if (device % 200 == 0)
			memset(fake.translations, 0, sizeof(fake.translations));
		assert_true(reaches((uint16_t)device, 0x5008, true));
		assert_false(fake_dma((uint16_t)device, 0x10, true, &target));
		assert_false(fake_dma((uint16_t)device, 0x40000000, false, &target));
		assert_false(fake_dma((uint16_t)device, 0xfee00000, true, &target));
	}
	assert_null(fake.complaint);
}

static void what_firmware_had_cached_is_forgotten(void **state)
{
	uint64_t target;

	/* Both were planted by fake_reset(): a device let through, and a foreign translation. */
	assert_false(fake_dma(0x18, 0x7000000, true, &target));
	assert_true(fake_dma(0x20, 0x1000, true, &target));
	assert_int_equal(target, 0x1000);
}

static void the_exclusion_range_is_switched_off(void **state)
{
	assert_int_equal(fake.registers[AMDVI_EXCLUSION_BASE / 8], 0);
	assert_int_equal(fake.registers[AMDVI_EXCLUSION_LIMIT / 8], 0);
}

static void firmware_flags_reach_the_control_register(void **state)
{
	assert_int_equal(fake.registers[AMDVI_CONTROL / 8],
			 AMDVI_CONTROL_ENABLE | AMDVI_CONTROL_EVENT_LOG | AMDVI_CONTROL_COMMANDS |
				 AMDVI_CONTROL_COHERENT);
}

static void units_without_invalidate_all_forget_everything_too(void **state)
{
	uint64_t target;

	fake.registers[AMDVI_FEATURES / 8] = 0;
	assert_int_equal(start(), IOMMU_OK);
	assert_false(fake_dma(0x18, 0x7000000, true, &target));
	assert_true(fake_dma(0x20, 0x1000, true, &target));
	assert_int_equal(target, 0x1000);
	assert_null(fake.complaint);
}

static void a_page_taken_away_is_reachable_until_the_flush_and_not_after(void **state)
{
	uint64_t target;

	assert_true(reaches(0x18, 0x9000, true));
	assert_true(reaches(0x20, 0x201000, true));
	set_entry(ROOT + 0x3000, 9, 0);
	set_entry(ROOT + 0x2000, 1, 0);
	assert_true(reaches(0x18, 0x9000, true)); /* the fake is as forgetful as hardware: not at all */
	assert_true(reaches(0x20, 0x201000, true));
	assert_int_equal(iommu_flush(&iommu), IOMMU_OK);
	assert_false(fake_dma(0x18, 0x9000, true, &target));
	assert_false(fake_dma(0x20, 0x201000, true, &target));
	assert_true(reaches(0x18, 0xa000, true));
}

static void flushes_go_on_when_the_ring_wraps(void **state)
{
	uint64_t target;

	for (uint32_t i = 0; i < 3 * AMDVI_RING_ENTRIES + 7; i++) {
		set_entry(ROOT + 0x3000, 9, 0x9000 | LEAF);
		assert_true(reaches(0x18, 0x9000, true));
		set_entry(ROOT + 0x3000, 9, 0);
		assert_int_equal(iommu_flush(&iommu), IOMMU_OK);
		assert_false(fake_dma(0x18, 0x9000, true, &target));
	}
}

static void a_dead_unit_is_reported_not_believed(void **state)
{
	fake.is_dead = true;
	assert_int_equal(iommu_flush(&iommu), IOMMU_TIMEOUT);
}

static void a_unit_that_does_not_start_is_reported(void **state)
{
	fake.is_dead = true;
	assert_int_equal(start(), IOMMU_TIMEOUT);
	assert_int_equal(iommu_flush(&iommu), IOMMU_OK); /* nothing runs, nothing to flush */
}

static void too_little_or_crooked_memory_is_refused_before_anything_is_touched(void **state)
{
	struct iommu_memory memory = {fake.memory, FAKE_MEMORY, iommu_memory_bytes(&iommu) - 1};

	assert_int_equal(iommu_start(&iommu, &fake_access, &memory, ROOT, 4), IOMMU_NO_MEMORY);
	memory.size_bytes++;
	memory.physical_address++;
	assert_int_equal(iommu_start(&iommu, &fake_access, &memory, ROOT, 4), IOMMU_NO_MEMORY);
	memory.physical_address--;
	assert_int_equal(iommu_start(&iommu, &fake_access, &memory, ROOT, 7), IOMMU_UNSUPPORTED);
	assert_int_equal(fake.registers[AMDVI_CONTROL / 8], 0);
}

static void all_interrupts_are_blocked_at_first(void **state)
{
	uint8_t destination;

	for (uint32_t mode = 0; mode < 8; mode++)
		assert_int_equal(fake_interrupt(0x18, mode, 0x41, &destination), FAKE_BLOCKED);
	assert_int_equal(fake_interrupt(0xa0, 5, 0, &destination), FAKE_BLOCKED);
}

void arch_lock(struct lock *lock)
{
	(void)lock;
}

void arch_unlock(struct lock *lock)
{
	(void)lock;
}

void arch_console(const char *text, size_t size_bytes)
{
	(void)text;
	(void)size_bytes;
}

/* The unit notes an event of a device: what the manual puts into its two words. */
static void note(uint64_t code, uint16_t device, uint64_t address)
{
	uint64_t *ring = fake_pointer(fake.registers[AMDVI_EVENT_BASE / 8] & 0xffffffffff000ull, AMDVI_RING_BYTES);
	uint64_t *tail = &fake.registers[AMDVI_EVENT_TAIL / 8];

	ring[*tail / 8] = code | device;
	ring[*tail / 8 + 1] = address;
	*tail = (*tail + 16) % AMDVI_RING_BYTES;
}

/* What reading the events adds to the log. */
static const char *said(void)
{
	static struct log log = {.level = LOG_INFO};
	static char text[4096];
	uint64_t from = log.written;

	iommu_log_events(&iommu, &log);
	assert_true(log.written - from < sizeof(text));
	for (uint64_t i = from; i < log.written; i++)
		text[i - from] = log.ring[i % LOG_RING_BYTES];
	text[log.written - from] = 0;
	return text;
}

#define PAGE_FAULT (2ull << 60)
#define IS_WRITE (1ull << 53)
#define IS_INTERRUPT (1ull << 51)

static void a_blocked_access_is_logged_once_with_its_device(void **state)
{
	assert_string_equal(said(), "");
	note(PAGE_FAULT | IS_WRITE, 0x0018, 0x12345678);
	note(PAGE_FAULT, 0xa0fb, 0xfee00000);
	assert_string_equal(said(),
			    "<warning> iommu: device 00:03.0 was kept from writing 12345678 (event 2020000000000018, number 1 of "
			    "this device)\n"
			    "<warning> iommu: device a0:1f.3 was kept from reading fee00000 (event 200000000000a0fb, number 1 of "
			    "this device)\n");
	assert_string_equal(said(), "");
	note(PAGE_FAULT | IS_INTERRUPT, 0x0018, 0x500);
	assert_non_null(strstr(said(), "device 00:03.0 was kept from sending an interrupt to 500 (event 2008000000000018, number 2 "));
	note(8ull << 60, 0x0020, 0xfee00000);
	assert_non_null(strstr(said(), "device 00:04.0 was kept from a request that no device may make to fee00000 "));
	note(1ull << 60, 0x0028, 0x1000);
	assert_non_null(strstr(said(), "device 00:05.0 let the unit meet an error at 1000 (event 1000000000000028, "));
}

static void a_device_gets_a_line_each_time_its_events_have_doubled(void **state)
{
	uint32_t lines = 0;

	for (uint32_t i = 0; i < 1000; i++) {
		note(PAGE_FAULT, 0x18, i);
		lines += *said() != 0;
	}
	assert_int_equal(lines, 10);
}

static void few_lines_and_few_devices_come_at_once(void **state)
{
	uint32_t lines = 0;

	for (uint16_t device = 0; device < 200; device++)
		note(PAGE_FAULT, device, 0);
	for (uint32_t calls = 0; calls < 20; calls++) {
		const char *text = said();
		uint32_t count = 0;

		for (; *text; text++)
			count += *text == '\n';
		assert_true(count <= 4);
		lines += count;
	}
	assert_int_equal(lines, IOMMU_NOTED_DEVICES);
	assert_int_equal(fake.registers[AMDVI_EVENT_HEAD / 8], fake.registers[AMDVI_EVENT_TAIL / 8]);
}

static void events_go_on_when_the_ring_wraps(void **state)
{
	for (uint32_t i = 0; i < AMDVI_RING_ENTRIES + 7; i++) {
		note(PAGE_FAULT, 0x18, 0);
		(void)said();
	}
	assert_int_equal(fake.registers[AMDVI_EVENT_HEAD / 8], 7 * 16);
	note(PAGE_FAULT, 0x20, 0x9000);
	assert_non_null(strstr(said(), "device 00:04.0 was kept from reading 9000 "));
}

static void a_full_event_log_is_restarted(void **state)
{
	fake.registers[AMDVI_STATUS / 8] = AMDVI_STATUS_EVENT_OVERFLOW;
	fake.registers[AMDVI_EVENT_HEAD / 8] = fake.registers[AMDVI_EVENT_TAIL / 8] = 0x30;
	assert_string_equal(said(), "");
	assert_int_equal(fake.registers[AMDVI_STATUS / 8], 0);
	assert_int_equal(fake.registers[AMDVI_EVENT_HEAD / 8], 0);
	assert_true(fake.registers[AMDVI_CONTROL / 8] & AMDVI_CONTROL_EVENT_LOG);
	assert_true(fake.registers[AMDVI_CONTROL / 8] & AMDVI_CONTROL_ENABLE);
}

static void a_unit_that_does_not_run_is_not_asked(void **state)
{
	fake.registers[AMDVI_STATUS / 8] = AMDVI_STATUS_EVENT_OVERFLOW;
	assert_string_equal(said(), "");
	assert_int_equal(fake.registers[AMDVI_STATUS / 8], AMDVI_STATUS_EVENT_OVERFLOW);
}

static void machines_the_driver_cannot_contain_are_refused(void **state)
{
	struct acpi_ivrs ivrs = {.unit_count = 0};

	assert_int_equal(amdvi_find(&iommu, &ivrs), IOMMU_ABSENT);
	ivrs.unit_count = 1;
	ivrs.units[0] = (struct acpi_unit){.base = FAKE_BASE, .segment = 1};
	assert_int_equal(amdvi_find(&iommu, &ivrs), IOMMU_UNSUPPORTED);
	ivrs.units[0] = (struct acpi_unit){.base = FAKE_BASE + 0x1000};
	assert_int_equal(amdvi_find(&iommu, &ivrs), IOMMU_BAD_TABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_device_id_is_translated_by_the_one_table, started),
		cmocka_unit_test_setup(what_firmware_had_cached_is_forgotten, started),
		cmocka_unit_test_setup(the_exclusion_range_is_switched_off, started),
		cmocka_unit_test_setup(firmware_flags_reach_the_control_register, started),
		cmocka_unit_test_setup(units_without_invalidate_all_forget_everything_too, not_started),
		cmocka_unit_test_setup(a_page_taken_away_is_reachable_until_the_flush_and_not_after,
				       started),
		cmocka_unit_test_setup(flushes_go_on_when_the_ring_wraps, started),
		cmocka_unit_test_setup(a_dead_unit_is_reported_not_believed, started),
		cmocka_unit_test_setup(a_unit_that_does_not_start_is_reported, not_started),
		cmocka_unit_test_setup(
			too_little_or_crooked_memory_is_refused_before_anything_is_touched,
			not_started),
		cmocka_unit_test_setup(all_interrupts_are_blocked_at_first, started),
		cmocka_unit_test_setup(a_blocked_access_is_logged_once_with_its_device, started),
		cmocka_unit_test_setup(a_device_gets_a_line_each_time_its_events_have_doubled, started),
		cmocka_unit_test_setup(few_lines_and_few_devices_come_at_once, started),
		cmocka_unit_test_setup(events_go_on_when_the_ring_wraps, started),
		cmocka_unit_test_setup(a_full_event_log_is_restarted, started),
		cmocka_unit_test_setup(a_unit_that_does_not_run_is_not_asked, not_started),
		cmocka_unit_test_setup(machines_the_driver_cannot_contain_are_refused, not_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
