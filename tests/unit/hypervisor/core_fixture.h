/* SPDX-License-Identifier: MIT */
/*
 * What the core's tests share: a fresh machine for each, and a guest to work on.
 */
#ifndef CORE_FIXTURE_H
#define CORE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "core_calls.h"

/* Pages of the service domain the tests use: the middle of plain 2 MiB pages. */
#define PAGE(n)	   (0x2800000ull + (n) * PAGE_BYTES)
#define LARGE(n)   (0x2c00000ull + (n) * (2ull << 20))

static inline int start(void **state)
{
	(void)state;
	fake_start(64);
	return 0;
}

static inline uint64_t service_read(uint64_t page)
{
	return calls_service_read(VIEWER_CPU0, phys_at(page));
}

/* A protected guest with 8 MiB of declared memory, tables and one vCPU, not sealed. */
static inline uint64_t make_guest(void)
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

static inline struct guest *guest_of(uint64_t handle)
{
	return &core.guests[handle % BULKHEAD_MAX_GUESTS];
}

static inline void seal(uint64_t handle)
{
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_SEAL, handle, 0, 0, 0), BULKHEAD_OK);
}

static inline struct mapping service_mapping(uint64_t at)
{
	return address_space_lookup(&core.service, input_of_service(phys_at(at)));
}

#define TEST(name) cmocka_unit_test_setup(name, start)

#endif
