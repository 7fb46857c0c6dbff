/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls with the arguments that make the hypervisor work longest, in the states that cost most. What is looked for:
 * runs of 511 and 512 small pages in areas that hold a table on both sides, large pages that must be split twice, tables
 * whose only entry is the last, sixteen of whatever there may be sixteen of, lists whose last entry is wrong, and rings
 * of guests and backends that cost as much as they can for as little as they copy.
 */
#include "core_platform_fixture.h"
#include "count.h"
#include "core_model.h"
#include "log.h"

#define TABLE_AREA   0x2000000ull /* holds a change of memory type, so that its table is never merged */
#define BIG_AREA     0x40000000ull /* one leaf of 1 GiB with fake_start_big() */
#define RUN	     511u
#define QUEUE	     128u
#define WRITES	     2u
#define NEXT	     1
#define INDIRECT     4u

static void machine_calls(void **state)
{
	(void)state;
	count_scenario("full log");
	for (unsigned int i = 0; i < 4096; i++)
		log_line(&core.log, LOG_ERROR, "bench", "a line to be read, number %u", i);
	assert_int_equal(call(BULKHEAD_CALL_VERSION, 0, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_STATUS, PAGE(0), 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_STATS, PAGE(0), 1, 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_LOG_READ, PAGE(0), 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_LOG_READ, PAGE(0), 30000, 0, 0), BULKHEAD_OK);
}

static uint64_t make(bool is_protected, unsigned int tables)
{
	uint64_t handle = 0;

	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, PAGE(100), is_protected, &handle), BULKHEAD_OK);
	for (unsigned int i = 0; i < tables; i++)
		assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(101 + i), 0, 0), BULKHEAD_OK);
	for (uint64_t i = 0; i < BULKHEAD_MAX_RANGES; i++)
		assert_int_equal(call(BULKHEAD_CALL_GUEST_RANGE, handle, LARGE(0) * i, 2048, 0), BULKHEAD_OK);
	return handle;
}

static void destroy(uint64_t handle)
{
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
}

/* From the middle of 1 GiB, to where the guest has no table yet. */
static void pages_of_a_huge_page(void **state)
{
	uint64_t handle;

	(void)state;
	count_scenario("out of 1 GiB");
	fake_start_big(64);
	handle = make(true, 16);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, handle, BIG_AREA - PAGE_BYTES, 0, 0), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, BIG_AREA, 0, RUN), BULKHEAD_OK);
	destroy(handle);
	fake_start_big(64);
	handle = make(true, 16);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_LOAD, handle, BIG_AREA, 0, RUN), BULKHEAD_AGAIN);
	destroy(handle);
	fake_start_big(64);
	handle = make(true, 16);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, 0, BIG_AREA, PAGE(130)), BULKHEAD_OK);
	destroy(handle);
	fake_start_big(64);
	assert_int_equal(call2(BULKHEAD_CALL_GUEST_CREATE, BIG_AREA, 1, &handle), BULKHEAD_OK);
	destroy(handle);
	fake_start_big(64);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_PAY, 0, BIG_AREA, 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_REFUND, 0, 0, 0, 0), BULKHEAD_OK);
}

/* All of a service domain's area that keeps its table, lent to where the guest has one. */
static void small_pages(void **state)
{
	uint64_t handle = make(false, 16);

	(void)state;
	count_scenario("512 small pages");
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, LARGE(0), 0, 1), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, LARGE(0), 1, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, TABLE_AREA, 0, 512), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, TABLE_AREA, 512, 0), BULKHEAD_OK);
	/* Out of the middle of a large page. */
	assert_int_equal(call(BULKHEAD_CALL_GUEST_SHARE, handle, LARGE(1), LARGE(1), 512), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_UNSHARE, handle, LARGE(1), RUN, 0), BULKHEAD_OK);
	destroy(handle);

	handle = make(true, 16);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, TABLE_AREA, 0, 512), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(1), 512 * PAGE_BYTES, RUN), BULKHEAD_OK);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(2) + RUN * PAGE_BYTES,
				  1535 * PAGE_BYTES, 1), BULKHEAD_OK);
	destroy(handle);

	handle = make(true, 16);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, TABLE_AREA, 0, 512), BULKHEAD_AGAIN);
	destroy(handle);

	handle = make(true, 16);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_LOAD, handle, TABLE_AREA, 0, 512), BULKHEAD_AGAIN);
	for (unsigned int i = 0; i < 24; i++)
		assert_int_equal(call(BULKHEAD_CALL_GUEST_LOAD, handle, TABLE_AREA, 0, 512), BULKHEAD_AGAIN);
	destroy(handle);

	handle = make(true, 16);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_LOAD, handle, LARGE(1), 0, 16), BULKHEAD_OK);
	destroy(handle);
}

static void processors(void **state)
{
	uint64_t handle = make(false, 16);

	(void)state;
	count_scenario("16 processors");
	for (uint64_t i = 0; i < BULKHEAD_MAX_VCPUS; i++) {
		assert_int_equal(call(BULKHEAD_CALL_VCPU_CREATE, handle, i, LARGE(2) + i * 16 * PAGE_BYTES, PAGE(130)),
				 BULKHEAD_OK);
		assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, i, PAGE(131), 0), BULKHEAD_OK);
	}
	seal(handle);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_SET, handle, 15, PAGE(131), 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_GET, handle, 15, PAGE(131), 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_MEASURE, handle, PAGE(132), 0, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_VCPU_RUN, handle, 15, 0, 0), BULKHEAD_OK);
	destroy(handle);
}

static void descriptions(void **state)
{
	uint64_t handle = make_platform(), *list = page_at(LIST);

	(void)state;
	count_scenario("16 relay areas");
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_BLOB, handle, 16, 4096, 0), BULKHEAD_OK);
	description.queue_count = 8;
	description.config_bytes = 256;
	for (unsigned int i = 1; i <= 8; i++)
		assert_int_equal(add_device(handle, i), BULKHEAD_OK);
	for (unsigned int i = 0; i < 16; i++) {
		assert_int_equal(add_relay(handle, 0), BULKHEAD_INVALID);
		list[BULKHEAD_RELAY_PAGES - 1] = 1;
		assert_int_equal(call_all(BULKHEAD_CALL_PLATFORM_RELAY, handle, (1 + i / 8) << 8 | i % 8, LIST, 0),
				 BULKHEAD_BAD_ADDRESS);
		assert_int_equal(add_relay(handle, (1 + i / 8) << 8 | i % 8), BULKHEAD_OK);
	}
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CONFIG, handle, 8, LIST, 256), BULKHEAD_OK);
	add_vcpu(handle);
	seal(handle);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_CONFIG, handle, 8, LIST, 256), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LINE, handle, 4, 1, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LINE, handle, 9, 1, 0), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LOSE, handle, 1, 0, 0), BULKHEAD_BAD_STATE);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_RELEASE, handle, 1, 0, 0), BULKHEAD_BAD_STATE);
	destroy(handle);
	description.queue_count = 1;
	description.config_bytes = 60;
}

/* The driver tells, and what is not done at once goes on at later runs. */
static void notify(uint64_t handle)
{
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	for (unsigned int i = 0; i < 64 && run_page()->exit == BULKHEAD_RUN_KICK; i++)
		(void)read_at(handle, REGISTERS + 0x14, 1);
}

/* The backend says of all it was given that it is done, having written @written bytes. */
static void complete_all(uint32_t written)
{
	const uint16_t *available = page_at(AREA(1));
	uint16_t *used = page_at(AREA(2));

	while (used[1] != available[1]) {
		uint32_t *entry = (uint32_t *)(used + 2) + 2 * (used[1] % 256);

		entry[0] = available[2 + used[1] % 256];
		entry[1] = written;
		used[1]++;
	}
}

static void serve(uint64_t handle)
{
	enum bulkhead_error error;

	do
		error = call(BULKHEAD_CALL_PLATFORM_BACKEND, handle, SLOT << 8, 0, 0);
	while (error == BULKHEAD_AGAIN);
	assert_int_equal(error, BULKHEAD_OK);
}

static struct ring_descriptor *table(void)
{
	return (struct ring_descriptor *)guest_memory(DESCRIPTORS);
}

/* @count requests, each what stands in the descriptor table from 0 on. */
static void offer_first(uint16_t count)
{
	uint16_t *available = (uint16_t *)guest_memory(AVAILABLE);

	for (uint16_t i = 0; i < count; i++)
		available[2 + (uint16_t)(available[1] + i) % QUEUE] = 0;
	available[1] = (uint16_t)(available[1] + count);
}

/* A chain of @count descriptors whose last has @size_bytes and the others @other_bytes. */
static void make_chain(uint16_t count, uint32_t other_bytes, uint32_t size_bytes, uint16_t flags)
{
	for (uint16_t i = 0; i < count; i++)
		table()[i] = (struct ring_descriptor){ BUFFER + PAGE_BYTES - 1, i + 1 < count ? other_bytes : size_bytes,
						       (uint16_t)(flags | (i + 1 < count ? NEXT : 0)), (uint16_t)(i + 1) };
}

static void whole_pages(void **state)
{
	uint64_t handle = make_running();

	(void)state;
	count_scenario("whole pages");
	start_driver(handle, 0);
	make_requests(32, PAGE_BYTES, false);
	notify(handle);
	complete_all(0);
	serve(handle);
	make_requests(32, PAGE_BYTES, true);
	notify(handle);
	complete_all(PAGE_BYTES);
	serve(handle);
}

static void single_bytes(void **state)
{
	uint64_t handle = make_running();

	(void)state;
	count_scenario("requests of a byte");
	start_driver(handle, 0);
	make_chain(1, 0, 1, 0);
	offer_first(QUEUE);
	notify(handle);
	complete_all(0);
	serve(handle);
	count_scenario("128 pieces of a byte");
	make_chain(QUEUE, 1, 1, WRITES);
	offer_first(2);
	notify(handle);
	offer_first(100);
	complete_all(128);
	serve(handle);
	complete_all(1);
	serve(handle);
}

static void empty_descriptors(void **state)
{
	uint64_t handle = make_running();
	struct ring_descriptor *inner = (struct ring_descriptor *)guest_memory(BUFFER);

	(void)state;
	count_scenario("empty descriptors");
	start_driver(handle, 0);
	make_chain(QUEUE, 0, 1, 0);
	offer_first(QUEUE);
	notify(handle);
	complete_all(0);
	serve(handle);
	count_scenario("empty descriptors, then a table of them");
	make_chain(QUEUE, 0, 0, 0);
	for (unsigned int i = 0; i < QUEUE; i++)
		inner[i] = (struct ring_descriptor){ BUFFER, i + 1 == QUEUE, i + 1 < QUEUE ? NEXT : 0,
					       (uint16_t)(i + 1) };
	table()[QUEUE - 1] = (struct ring_descriptor){ BUFFER, QUEUE * 16, INDIRECT, 0 };
	offer_first(QUEUE);
	notify(handle);
	complete_all(0);
	serve(handle);
}

static void resets(void **state)
{
	uint64_t handle = make_running();

	(void)state;
	count_scenario("reset under load");
	start_driver(handle, 0);
	make_requests(100, 1, true);
	notify(handle);
	assert_int_equal(call(BULKHEAD_CALL_PLATFORM_LOSE, handle, SLOT, 0, 0), BULKHEAD_OK);
	write_at(handle, REGISTERS + 0x14, 1, 0);
	(void)call(BULKHEAD_CALL_PLATFORM_RELEASE, handle, SLOT, 0, 0);
	destroy(handle);
}

static void balloons(void **state)
{
	uint64_t handle = make_with_balloon(64);
	struct core_locked held;
	struct phys page;

	(void)state;
	count_scenario("balloon");
	inflate(20, 40);
	write_at(handle, REGISTERS + 0x3000, 2, 0);
	(void)read_at(handle, REGISTERS + 0x14, 1);
	make_chain(QUEUE, 0, 4, 0);
	offer_first(QUEUE);
	notify(handle);
	/* A whole area that was given up comes back at once. */
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(2), 2ull << 20, 512), BULKHEAD_OK);
	held = core_lock();
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(ownership_relinquish(held, guest_of(handle), guest_phys_at((2ull << 20) + i * PAGE_BYTES),
						      &page), BULKHEAD_OK);
	core_unlock(held);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_RECLAIM, LARGE(2), 512, 0, 0), BULKHEAD_OK);
}

/* A random walk through all calls, for what nobody thought of. */
static void random_calls(void **state)
{
	struct model_source source = { .seed = 1 };

	(void)state;
	count_scenario("random");
	model_start(&source);
	for (unsigned int i = 0; i < 1500; i++)
		(void)model_step();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(machine_calls), TEST(pages_of_a_huge_page), TEST(small_pages), TEST(processors), TEST(descriptions),
		TEST(whole_pages), TEST(single_bytes), TEST(empty_descriptors), TEST(resets), TEST(balloons), TEST(random_calls),
	};

	return cmocka_run_group_tests_name("hypercalls", tests, NULL, NULL);
}
