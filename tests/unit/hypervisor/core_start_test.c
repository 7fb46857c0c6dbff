/* SPDX-License-Identifier: MIT */
/*
 * Start: the service domain's identity mapping, memory maps, the frame table, large pages.
 */
#include "core_fixture.h"

static void identity_covers_the_whole_width_with_large_pages(void **state)
{
	(void)state;
	assert_int_equal(service_mapping(0x5000).access, ACCESS_ALL);
	assert_int_equal(service_mapping(0x5000).page.value, 0x5000);
	assert_int_equal(service_mapping(0x5000).level, 1);
	assert_int_equal(service_mapping((1ull << 36) - 4096).access, ACCESS_CPU);
	assert_int_equal(service_mapping((1ull << 36) - 4096).page.value, (1ull << 36) - 4096);
	assert_int_equal(service_mapping((1ull << 36) - 4096).level, 2);
	assert_int_equal(service_mapping(1ull << 30).access, ACCESS_CPU); /* named by no region */
	assert_int_equal(service_mapping(FAKE_READ_ONLY).access, ACCESS_READ);
	assert_int_equal(service_mapping(FAKE_NONE).access, ACCESS_NONE);
	assert_int_equal(service_mapping(FAKE_OWN_BASE).access, ACCESS_ZERO);
}

static void one_gib_pages_split_and_merge(void **state)
{
	uint64_t first = (1ull << 30) + 5 * PAGE_BYTES, second = (1ull << 30) + (3ull << 21);
	uint64_t handle;
	unsigned int spare;

	(void)state;
	fake_start_big(64);
	handle = make_guest();
	assert_int_equal(service_mapping(first).level, 2);
	spare = address_space_spare(&core.service);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, first, 0, 1), BULKHEAD_OK);
	assert_int_equal(call(BULKHEAD_CALL_GUEST_DONATE, handle, second, 0x1000, 1), BULKHEAD_OK);
	assert_int_equal(address_space_spare(&core.service), spare - 3);
	assert_int_equal(service_mapping(first).access, ACCESS_ZERO);
	assert_int_equal(service_mapping(first + PAGE_BYTES).page.value, first + PAGE_BYTES);
	assert_int_equal(service_mapping(second + (2ull << 21)).level, 1);
	seal(handle);
	for (int i = 0; i < 2; i++) {
		struct core_locked held = core_lock();
		struct phys page;

		fake_touch(&core.service, input_of_service(phys_at(first)), 3);
		assert_int_equal(ownership_relinquish(held, guest_of(handle),
						      guest_phys_at(i * PAGE_BYTES), &page),
				 BULKHEAD_OK);
		assert_int_equal(ownership_take_back(held, page, 1), BULKHEAD_OK);
		core_unlock(held);
		assert_int_equal(service_mapping(first).level, i == 0 ? 1 : 2);
		assert_true(fake_all_coherent(&core.service));
	}
	assert_int_equal(address_space_spare(&core.service), spare);
}

static void tables_with_a_change_of_memory_type_stay(void **state)
{
	uint64_t area = 32ull << 20;
	uint64_t handle = make_guest();

	(void)state;
	assert_int_equal(service_mapping(area).level, 0);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DONATE, handle, area, 0, 512), BULKHEAD_OK);
	assert_int_equal(service_mapping(area).access, ACCESS_ZERO);
	assert_int_equal(call_all(BULKHEAD_CALL_GUEST_DESTROY, handle, 0, 0, 0), BULKHEAD_OK);
	assert_int_equal(service_mapping(area).level, 0);
	assert_int_equal(service_mapping(area).access, ACCESS_ALL);
}

/* A format with memory types in the leaves, as Intel's is. */
static const struct table_format typed_format = {
	.address_mask = 0x000ffffffffff000ull,
	.leaf = { [ACCESS_ALL] = 7 | 1ull << 61, [ACCESS_CPU] = 7, [ACCESS_READ] = 5 },
	.access_mask = 7 | 1ull << 61,
	.large_leaf = 1 << 7,
	.large_mask = 1 << 7,
	.table = 7,
	.type_unit = 1 << 3,
	.ram_type = 6,
};

static uint64_t *leaf_of(const struct address_space *space, uint64_t at)
{
	struct phys table = space->root;

	for (int level = 3;; level--) {
		uint64_t *entry = (uint64_t *)arch_page(table) + (at >> (12 + 9 * level) & 511);

		if (level == 0 || (*entry & 0x80))
			return entry;
		table = phys_at(*entry & 0x000ffffffffff000ull);
	}
}

static void start_core(struct core_config *config, struct region *regions, size_t count)
{
	static struct frame frames[((1ull << 30) + (64ull << 20)) / 4096];

	*config = (struct core_config){
		.format = &typed_format,
		.map = { .regions = regions, .region_count = count, .address_bits = 36 },
		.pages = { FAKE_OWN_BASE },
		.page_count = 64,
		.frame_storage = frames,
	};
}

static void leaves_carry_the_memory_type_of_their_stretch(void **state)
{
	struct region regions[] = {
		{ { 0 }, FAKE_OWN_BASE, REGION_RAM },
		{ { FAKE_OWN_BASE }, FAKE_OWN_BYTES, REGION_HYPERVISOR },
		{ { 18ull << 20 }, 46ull << 20, REGION_RAM },
	};
	struct type_range types[] = {
		{ { 0 }, 32ull << 20, 6 },
		{ { 33ull << 20 }, 31ull << 20, 4 },
	};
	struct core_config config;
	struct core_locked held;
	struct frame *frames;

	(void)state;
	start_core(&config, regions, 3);
	config.map.types = types;
	config.map.type_count = 2;
	config.tsc_khz = 2500000;
	assert_int_equal(core_start(&config), BULKHEAD_OK);
	assert_int_equal(core.tsc_khz, 2500000);
	assert_int_equal(*leaf_of(&core.service, 0) >> 3 & 7, 6);
	assert_int_equal(*leaf_of(&core.service, 32ull << 20) >> 3 & 7, DEFAULT_MEMORY_TYPE);
	assert_int_equal(*leaf_of(&core.service, 33ull << 20) >> 3 & 7, 4);
	assert_int_equal(*leaf_of(&core.service, 36ull << 20) >> 3 & 7, 4);
	assert_int_equal(*leaf_of(&core.service, 1ull << 35) >> 3 & 7, DEFAULT_MEMORY_TYPE);
	assert_int_equal(*leaf_of(&core.service, FAKE_OWN_BASE) >> 3 & 7, 6);
	assert_int_equal(service_mapping(32ull << 20).level, 0);
	/* A page that was away comes back with its type, and its neighbours keep theirs. */
	held = core_lock();
	frames = frame_of(&core.frames, phys_at(36ull << 20));
	assert_int_equal(ownership_take(held, phys_at(36ull << 20), 1, FRAME_VCPU, 0), BULKHEAD_OK);
	assert_int_equal(*leaf_of(&core.service, (36ull << 20) + 4096) >> 3 & 7, 4);
	assert_int_equal(*leaf_of(&core.service, 36ull << 20) >> 3 & 7, 6);
	assert_int_equal(frames->state, FRAME_VCPU);
	frame_set(&core.frames, frames, 1, FRAME_RELEASED, NO_GUEST, 0);
	assert_int_equal(ownership_take_back(held, phys_at(36ull << 20), 1), BULKHEAD_OK);
	assert_int_equal(*leaf_of(&core.service, 36ull << 20) >> 3 & 7, 4);
	assert_int_equal(service_mapping(36ull << 20).level, 1);
	/* So do pages in a row, of which some lie before the stretch that begins among them. */
	frames = frame_of(&core.frames, phys_at((33ull << 20) - 4 * PAGE_BYTES));
	assert_int_equal(ownership_take(held, phys_at((33ull << 20) - 4 * PAGE_BYTES), 8, FRAME_VCPU, 0), BULKHEAD_OK);
	frame_set(&core.frames, frames, 8, FRAME_RELEASED, NO_GUEST, 0);
	assert_int_equal(ownership_take_back(held, phys_at((33ull << 20) - 4 * PAGE_BYTES), 8), BULKHEAD_OK);
	core_unlock(held);
	assert_int_equal(*leaf_of(&core.service, (33ull << 20) - PAGE_BYTES) >> 3 & 7, DEFAULT_MEMORY_TYPE);
	assert_int_equal(*leaf_of(&core.service, 33ull << 20) >> 3 & 7, 4);
}

static void a_type_that_ends_inside_ram_ends_a_large_page(void **state)
{
	struct region regions[] = {
		{ { 0 }, FAKE_OWN_BASE, REGION_RAM },
		{ { FAKE_OWN_BASE }, FAKE_OWN_BYTES, REGION_HYPERVISOR },
		{ { 18ull << 20 }, 46ull << 20, REGION_RAM },
	};
	struct type_range type = { { 0 }, 33ull << 20, 6 };
	struct core_config config;

	(void)state;
	start_core(&config, regions, 3);
	config.map.types = &type;
	config.map.type_count = 1;
	assert_int_equal(core_start(&config), BULKHEAD_OK);
	assert_int_equal(service_mapping(30ull << 20).level, 1);
	assert_int_equal(service_mapping(32ull << 20).level, 0);
	assert_int_equal(service_mapping(34ull << 20).level, 1);
}

static void tables_are_counted_to_the_last_one(void **state)
{
	struct region regions[] = {
		{ { 0 }, FAKE_OWN_BASE, REGION_RAM },
		{ { FAKE_OWN_BASE }, FAKE_OWN_BYTES, REGION_HYPERVISOR },
		{ { 1ull << 30 }, 1ull << 30, REGION_HYPERVISOR },
		{ { 2ull << 30 }, PAGE_BYTES, REGION_NONE },
		{ { 3ull << 30 }, 1ull << 30, REGION_NONE },
		{ { 1ull << 39 }, 1ull << 39, REGION_NONE },
	};
	struct core_config config;

	(void)state;
	start_core(&config, regions, 6);
	config.map.address_bits = 41;
	config.page_count = core_pages_needed(&config.map);
	assert_int_equal(core_start(&config), BULKHEAD_OK);
	assert_int_equal(address_space_spare(&core.service), 0);
	assert_int_equal(service_mapping(1ull << 30).access, ACCESS_ZERO);
	assert_int_equal(service_mapping(1ull << 30).level, 2);
	assert_int_equal(service_mapping(2ull << 30).access, ACCESS_NONE);
	assert_int_equal(service_mapping((2ull << 30) + PAGE_BYTES).access, ACCESS_CPU);
	assert_int_equal(service_mapping(3ull << 30).access, ACCESS_NONE);
	assert_int_equal(service_mapping(1ull << 39).access, ACCESS_NONE);
	assert_int_equal(service_mapping(1ull << 40).access, ACCESS_CPU);
}

static void start_refuses_a_configuration_that_cannot_work(void **state)
{
	struct region regions[] = {
		{ { 0 }, FAKE_OWN_BASE, REGION_RAM },
		{ { FAKE_OWN_BASE }, FAKE_OWN_BYTES, REGION_HYPERVISOR },
	};
	struct type_range types[MAX_TYPE_RANGES + 1];
	struct region many[MAX_RAM_RANGES + 2];
	struct core_config good, bad;

	(void)state;
	start_core(&good, regions, 2);
	assert_int_equal(core_start(&good), BULKHEAD_OK);
	bad = good;
	bad.page_count = ZERO_BACKING_PAGES;
	assert_int_equal(core_start(&bad), BULKHEAD_NO_TABLES);
	bad.page_count = core_pages_needed(&bad.map) - 1;
	memset(&core, 0, sizeof(core));
	assert_int_equal(core_start(&bad), BULKHEAD_NO_TABLES);
	bad.page_count = core_pages_needed(&bad.map);
	memset(&core, 0, sizeof(core));
	assert_int_equal(core_start(&bad), BULKHEAD_OK);
	assert_int_equal(address_space_spare(&core.service), 0);
	bad = good;
	bad.pages = phys_at(FAKE_OWN_BASE - PAGE_BYTES);
	assert_int_equal(core_start(&bad), BULKHEAD_INVALID);
	bad.pages = phys_at(FAKE_OWN_BASE + FAKE_OWN_BYTES - PAGE_BYTES);
	assert_int_equal(core_start(&bad), BULKHEAD_INVALID);
	bad = good;
	for (size_t i = 0; i < ARRAY_COUNT(types); i++)
		types[i] = (struct type_range){ phys_at(i * PAGE_BYTES), PAGE_BYTES, 6 };
	bad.map.types = types;
	bad.map.type_count = ARRAY_COUNT(types);
	assert_int_equal(core_start(&bad), BULKHEAD_LIMIT);
	bad.map.type_count = MAX_TYPE_RANGES;
	assert_int_equal(core_start(&bad), BULKHEAD_OK);
	bad = good;
	many[0] = (struct region){ { FAKE_OWN_BASE }, FAKE_OWN_BYTES, REGION_HYPERVISOR };
	for (size_t i = 1; i < ARRAY_COUNT(many); i++)
		many[i] = (struct region){ phys_at((20ull << 20) + i * 2 * PAGE_BYTES), PAGE_BYTES,
					   REGION_RAM };
	bad.map.regions = many;
	bad.map.region_count = ARRAY_COUNT(many);
	assert_int_equal(core_start(&bad), BULKHEAD_LIMIT);
	bad = good;
	bad.map.address_bits = 31;
	assert_int_equal(core_start(&bad), BULKHEAD_INVALID);
}

static void a_map_is_valid_only_if_sorted_aligned_and_without_overlap(void **state)
{
	static const struct {
		struct region regions[2];
		bool is_valid;
	} cases[] = {
		{ { { { 0 }, 0x1000, REGION_RAM }, { { 0x1000 }, 0x1000, REGION_RAM } }, true },
		{ { { { 0 }, 0x2000, REGION_RAM }, { { 0x1000 }, 0x1000, REGION_RAM } }, false },
		{ { { { 0x1000 }, 0x1000, REGION_RAM }, { { 0 }, 0x1000, REGION_RAM } }, false },
		{ { { { 0 }, 0x800, REGION_RAM }, { { 0x1000 }, 0x1000, REGION_RAM } }, false },
		{ { { { 0 }, 0, REGION_RAM }, { { 0x1000 }, 0x1000, REGION_RAM } }, false },
		{ { { { 0x10 }, 0x1000, REGION_RAM }, { { 0x2000 }, 0x1000, REGION_RAM } }, false },
		{ { { { 0 }, 0x1000, REGION_RAM }, { { 1ull << 63 }, 0x1000, REGION_RAM } }, false },
		{ { { { 0 }, 0x1000, REGION_RAM }, { { 0x1000 }, ~0xfffull, REGION_RAM } }, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct type_range types[2];
		struct memory_map map = {
			.regions = cases[i].regions,
			.region_count = 2,
			.address_bits = 52,
		};

		assert_int_equal(memory_map_is_valid(&map), cases[i].is_valid);
		for (int j = 0; j < 2; j++)
			types[j] = (struct type_range){ cases[i].regions[j].base,
							cases[i].regions[j].size_bytes, 0 };
		map.region_count = 0;
		map.types = types;
		map.type_count = 2;
		assert_int_equal(memory_map_is_valid(&map), cases[i].is_valid);
		map.address_bits = 53;
		assert_false(memory_map_is_valid(&map));
	}
}

static void frames_are_found_in_their_ranges_only(void **state)
{
	static struct region regions[MAX_RAM_RANGES + 1];
	static struct frame storage[2 * (MAX_RAM_RANGES + 1)];
	struct memory_map map = { .regions = regions, .region_count = 3, .address_bits = 40 };
	static struct frame_table table;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(regions); i++)
		regions[i] = (struct region){ phys_at((1 + 4 * i) * PAGE_BYTES), 2 * PAGE_BYTES,
					      REGION_RAM };
	regions[1].kind = REGION_DEVICE;
	assert_int_equal(frame_table_bytes(&map), 4 * sizeof(struct frame));
	assert_int_equal(frame_table_init(&table, &map, storage), BULKHEAD_OK);
	assert_int_equal(table.page_count, 4);
	assert_null(frame_of(&table, phys_at(0)));
	assert_ptr_equal(frame_of(&table, phys_at(0x1000)), &storage[0]);
	assert_ptr_equal(frame_of(&table, phys_at(0x2000)), &storage[1]);
	assert_null(frame_of(&table, phys_at(0x2008)));
	assert_null(frame_of(&table, phys_at(0x3000)));
	assert_null(frame_of(&table, phys_at(0x5000)));
	assert_ptr_equal(frame_of(&table, phys_at(0x9000)), &storage[2]);
	assert_null(frame_of(&table, phys_at(0xb000)));
	assert_null(frame_of(&table, phys_at(~0xfffull)));
	assert_ptr_equal(frame_run(&table, phys_at(0x1000), 2), &storage[0]);
	assert_null(frame_run(&table, phys_at(0x2000), 2));
	assert_null(frame_run(&table, phys_at(0x1000), ~0ull));
	regions[1].kind = REGION_RAM;
	map.region_count = MAX_RAM_RANGES;
	assert_int_equal(frame_table_init(&table, &map, storage), BULKHEAD_OK);
	map.region_count++;
	assert_int_equal(frame_table_init(&table, &map, storage), BULKHEAD_LIMIT);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(identity_covers_the_whole_width_with_large_pages),
		TEST(one_gib_pages_split_and_merge),
		TEST(tables_with_a_change_of_memory_type_stay),
		TEST(leaves_carry_the_memory_type_of_their_stretch),
		TEST(a_type_that_ends_inside_ram_ends_a_large_page),
		TEST(tables_are_counted_to_the_last_one),
		TEST(start_refuses_a_configuration_that_cannot_work),
		TEST(a_map_is_valid_only_if_sorted_aligned_and_without_overlap),
		TEST(frames_are_found_in_their_ranges_only),
	};

	return cmocka_run_group_tests_name("core-start", tests, NULL, NULL);
}
