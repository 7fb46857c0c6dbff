/* publish_test.c: a disk that is published comes back, and only what is new is stored. */
#include "store_test.h"
#include "store/image.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MIB (1ull << 20)

struct fixture {
	char *folder;
	struct store *store;
	struct domain domain;
	struct test_disk *disk;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct problem problem = {""};

	fixture->folder = test_folder();
	if (store_open(fixture->folder, true, &fixture->store, &problem))
		fail_msg("%s", problem.line);
	fixture->domain = test_domain(7);
	fixture->disk = test_disk_new(40 * MIB);
	test_disk_fill(fixture->disk, 100, 3000, 1);
	test_disk_fill(fixture->disk, 8000, 700, 2);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	store_close(fixture->store);
	test_folder_remove(fixture->folder);
	test_disk_free(fixture->disk);
	free(fixture);
	return 0;
}

static void a_published_disk_comes_back(void **state)
{
	struct fixture *fixture = *state;
	struct publish_result result;

	test_publish(fixture->store, &fixture->domain, fixture->disk, "v1", NULL, &result);
	assert_int_equal(result.new_blocks, 3700);
	assert_int_equal(result.known_blocks, 0);
	test_same(fixture->store, &fixture->domain, result.version, fixture->disk);
}

static void an_equal_disk_stores_no_block(void **state)
{
	struct fixture *fixture = *state;
	struct publish_result first, second;

	test_publish(fixture->store, &fixture->domain, fixture->disk, "v1", NULL, &first);
	test_publish(fixture->store, &fixture->domain, fixture->disk, "v2", first.version, &second);
	assert_int_equal(second.new_blocks, 0);
	assert_int_equal(second.known_blocks, 3700);
	test_same(fixture->store, &fixture->domain, second.version, fixture->disk);
}

static void moved_and_repeated_blocks_are_free(void **state)
{
	struct fixture *fixture = *state;
	struct publish_result first, second;
	uint8_t *data = fixture->disk->data;

	test_publish(fixture->store, &fixture->domain, fixture->disk, "v1", NULL, &first);
	memcpy(data + 6000 * BLOCK_BYTES, data + 100 * BLOCK_BYTES, 1000 * BLOCK_BYTES);
	for (int i = 0; i < 500; i++)
		memcpy(data + (9000 + i) * BLOCK_BYTES, data + 101 * BLOCK_BYTES, BLOCK_BYTES);
	test_publish(fixture->store, &fixture->domain, fixture->disk, "v2", first.version, &second);
	assert_int_equal(second.new_blocks, 0);
	test_same(fixture->store, &fixture->domain, second.version, fixture->disk);
}

static void a_disk_whose_end_is_within_a_block_comes_back(void **state)
{
	struct fixture *fixture = *state;
	struct test_disk *disk = test_disk_new(5 * MIB + 1234);
	struct publish_result result;

	test_disk_fill(disk, 0, 5 * MIB / BLOCK_BYTES + 1, 9);
	test_publish(fixture->store, &fixture->domain, disk, "odd", NULL, &result);
	test_same(fixture->store, &fixture->domain, result.version, disk);
	test_disk_free(disk);
}

static void an_empty_disk_is_a_version(void **state)
{
	struct fixture *fixture = *state;
	struct test_disk *disk = test_disk_new(33 * MIB);
	struct publish_result result;

	test_publish(fixture->store, &fixture->domain, disk, "empty", NULL, &result);
	assert_int_equal(result.new_blocks, 0);
	test_same(fixture->store, &fixture->domain, result.version, disk);
	test_disk_free(disk);
}

static void hardly_used_frames_are_given_up(void **state)
{
	struct fixture *fixture = *state;
	struct publish_result first, second;
	struct test_disk *disk = test_disk_new(40 * MIB);

	test_publish(fixture->store, &fixture->domain, fixture->disk, "v1", NULL, &first);
	/* One block of each old frame. */
	for (int i = 0; i < 40; i++)
		memcpy(disk->data + (uint64_t)i * BLOCK_BYTES,
		       fixture->disk->data + (uint64_t)(100 + 64 * i) * BLOCK_BYTES, BLOCK_BYTES);
	test_publish(fixture->store, &fixture->domain, disk, "v2", first.version, &second);
	assert_int_equal(second.moved_blocks, 40);
	test_same(fixture->store, &fixture->domain, second.version, disk);
	test_disk_free(disk);
}

static void an_incremental_version_reads_only_changes(void **state)
{
	struct fixture *fixture = *state;
	struct test_disk *disk = fixture->disk;
	struct publish_result first, second;
	struct block_range changes[] = {{50, 60}, {5000, 3}, {8100, 10}};
	struct publish_source source = test_disk_source(disk);
	struct publish_options options = {
	    .label = "day",
	    .changes = changes,
	    .change_count = 3,
	    .signer = test_signer(),
	};

	test_publish(fixture->store, &fixture->domain, disk, "v1", NULL, &first);
	test_disk_fill(disk, 60, 40, 77);
	test_disk_fill(disk, 5000, 2, 78);
	memset(disk->data + 8100 * BLOCK_BYTES, 0, 5 * BLOCK_BYTES);
	disk->read_bytes = 0;
	options.base = first.version;
	assert_int_equal(publish_version(fixture->store, &fixture->domain, &source, &options,
					 &second, NULL),
			 0);
	assert_int_equal(disk->read_bytes, 73 * BLOCK_BYTES);
	assert_int_equal(second.new_blocks, 42);
	test_same(fixture->store, &fixture->domain, second.version, disk);
}

static void another_domain_neither_shares_nor_reads(void **state)
{
	struct fixture *fixture = *state;
	struct domain other = test_domain(8);
	struct publish_result first, second;
	struct problem problem = {""};
	struct image *image;

	test_publish(fixture->store, &fixture->domain, fixture->disk, "v1", NULL, &first);
	test_publish(fixture->store, &other, fixture->disk, "v1", NULL, &second);
	assert_int_equal(second.new_blocks, 3700);
	assert_int_equal(image_open(fixture->store, &other, first.version, &image, &problem),
			 -EKEYREJECTED);
	assert_non_null(strstr(problem.line, "another domain"));
}

static void a_change_map_beyond_the_disk_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct publish_result first;
	struct block_range changes[] = {{10000, 1000}};
	struct publish_source source = test_disk_source(fixture->disk);
	struct publish_options options = {
	    .label = "day", .changes = changes, .change_count = 1, .signer = test_signer()};
	struct problem problem = {""};

	test_publish(fixture->store, &fixture->domain, fixture->disk, "v1", NULL, &first);
	options.base = first.version;
	assert_int_equal(publish_version(fixture->store, &fixture->domain, &source, &options, NULL,
					 &problem),
			 -EINVAL);
	assert_non_null(strstr(problem.line, "change map"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(a_published_disk_comes_back),
	    TEST(an_equal_disk_stores_no_block),
	    TEST(moved_and_repeated_blocks_are_free),
	    TEST(a_disk_whose_end_is_within_a_block_comes_back),
	    TEST(an_empty_disk_is_a_version),
	    TEST(hardly_used_frames_are_given_up),
	    TEST(an_incremental_version_reads_only_changes),
	    TEST(another_domain_neither_shares_nor_reads),
	    TEST(a_change_map_beyond_the_disk_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
