/* SPDX-License-Identifier: MIT */
/*
 * What loaders parse, and the memory map and types the hypervisor makes of what they found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../../hypervisor/boot/boot_config.h"
#include "../../../hypervisor/x86/memory_layout.h"

static bool parse(const char *text, struct boot_config *config)
{
	return boot_config_parse(text, strlen(text), config);
}

static void an_empty_configuration_is_careful(void **state)
{
	struct boot_config config;

	(void)state;
	assert_true(parse("", &config));
	assert_false(config.continue_unverified);
	assert_false(config.start_linux_if_unable);
	assert_int_equal(config.log_level, 2);
}

static void every_key_is_read(void **state)
{
	struct boot_config config;

	(void)state;
	assert_true(parse("# for tests\n log=debug # all\r\n\nif-unverified=continue\nif-unable=start-linux",
			  &config));
	assert_int_equal(config.log_level, 3);
	assert_true(config.continue_unverified);
	assert_true(config.start_linux_if_unable);
}

static void a_word_without_sense_names_its_line(void **state)
{
	struct boot_config config;

	(void)state;
	assert_false(parse("log=info\nif-unverified=maybe\n", &config));
	assert_int_equal(config.bad_line, 2);
	assert_false(parse("log=inf", &config));
	assert_false(parse("log=information", &config));
}

static void put(uint8_t *at, uint32_t value, unsigned int size)
{
	for (unsigned int i = 0; i < size; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static void sections_are_found_by_name_and_checked(void **state)
{
	uint8_t image[512] = { 'M', 'Z' };
	struct pe_section section;

	(void)state;
	put(image + 0x3c, 0x80, 4);
	put(image + 0x80, 0x4550, 4);
	put(image + 0x86, 2, 2);  /* sections */
	put(image + 0x94, 16, 2); /* optional header */
	memcpy(image + 0xa8, ".text\0\0", 8);
	put(image + 0xa8 + 8, 16, 4);
	put(image + 0xa8 + 12, 0x180, 4);
	memcpy(image + 0xd0, ".cmdline", 8);
	put(image + 0xd0 + 8, 32, 4);
	put(image + 0xd0 + 12, 0x1a0, 4);
	section = pe_section_find(image, sizeof(image), ".cmdline");
	assert_ptr_equal(section.data, image + 0x1a0);
	assert_int_equal(section.size_bytes, 32);
	assert_null(pe_section_find(image, sizeof(image), ".cmd").data);
	assert_null(pe_section_find(image, sizeof(image), ".tex").data);
	put(image + 0xd0 + 8, 512, 4); /* longer than the image */
	assert_null(pe_section_find(image, sizeof(image), ".cmdline").data);
	for (size_t size = 0; size < 0xd0; size++) {
		uint8_t *cut = malloc(size ? size : 1);

		memcpy(cut, image, size);
		assert_null(pe_section_find(cut, size, ".text").data);
		free(cut);
	}
}

static void later_regions_cover_earlier_ones(void **state)
{
	static struct memory_layout layout;

	(void)state;
	memset(&layout, 0, sizeof(layout));
	memory_layout_cover(&layout, 0x100000, 0x100000, REGION_RAM);
	memory_layout_cover(&layout, 0x200000, 0x100000, REGION_RAM);
	memory_layout_merge(&layout);
	assert_int_equal(layout.count, 1);
	memory_layout_cover(&layout, 0x180000, 0x100000, REGION_HYPERVISOR);
	assert_int_equal(layout.count, 3);
	assert_int_equal(layout.regions[0].size_bytes, 0x80000);
	assert_int_equal(layout.regions[1].kind, REGION_HYPERVISOR);
	assert_int_equal(layout.regions[2].base.value, 0x280000);
	assert_int_equal(layout.regions[2].size_bytes, 0x80000);
	memory_layout_cover(&layout, 0, 0x1000000, REGION_NONE);
	assert_int_equal(layout.count, 1);
}

/* A naive map, page by page, is the judge of random layouts. */
static void layouts_equal_a_map_of_pages(void **state)
{
	enum { PAGES = 256 };
	static struct memory_layout layout;
	uint8_t pages[PAGES];

	(void)state;
	srandom(1);
	for (unsigned int round = 0; round < 2000; round++) {
		memset(&layout, 0, sizeof(layout));
		memset(pages, 0xff, sizeof(pages));
		for (unsigned int i = 0; i < 12; i++) {
			uint64_t first = (uint64_t)random() % PAGES;
			uint64_t count = 1 + (uint64_t)random() % (PAGES - first);
			enum region_kind kind = (enum region_kind)(random() % 5);

			memory_layout_cover(&layout, first << 12, count << 12, kind);
			memset(pages + first, kind, count);
		}
		memory_layout_merge(&layout);
		for (size_t i = 0; i < layout.count; i++) {
			uint64_t first = layout.regions[i].base.value >> 12;

			assert_true(i == 0 || layout.regions[i - 1].base.value +
							     layout.regions[i - 1].size_bytes <=
						     layout.regions[i].base.value);
			for (uint64_t j = 0; j < layout.regions[i].size_bytes >> 12; j++) {
				assert_int_equal(pages[first + j], layout.regions[i].kind);
				pages[first + j] = 0xff;
			}
		}
		for (unsigned int i = 0; i < PAGES; i++)
			assert_int_equal(pages[i], 0xff);
	}
}

static void memory_types_follow_the_mtrrs(void **state)
{
	struct mtrr_state mtrrs = { .default_type = 0xc06, .address_bits = 40, .variable_count = 2 };
	struct type_range ranges[32];
	size_t count;

	(void)state;
	memset(mtrrs.fixed, 6, sizeof(mtrrs.fixed));
	mtrrs.fixed[2] = 0; /* A0000h to BFFFFh */
	mtrrs.base[0] = 0x80000000;
	mtrrs.mask[0] = 0xff80000800;
	mtrrs.base[1] = 0x7f000000 | 1;
	mtrrs.mask[1] = 0xffff000800;
	count = mtrr_ranges(&mtrrs, ranges, 32);
	assert_int_equal(count, 6);
	assert_int_equal(ranges[1].base.value, 0xa0000);
	assert_int_equal(ranges[1].size_bytes, 0x20000);
	assert_int_equal(ranges[1].type, 0);
	assert_int_equal(ranges[3].base.value, 0x7f000000);
	assert_int_equal(ranges[3].type, 1);
	assert_int_equal(ranges[4].base.value, 0x80000000);
	assert_int_equal(ranges[4].size_bytes, 0x80000000);
	assert_int_equal(ranges[4].type, 0);
	assert_int_equal(ranges[5].base.value + ranges[5].size_bytes, 1ull << 40);
	assert_int_equal(mtrr_ranges(&mtrrs, ranges, 3), 0);
}

static void overlapping_types_take_the_stricter(void **state)
{
	struct mtrr_state mtrrs = { .default_type = 0x806, .address_bits = 40, .variable_count = 2 };

	(void)state;
	mtrrs.base[0] = 0x80000000 | 6;
	mtrrs.mask[0] = 0xff80000800;
	mtrrs.base[1] = 0xc0000000 | 4;
	mtrrs.mask[1] = 0xffc0000800;
	assert_int_equal(mtrr_type(&mtrrs, 0x90000000), 6);
	assert_int_equal(mtrr_type(&mtrrs, 0xd0000000), 4);
	mtrrs.base[1] = 0xc0000000;
	assert_int_equal(mtrr_type(&mtrrs, 0xd0000000), 0);
	mtrrs.default_type = 0;
	assert_int_equal(mtrr_type(&mtrrs, 0x90000000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_configuration_is_careful),
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(a_word_without_sense_names_its_line),
		cmocka_unit_test(sections_are_found_by_name_and_checked),
		cmocka_unit_test(later_regions_cover_earlier_ones),
		cmocka_unit_test(layouts_equal_a_map_of_pages),
		cmocka_unit_test(memory_types_follow_the_mtrrs),
		cmocka_unit_test(overlapping_types_take_the_stricter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
