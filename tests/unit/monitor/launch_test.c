/* SPDX-License-Identifier: MIT */
/*
 * What a guest will measure as, computed by the monitor, is what the hypervisor's chain of records gives; and a
 * descriptor names one guest only, by one key only.
 */
#include "bulkhead_guest.h"
#include "descriptor.h"
#include "trust/descriptor.h"
#include "launch.h"
#include "linux_boot.h"

#include <measure.h>

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MEMORY_BYTES (64u << 20)

static void record_page(struct measurement *chain, enum bulkhead_record kind, uint64_t where, const void *page)
{
	while (measure_page(chain, kind, where, page) == BULKHEAD_AGAIN)
		;
}

static void record_number(struct measurement *chain, enum bulkhead_record kind, uint64_t where, uint64_t number)
{
	uint8_t bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(number >> 8 * i);
	measure_small(chain, kind, where, bytes, sizeof(bytes));
}

static struct config config = { .name = (char *)"a", .memory_bytes = MEMORY_BYTES, .processors = 2,
				.disks = { { (char *)"d" } }, .disk_count = 1 };
static struct machine machine;

static int make_machine(void **state)
{
	(void)state;
	machine = (struct machine){ .config = &config, .entry = 0x1000200 };
	if (ram_create(&machine.ram, MEMORY_BYTES, MACHINE_RAM_LOW_END, 0))
		return -1;
	memset(machine.ram.bytes + 0x5000, 'a', 5000); /* two pages */
	machine.ram.bytes[0x200fff] = 1;	       /* last byte of a page */
	return machine.ram.bytes[0x300000];	       /* touched, and still empty */
}

static int free_machine(void **state)
{
	(void)state;
	ram_destroy(&machine.ram);
	return 0;
}

static void the_monitor_computes_what_the_hypervisor_measures(void **state)
{
	static uint8_t page[4096];
	struct bulkhead_vcpu_state first;
	struct measurement chain;
	struct launch launch;
	uint8_t digest[32];

	(void)state;
	bulkhead_guest_plan(&launch, &machine);
	assert_int_equal(launch_measure(&launch, digest), 0);

	measure_start(&chain);
	measure_small(&chain, BULKHEAD_RECORD_GUEST, BULKHEAD_GUEST_PROTECTED, NULL, 0);
	measure_small(&chain, BULKHEAD_RECORD_PLATFORM, 0, NULL, 0);
	record_number(&chain, BULKHEAD_RECORD_RANGE, 0, MEMORY_BYTES / 4096);
	record_page(&chain, BULKHEAD_RECORD_PAGE, 0x5000, machine.ram.bytes + 0x5000);
	record_page(&chain, BULKHEAD_RECORD_PAGE, 0x6000, machine.ram.bytes + 0x6000);
	record_page(&chain, BULKHEAD_RECORD_PAGE, 0x200000, machine.ram.bytes + 0x200000);
	measure_small(&chain, BULKHEAD_RECORD_DEVICE, 1, &launch.devices[0].description, 32);
	launch_state_reset(&first);
	linux_boot_state(&first, machine.entry);
	memcpy(page, &first, sizeof(first));
	record_page(&chain, BULKHEAD_RECORD_VCPU, 0, page);
	launch_state_reset(&first);
	memcpy(page, &first, sizeof(first));
	record_page(&chain, BULKHEAD_RECORD_VCPU, 1, page);
	assert_memory_equal(digest, chain.digest, 32);
}

/* With firmware: one more range, the blob, and every processor as after power-on. */
static void firmware_and_what_it_is_told_are_measured(void **state)
{
	struct config by_firmware = config;
	uint8_t digest[32], other[32], *top;
	struct launch launch;

	(void)state;
	machine = (struct machine){ .config = &by_firmware, .blob_bytes = 100 };
	assert_int_equal(ram_create(&machine.ram, MEMORY_BYTES, MACHINE_RAM_LOW_END, 3 * 4096), 0);
	top = machine.ram.bytes + MEMORY_BYTES;
	top[0] = 1;
	top[3 * 4096 - 1] = 1;
	bulkhead_guest_plan(&launch, &machine);
	assert_int_equal(launch.range_count, 2);
	assert_int_equal(launch.ranges[1].address, RAM_HIGH_START - 3 * 4096);
	assert_int_equal(launch.blob_address, RAM_HIGH_START - 3 * 4096);
	assert_int_equal(launch.first.cs.base + launch.first.rip, RAM_HIGH_START - 16);
	assert_int_equal(launch_measure(&launch, digest), 0);
	for (unsigned int i = 0; i < 3 * 4096; i += 4095) { /* a byte of the blob, of each page, of the firmware */
		top[i] ^= 0x10;
		assert_int_equal(launch_measure(&launch, other), 0);
		assert_memory_not_equal(digest, other, 32);
		top[i] ^= 0x10;
	}
	launch.blob_bytes++;
	assert_int_equal(launch_measure(&launch, other), 0);
	assert_memory_not_equal(digest, other, 32);
	launch.blob_bytes--;
	assert_int_equal(launch_measure(&launch, other), 0);
	assert_memory_equal(digest, other, 32);
	ram_destroy(&machine.ram);
}

static void anything_that_differs_measures_differently(void **state)
{
	uint8_t digest[32], other[32];
	struct launch launch;

	(void)state;
	bulkhead_guest_plan(&launch, &machine);
	assert_int_equal(launch_measure(&launch, digest), 0);
	machine.ram.bytes[0x5000] ^= 1;
	assert_int_equal(launch_measure(&launch, other), 0);
	assert_memory_not_equal(digest, other, 32);
	machine.ram.bytes[0x5000] ^= 1;
	launch.processors = 1;
	assert_int_equal(launch_measure(&launch, other), 0);
	assert_memory_not_equal(digest, other, 32);
	launch.processors = 2;
	launch.devices[0].slot = 2;
	assert_int_equal(launch_measure(&launch, other), 0);
	assert_memory_not_equal(digest, other, 32);
	launch.devices[0].slot = 1;
	launch.first.rip++;
	assert_int_equal(launch_measure(&launch, other), 0);
	assert_memory_not_equal(digest, other, 32);
	launch.first.rip--;
	assert_int_equal(launch_measure(&launch, other), 0);
	assert_memory_equal(digest, other, 32);
}

static void a_descriptor_holds_for_its_key_and_measurement_only(void **state)
{
	struct descriptor descriptor = { .memory_mib = 512, .processors = 2 };
	char text[DESCRIPTOR_TEXT_MAX], key_text[66], hex[65];
	struct signing_key key;
	uint8_t read[32];

	(void)state;
	assert_int_equal(signing_key_start(), 0);
	assert_int_equal(signing_key_generate(&key, "images"), 0);
	memset(descriptor.measurement, 7, sizeof(descriptor.measurement));
	assert_int_equal(descriptor_sign(&descriptor, &key, text), 0);
	descriptor_print(key.public_half.bytes, hex);
	snprintf(key_text, sizeof(key_text), "%s\n", hex);
	assert_null(descriptor_parse(text, key_text, read));
	assert_memory_equal(read, descriptor.measurement, 32);
	text[0] = 'M';
	assert_non_null(descriptor_parse(text, key_text, read));
	text[0] = 'm';
	assert_non_null(descriptor_parse(text, "", read));
	assert_non_null(descriptor_parse(text, hex, read));
	key_text[0] = key_text[0] == '1' ? '2' : '1';
	assert_non_null(descriptor_parse(text, key_text, read));
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/** Whoever reads the line knows what to do, also where only its beginning is shown. */
static void another_guest_is_refused_with_a_remedy(void **state)
{
	struct descriptor descriptor = { .memory_mib = 512, .processors = 2, .measurement = { 7 } };
	struct config work = { .name = (char *)"work", .descriptor = (char *)"launch-test.descriptor",
			       .descriptor_key = (char *)"launch-test.key" };
	char text[DESCRIPTOR_TEXT_MAX], key_text[66], hex[65], error[512];
	uint8_t measured[32] = { 7 };
	struct signing_key key;

	(void)state;
	assert_int_equal(signing_key_start(), 0);
	assert_int_equal(signing_key_generate(&key, "images"), 0);
	assert_int_equal(descriptor_sign(&descriptor, &key, text), 0);
	descriptor_print(key.public_half.bytes, hex);
	snprintf(key_text, sizeof(key_text), "%s\n", hex);
	write_text(work.descriptor, text);
	write_text(work.descriptor_key, key_text);
	assert_true(descriptor_check(&work, measured, error, sizeof(error)));
	measured[31]++;
	assert_false(descriptor_check(&work, measured, error, sizeof(error)));
	descriptor_print(measured, hex);
	assert_non_null(strstr(error, hex));
	assert_non_null(strstr(error, work.descriptor));
	error[256] = '\0';
	assert_int_equal(strncmp(error, "work: this guest is not the one its descriptor names; describe it anew", 70), 0);
	assert_non_null(strstr(error, "image describe"));
	assert_non_null(strstr(error, "guest describe"));
	assert_non_null(strstr(error, "guest revert"));
	unlink(work.descriptor);
	unlink(work.descriptor_key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_monitor_computes_what_the_hypervisor_measures, make_machine,
						free_machine),
		cmocka_unit_test_setup_teardown(anything_that_differs_measures_differently, make_machine, free_machine),
		cmocka_unit_test(firmware_and_what_it_is_told_are_measured),
		cmocka_unit_test(a_descriptor_holds_for_its_key_and_measurement_only),
		cmocka_unit_test(another_guest_is_refused_with_a_remedy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
