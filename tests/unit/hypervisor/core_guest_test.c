/* SPDX-License-Identifier: MIT */
/*
 * Guests: handles, declared memory, measurement, the seal, virtual processors.
 */
#include <openssl/sha.h>

#include "core_fixture.h"

/* One record of a measurement, by OpenSSL. */
static void extend(uint8_t *digest, uint64_t kind, uint64_t where, const void *content, size_t size)
{
	uint8_t record[80], whole[64];

	memcpy(record, digest, 32);
	memcpy(record + 32, &kind, 8);
	memcpy(record + 40, &where, 8);
	memcpy(record + 48, SHA512(content, size, whole), 32);
	memcpy(digest, SHA512(record, sizeof(record), whole), 32);
}

static void guests_and_handles_have_limits(void **state)
{
	uint64_t handle;

	(void)state;
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(0), 2, &handle), BULKHEAD_INVALID);
	assert_int_equal(handle, 0);
	for (unsigned int i = 0; i < BULKHEAD_MAX_GUESTS; i++)
		assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(i), 1, &handle), BULKHEAD_OK);
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(99), 1, NULL), BULKHEAD_LIMIT);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	core.next_generation = UINT32_MAX / BULKHEAD_MAX_GUESTS;
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(99), 1, &handle), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(99), 1, &handle), BULKHEAD_LIMIT);
}

static void memory_ranges_are_checked_and_counted(void **state)
{
	uint64_t handle, limit = 1ull << BULKHEAD_GUEST_ADDRESS_BITS;

	(void)state;
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(0), 1, &handle), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, 1, 1, 0), BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, 0, 0, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, 0, ~0ull, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, limit, 1, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, ~4095ull, 2, 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, limit - 4096, 1, 0), BULKHEAD_OK);
	for (uint64_t i = 1; i < BULKHEAD_MAX_RANGES; i++) {
		assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, i << 20, 16, 0),
				 BULKHEAD_OK);
		assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, (i << 20) + 0xf000, 1, 0),
				 i + 1 < BULKHEAD_MAX_RANGES ? BULKHEAD_OCCUPIED : BULKHEAD_LIMIT);
	}
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, 0, 1, 0), BULKHEAD_LIMIT);
}

static void measurement_is_the_documented_chain(void **state)
{
	uint8_t expected[32] = { 0 }, page[4096], size[8] = { 0, 8 };
	uint64_t handle = make_guest();
	struct bulkhead_measurement *answer;

	(void)state;
	for (int i = 0; i < 4096; i++)
		page[i] = (uint8_t)(i * 7);
	memcpy(arch_page(phys_at(PAGE(0))), page, 4096);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_LOAD, handle, PAGE(0), 0x3000, 1), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(1), 0x4000, 1),
			 BULKHEAD_OK); /* zeros are not measured */
	memset(page, 0x31, 4096);
	memcpy(arch_page(phys_at(PAGE(131))), page, 4096);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, PAGE(131), 0), BULKHEAD_OK);
	seal(handle);
	extend(expected, BULKHEAD_RECORD_GUEST, 1, NULL, 0);
	extend(expected, BULKHEAD_RECORD_RANGE, 0, size, 8);
	for (int i = 0; i < 4096; i++)
		page[i] = (uint8_t)(i * 7);
	extend(expected, BULKHEAD_RECORD_PAGE, 0x3000, page, 4096);
	memset(page, 0x31, 4096);
	extend(expected, BULKHEAD_RECORD_VCPU, 0, page, 4096);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_MEASURE, handle, PAGE(131) + 8, 0, 0),
			 BULKHEAD_NOT_OWNED);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_MEASURE, handle, PAGE(131), 0, 0), BULKHEAD_OK);
	answer = arch_page(phys_at(PAGE(131)));
	assert_int_equal(answer->record_count, 4);
	assert_int_equal(answer->is_sealed, 1);
	assert_memory_equal(answer->digest, expected, 32);
	assert_int_equal(*(uint64_t *)guest_of(handle)->vcpus[0].arch, 0x3131313131313131ull);
}

static void sha512_agrees_with_openssl(void **state)
{
	uint8_t data[600], digest[64], expected[64];

	(void)state;
	for (size_t size = 0; size < sizeof(data); size++) {
		struct sha512 hash;
		size_t whole = size / 128;

		data[size] = (uint8_t)(size * 11);
		sha512_start(&hash);
		sha512_blocks(&hash, data, whole);
		sha512_end(&hash, data + whole * 128, size - whole * 128, digest, sizeof(digest));
		SHA512(data, size, expected);
		assert_memory_equal(digest, expected, sizeof(digest));
	}
}

static void registers_of_a_protected_guest_are_closed_by_the_seal(void **state)
{
	uint64_t handle = make_guest();

	(void)state;
	fake_poke(phys_at(PAGE(131)), 5);
	fake_refuse_state = true;
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, PAGE(131), 0), BULKHEAD_INVALID);
	fake_refuse_state = false;
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SEAL, handle, 0, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, PAGE(131), 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_GET, handle, 0, PAGE(132), 0), BULKHEAD_OK);
	assert_int_equal(fake_peek(phys_at(PAGE(132))), 5);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_GET, handle, 0, FAKE_OWN_BASE, 0),
			 BULKHEAD_NOT_OWNED);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, FAKE_OWN_BASE, 0),
			 BULKHEAD_NOT_OWNED);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SEAL, handle, 0, 0, 0), BULKHEAD_AGAIN);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, PAGE(131), 0), BULKHEAD_BAD_STATE);
	seal(handle);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, PAGE(131), 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_GET, handle, 0, PAGE(131), 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 1, PAGE(140), PAGE(150)),
			 BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 1, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 16, 0, 0), BULKHEAD_INVALID);
	assert_int_equal(fake_counters.runs, 1);
}

static void registers_of_an_unprotected_guest_stay_open(void **state)
{
	uint64_t handle;

	(void)state;
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(100), 0, &handle), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SEAL, handle, 0, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 0, PAGE(120), PAGE(130)),
			 BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 0, PAGE(140), PAGE(130)),
			 BULKHEAD_OCCUPIED);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, PAGE(131), 0), BULKHEAD_OK);
	seal(handle);
	fake_poke(phys_at(PAGE(131)), 42);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, PAGE(131), 0), BULKHEAD_OK);
	assert_int_equal(*(uint64_t *)guest_of(handle)->vcpus[0].arch, 42);
	*(uint64_t *)guest_of(handle)->vcpus[0].arch = 43;
	assert_int_equal(call(BULKHEAD_CALL_VCPU_GET, handle, 0, PAGE(132), 0), BULKHEAD_OK);
	assert_int_equal(*(uint64_t *)arch_page(phys_at(PAGE(132))), 43);
	fake_refuse_state = true;
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 0, PAGE(131), 0), BULKHEAD_INVALID);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_BAD_STATE);
}

static void run_page_stays_where_it_is_until_the_vcpu_is_gone(void **state)
{
	uint64_t handle = make_guest();

	(void)state;
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(130), 0, 0), BULKHEAD_NOT_OWNED);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 1, PAGE(140), FAKE_OWN_BASE),
			 BULKHEAD_NOT_OWNED);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 1, PAGE(140), FAKE_RAM_BYTES),
			 BULKHEAD_BAD_ADDRESS);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 1, PAGE(140), PAGE(141)),
			 BULKHEAD_NOT_OWNED); /* given and kept at once */
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 16, PAGE(140), PAGE(150)),
			 BULKHEAD_INVALID);
	frame_of(&core.frames, phys_at(PAGE(150)))->pins = UINT16_MAX;
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 1, PAGE(140), PAGE(150)),
			 BULKHEAD_LIMIT);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(frame_of(&core.frames, phys_at(PAGE(130)))->pins, 0);
}

static uint64_t running_handle;

static void try_everything(struct vcpu *vcpu)
{
	(void)vcpu;
	fake_on_run = NULL;
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, running_handle, 0, 0, 0), BULKHEAD_BUSY);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DESTROY, running_handle, 0, 0, 0), BULKHEAD_BUSY);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, running_handle, PAGE(0), 0, 1),
			 BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, running_handle, PAGE(0), 0, 0),
			 BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_REFUND, running_handle, 0, 0, 0),
			 BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, running_handle, PAGE(0), 1, 0),
			 BULKHEAD_BAD_STATE);
}

static void a_vcpu_runs_on_one_processor_and_keeps_its_guest(void **state)
{
	uint64_t handle = running_handle = make_guest();

	(void)state;
	seal(handle);
	fake_on_run = try_everything;
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_OK);
	assert_null(fake_on_run);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 0, 0, 0), BULKHEAD_NO_GUEST);
}

static void secrets_are_gone_before_a_reset(void **state)
{
	uint64_t handle = make_guest();
	struct core_locked held;

	(void)state;
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, PAGE(0), 0, 1), BULKHEAD_OK);
	fake_poke(phys_at(PAGE(0)), 66);
	fake_poke(phys_at(PAGE(121)), 67);
	fake_poke(phys_at(PAGE(300)), 68);
	held = core_lock();
	arch_flush(&guest_of(handle)->space);
	ownership_wipe_guests(held);
	core_unlock(held);
	assert_int_equal(fake_peek(phys_at(PAGE(0))), 0);
	assert_int_equal(fake_peek(phys_at(PAGE(121))), 0);
	assert_int_equal(fake_peek(phys_at(PAGE(300))), 68);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(guests_and_handles_have_limits),
		TEST(memory_ranges_are_checked_and_counted),
		TEST(measurement_is_the_documented_chain),
		TEST(sha512_agrees_with_openssl),
		TEST(registers_of_a_protected_guest_are_closed_by_the_seal),
		TEST(registers_of_an_unprotected_guest_stay_open),
		TEST(run_page_stays_where_it_is_until_the_vcpu_is_gone),
		TEST(a_vcpu_runs_on_one_processor_and_keeps_its_guest),
		TEST(secrets_are_gone_before_a_reset),
	};

	return cmocka_run_group_tests_name("core-guest", tests, NULL, NULL);
}
