/* SPDX-License-Identifier: MIT */
/*
 * What the core promises, one promise a test: hypercalls on the fake machine, whose processors and
 * IOMMU keep stale translations.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "core_calls.h"

/* Pages of the service domain the tests use: the middle of plain 2 MiB pages. */
#define PAGE(n)	   (0x2800000ull + (n) * PAGE_BYTES)
#define LARGE(n)   (0x2c00000ull + (n) * (2ull << 20))

static int start(void **state)
{
	(void)state;
	fake_start(64);
	return 0;
}

static uint64_t service_read(uint64_t page)
{
	return calls_service_read(VIEWER_CPU0, phys_at(page));
}

/* A protected guest with 8 MiB of declared memory, tables and one vCPU, not sealed. */
static uint64_t make_guest(void)
{
	uint64_t handle = 0;

	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(100), 1, &handle), BULKHEAD_OK);
	for (int i = 0; i < 12; i++)
		assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(101 + i), 0, 0),
				 BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, 0, 2048, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 0, PAGE(120), PAGE(130)),
			 BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, PAGE(131), 0), BULKHEAD_OK);
	return handle;
}

static struct guest *guest_of(uint64_t handle)
{
	return &core.guests[handle % BULKHEAD_MAX_GUESTS];
}

static void seal(uint64_t handle)
{
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_SEAL, handle, 0, 0, 0), BULKHEAD_OK);
}

static struct mapping service_mapping(uint64_t at)
{
	return address_space_lookup(&core.service, input_of_service(phys_at(at)));
}

static void identity_covers_the_whole_width_with_large_pages(void **state)
{
	(void)state;
	assert_int_equal(service_mapping(0x5000).access, ACCESS_ALL);
	assert_int_equal(service_mapping(0x5000).page.value, 0x5000);
	assert_int_equal(service_mapping(0x5000).level, 1);
	assert_int_equal(service_mapping((1ull << 36) - 4096).access, ACCESS_CPU);
	assert_int_equal(service_mapping((1ull << 36) - 4096).page.value, (1ull << 36) - 4096);
	assert_int_equal(service_mapping((1ull << 36) - 4096).level, 2);
	assert_int_equal(service_mapping(FAKE_READ_ONLY).access, ACCESS_READ);
	assert_int_equal(service_mapping(FAKE_NONE).access, ACCESS_NONE);
	assert_int_equal(service_mapping(FAKE_OWN_BASE).access, ACCESS_ZERO);
}

static void donated_page_is_unreachable_by_service_domain_and_its_devices(void **state)
{
	uint64_t handle = make_guest();
	struct view view;

	(void)state;
	calls_service_write(VIEWER_CPU0, phys_at(PAGE(0)), 0x1234);
	fake_touch(&core.service, input_of_service(phys_at(PAGE(0))), 1);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(0), 0x1000, 1), BULKHEAD_OK);
	for (int viewer = 0; viewer < VIEWER_COUNT; viewer++) {
		view = fake_view(viewer, &core.service, input_of_service(phys_at(PAGE(0))));
		assert_false(view.can_write);
		if (view.can_read)
			assert_int_equal(view.page.value, core.zero.page.value);
	}
	assert_int_equal(service_read(PAGE(0)), 0);
	view = fake_view(VIEWER_CPU0, &guest_of(handle)->space, (struct input_address){ 0x1000 });
	assert_true(view.can_write);
	assert_int_equal(view.page.value, PAGE(0));
	assert_int_equal(fake_peek(view.page), 0);
}

static void destroyed_guest_leaves_nothing_and_everything_comes_back_cleared(void **state)
{
	uint64_t before = core.frames.count[FRAME_SERVICE];
	uint64_t handle = make_guest();
	struct guest *guest = guest_of(handle);

	(void)state;
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(0), 0, 512), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_LOAD, handle, PAGE(3), 0x200000, 2),
			 BULKHEAD_OK);
	seal(handle);
	assert_true(calls_write(VIEWER_CPU1, &guest->space, (struct input_address){ 0x5000 }, 77));
	assert_true(calls_write(VIEWER_CPU1, &guest->space, (struct input_address){ 0x200000 }, 78));
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_NO_GUEST);
	assert_int_equal(core.frames.count[FRAME_SERVICE], before);
	assert_int_equal(service_read(LARGE(0) + 0x5000), 0);
	assert_int_equal(service_read(PAGE(3)), 0);
	assert_true(calls_service_write(VIEWER_CPU0, phys_at(LARGE(0) + 0x5000), 5));
	assert_int_equal(address_space_lookup(&core.service,
					      input_of_service(phys_at(PAGE(3)))).level, 1);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup(destroyed_guest_leaves_nothing_and_everything_comes_back_cleared,
			       start),
	cmocka_unit_test_setup(identity_covers_the_whole_width_with_large_pages, start),
	cmocka_unit_test_setup(donated_page_is_unreachable_by_service_domain_and_its_devices, start),
};

int main(void)
{
	return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
