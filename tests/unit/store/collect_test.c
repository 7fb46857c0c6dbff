/* collect_test.c: collections take only what nobody uses; damage is named, mended, and all is rebuilt. */
#include "model_disk.h"
#include "store_test.h"
#include "store/accept.h"
#include "store/collect.h"
#include "store/fetch.h"
#include "store/repair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BLOCKS 2000u

static uint64_t now_seconds = 1000000;

static uint64_t test_now(void)
{
	return now_seconds;
}

struct fixture {
	struct model_disk *model;
	struct store *store;
	struct domain domain;
	struct test_disk *disk;
	struct publish_result first, second;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->model = model_disk_new();
	assert_int_equal(store_open_files(model_disk_files(fixture->model), &fixture->store, NULL), 0);
	store_set_clock(fixture->store, test_now);
	fixture->domain = test_domain(7);
	fixture->disk = test_disk_new(BLOCKS * BLOCK_BYTES);
	test_disk_fill(fixture->disk, 0, 1000, 1);
	test_publish(fixture->store, &fixture->domain, fixture->disk, "v1", NULL, &fixture->first);
	test_disk_fill(fixture->disk, 0, 640, 2);
	test_publish(fixture->store, &fixture->domain, fixture->disk, "v2", fixture->first.version,
		     &fixture->second);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	store_close(fixture->store);
	model_disk_free(fixture->model);
	test_disk_free(fixture->disk);
	free(fixture);
	return 0;
}

static struct collect_result collect(struct fixture *fixture)
{
	struct collect_result result;
	struct problem problem = {""};

	if (collect_run(fixture->store, false, &result, &problem))
		fail_msg("%s", problem.line);
	return result;
}

static void frames_that_a_version_uses_stay(void **state)
{
	struct fixture *fixture = *state;

	collect(fixture);
	assert_int_equal(collect(fixture).freed_frames, 0);
	assert_int_equal(store_remove_version(fixture->store, fixture->first.version, NULL), 0);
	assert_true(collect(fixture).dead_frames > 0);
	assert_true(collect(fixture).freed_frames > 0);
	test_same(fixture->store, &fixture->domain, fixture->second.version, fixture->disk);
}

static void a_session_that_began_before_keeps_what_it_was_told(void **state)
{
	struct fixture *fixture = *state;
	uint64_t session;

	assert_int_equal(accept_begin(fixture->store, 60, &session), 0);
	assert_int_equal(store_remove_version(fixture->store, fixture->first.version, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(collect(fixture).freed_frames, 0);
	assert_int_equal(accept_end(fixture->store, session), 0);
	assert_true(collect(fixture).freed_frames > 0);
}

static void a_session_that_fell_silent_expires(void **state)
{
	struct fixture *fixture = *state;
	uint64_t session;

	assert_int_equal(accept_begin(fixture->store, 60, &session), 0);
	assert_int_equal(store_remove_version(fixture->store, fixture->first.version, NULL), 0);
	collect(fixture);
	now_seconds += 100;
	assert_true(collect(fixture).freed_frames > 0);
	assert_int_equal(accept_renew(fixture->store, session, 60), -ESTALE);
}

static void dead_frames_are_not_referred_to_again(void **state)
{
	struct fixture *fixture = *state;
	struct publish_result third;
	struct test_disk *old = test_disk_new(BLOCKS * BLOCK_BYTES);

	test_disk_fill(old, 0, 1000, 1);
	assert_int_equal(store_remove_version(fixture->store, fixture->first.version, NULL), 0);
	collect(fixture);
	test_publish(fixture->store, &fixture->domain, old, "v3", NULL, &third);
	assert_true(third.new_blocks >= 600);
	collect(fixture);
	collect(fixture);
	test_same(fixture->store, &fixture->domain, third.version, old);
	test_disk_free(old);
}

static void a_collection_with_nobody_at_work_can_finish_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct collect_result result;

	assert_int_equal(store_remove_version(fixture->store, fixture->first.version, NULL), 0);
	assert_int_equal(store_remove_version(fixture->store, fixture->second.version, NULL), 0);
	assert_int_equal(collect_run(fixture->store, true, &result, NULL), 0);
	assert_int_equal(result.removed_packs, 2);
	assert_int_equal(result.live_frames, 0);
}

struct faults {
	struct fault list[16];
	int count;
};

static int note(void *context, const struct fault *fault)
{
	struct faults *faults = context;

	if (faults->count < 16)
		faults->list[faults->count++] = *fault;
	return 0;
}

static void first_pack(void *context, const char *path, uint64_t bytes)
{
	char *found = context;

	if (!*found && !strncmp(path, "packs/", 6))
		strcpy(found, path);
}

/* Every byte of a pack belongs to something that a check looks at. */
static void any_flipped_bit_is_named_and_mended(void **state)
{
	struct fixture *fixture = *state;
	struct model_disk *copy =
	    model_disk_after_cut(fixture->model, model_disk_operations(fixture->model), 0);
	struct store *other;
	struct fetch_source source;
	char path[128] = "";
	uint64_t total;

	assert_int_equal(store_open_files(model_disk_files(copy), &other, NULL), 0);
	source = fetch_source_store(other);
	model_disk_each(fixture->model, first_pack, path);
	total = 0;
	for (uint64_t offset = 0; offset < 400000; offset += offset < 100 ? 9 : 27577, total++) {
		struct faults faults = {.count = 0};
		struct check_result result;
		struct problem problem = {""};
		char line[200];

		model_disk_flip(fixture->model, path, offset, (int)(offset % 8));
		assert_int_equal(
		    repair_check(fixture->store, note, &faults, NULL, &result, NULL), 0);
		assert_int_equal(faults.count, 1);
		repair_describe(&faults.list[0], line, sizeof(line));
		assert_true(offset >= faults.list[0].offset &&
			    offset < faults.list[0].offset + faults.list[0].bytes);
		if (repair_fault(fixture->store, &faults.list[0], &source, &problem))
			fail_msg("%s", problem.line);
		assert_int_equal(repair_check(fixture->store, NULL, NULL, NULL, &result, NULL), 0);
		assert_int_equal(result.faults, 0);
	}
	assert_true(total > 20);
	store_close(other);
	model_disk_free(copy);
}

static void the_catalogue_and_index_come_back_from_packs_and_manifests(void **state)
{
	struct fixture *fixture = *state;
	struct version_trust trust = test_trust();
	struct publish_result third;
	struct check_result result;
	struct problem problem = {""};
	uint64_t blocks;

	store_close(fixture->store);
	if (repair_rebuild_files(model_disk_files(fixture->model), &trust, &result, &problem))
		fail_msg("%s", problem.line);
	assert_int_equal(result.versions, 2);
	assert_int_equal(store_open_files(model_disk_files(fixture->model), &fixture->store, NULL), 0);
	assert_int_equal(repair_index(fixture->store, &fixture->domain, &blocks, NULL), 0);
	assert_true(blocks >= 1640);
	test_same(fixture->store, &fixture->domain, fixture->second.version, fixture->disk);
	test_publish(fixture->store, &fixture->domain, fixture->disk, "v3", fixture->second.version,
		     &third);
	assert_int_equal(third.new_blocks, 0);
	collect(fixture);
	collect(fixture);
	test_same(fixture->store, &fixture->domain, third.version, fixture->disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(frames_that_a_version_uses_stay),
	    TEST(a_session_that_began_before_keeps_what_it_was_told),
	    TEST(a_session_that_fell_silent_expires),
	    TEST(dead_frames_are_not_referred_to_again),
	    TEST(a_collection_with_nobody_at_work_can_finish_at_once),
	    TEST(any_flipped_bit_is_named_and_mended),
	    TEST(the_catalogue_and_index_come_back_from_packs_and_manifests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
