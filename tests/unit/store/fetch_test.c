/* fetch_test.c: a version moves from one store to another, only what is missing, checked. */
#include "store_test.h"
#include "store/accept.h"
#include "store/collect.h"
#include "store/fetch.h"
#include "store/image.h"
#include "store/repair.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define MIB (1ull << 20)

struct fixture {
	char *there_folder, *here_folder;
	struct store *there, *here;
	struct domain domain;
	struct test_disk *disk;
	struct publish_result first, second;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->there_folder = test_folder();
	fixture->here_folder = test_folder();
	assert_int_equal(store_open(fixture->there_folder, true, &fixture->there, NULL), 0);
	assert_int_equal(store_open(fixture->here_folder, true, &fixture->here, NULL), 0);
	fixture->domain = test_domain(7);
	fixture->disk = test_disk_new(24 * MIB);
	test_disk_fill(fixture->disk, 10, 4000, 1);
	test_publish(fixture->there, &fixture->domain, fixture->disk, "v1", NULL, &fixture->first);
	test_disk_fill(fixture->disk, 1000, 200, 5);
	test_publish(fixture->there, &fixture->domain, fixture->disk, "v2", fixture->first.version,
		     &fixture->second);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	store_close(fixture->there);
	store_close(fixture->here);
	test_folder_remove(fixture->there_folder);
	test_folder_remove(fixture->here_folder);
	test_disk_free(fixture->disk);
	free(fixture);
	return 0;
}

static struct fetch *begin(struct fixture *fixture, const uint8_t *version,
			   const struct fetch_source *source)
{
	struct version_trust trust = test_trust();
	struct problem problem = {""};
	struct fetch *fetch;
	char *envelope;

	assert_int_equal(store_version_envelope(fixture->there, version, &envelope, NULL), 0);
	if (fetch_open(fixture->here, source, envelope, strlen(envelope), &trust, &fetch, &problem))
		fail_msg("%s", problem.line);
	free(envelope);
	return fetch;
}

static uint64_t get(struct fixture *fixture, const uint8_t *version)
{
	struct fetch_source source = fetch_source_store(fixture->there);
	struct fetch *fetch = begin(fixture, version, &source);
	struct problem problem = {""};
	struct fetch_result result;

	if (fetch_run(fetch, NULL, &problem))
		fail_msg("%s", problem.line);
	fetch_totals(fetch, &result);
	assert_int_equal(fetch_close(fetch), 0);
	return result.fetched_bytes;
}

static void a_fetched_version_is_the_disk(void **state)
{
	struct fixture *fixture = *state;

	get(fixture, fixture->second.version);
	test_same(fixture->here, &fixture->domain, fixture->second.version, fixture->disk);
}

static void an_update_moves_only_what_is_new(void **state)
{
	struct fixture *fixture = *state;
	uint64_t all = get(fixture, fixture->first.version);
	uint64_t update = get(fixture, fixture->second.version);

	assert_true(update <= fixture->second.stored_bytes);
	assert_true(update * 10 < all);
	test_same(fixture->here, &fixture->domain, fixture->second.version, fixture->disk);
	/* And nothing at all the next time. */
	assert_int_equal(get(fixture, fixture->second.version), 0);
}

struct limited {
	struct fetch_source inner;
	uint64_t left;
	uint64_t damaged_from;
};

static int limited_read(void *context, const uint8_t *salt, uint64_t offset, size_t bytes, void *buffer)
{
	struct limited *limited = context;
	int error;

	if (bytes > limited->left)
		return -ECONNRESET;
	limited->left -= bytes;
	error = limited->inner.read(limited->inner.context, salt, offset, bytes, buffer);
	if (!error && limited->left < limited->damaged_from)
		((uint8_t *)buffer)[bytes / 2] ^= 1;
	return error;
}

static void an_interrupted_fetch_keeps_what_has_arrived(void **state)
{
	struct fixture *fixture = *state;
	struct limited limited = {.inner = fetch_source_store(fixture->there), .left = 3 * MIB};
	struct fetch_source source = {limited_read, &limited};
	struct fetch_options options = {.threads = 1, .range_bytes = 300000};
	struct fetch *fetch = begin(fixture, fixture->second.version, &source);
	uint64_t all, left, frames;

	fetch_missing(fetch, &all, &frames);
	assert_int_equal(fetch_run(fetch, &options, NULL), -ECONNRESET);
	fetch_close(fetch);
	limited.left = UINT64_MAX;
	fetch = begin(fixture, fixture->second.version, &source);
	fetch_missing(fetch, &left, &frames);
	assert_true(left > 0 && left < all - 2 * MIB);
	assert_int_equal(fetch_run(fetch, &options, NULL), 0);
	fetch_close(fetch);
	test_same(fixture->here, &fixture->domain, fixture->second.version, fixture->disk);
}

static void wrong_bytes_are_not_stored(void **state)
{
	struct fixture *fixture = *state;
	struct limited limited = {.inner = fetch_source_store(fixture->there),
				  .left = UINT64_MAX,
				  .damaged_from = 0};
	struct fetch_source source = {limited_read, &limited};
	struct fetch *fetch = begin(fixture, fixture->second.version, &source);
	struct check_result result;
	struct problem problem = {""};
	struct version_row row;

	limited.damaged_from = UINT64_MAX;
	assert_int_equal(fetch_run(fetch, NULL, &problem), -EBADMSG);
	assert_non_null(strstr(problem.line, "not what was signed"));
	fetch_close(fetch);
	assert_int_equal(repair_check(fixture->here, NULL, NULL, NULL, &result, NULL), 0);
	assert_int_equal(result.faults, 0);
	assert_int_equal(store_find_version(fixture->here, "v2", &row, NULL), 0);
	assert_false(row.arrived);
}

static void a_forged_version_is_not_fetched(void **state)
{
	struct fixture *fixture = *state;
	struct fetch_source source = fetch_source_store(fixture->there);
	struct version_trust trust = test_trust();
	struct problem problem = {""};
	struct fetch *fetch;
	char *envelope, *payload;

	assert_int_equal(
	    store_version_envelope(fixture->there, fixture->second.version, &envelope, NULL), 0);
	payload = strstr(envelope, "\"payload\"");
	assert_non_null(payload);
	payload[120] = payload[120] == 'A' ? 'B' : 'A';
	assert_int_not_equal(
	    fetch_open(fixture->here, &source, envelope, strlen(envelope), &trust, &fetch, &problem),
	    0);
	assert_int_not_equal(strlen(problem.line), 0);
	free(envelope);
}

static void blocks_are_read_while_a_version_arrives(void **state)
{
	struct fixture *fixture = *state;
	struct fetch_source source = fetch_source_store(fixture->there);
	struct fetch *fetch = begin(fixture, fixture->second.version, &source);
	struct fetch_options map = {.map_only = true};
	struct image_frame missing;
	struct image *image;
	uint8_t block[BLOCK_BYTES];

	assert_int_equal(fetch_run(fetch, &map, NULL), 0);
	assert_int_equal(image_open(fixture->here, &fixture->domain, fixture->second.version, &image,
				    NULL),
			 0);
	assert_int_equal(image_read(image, 1010, 1, block, &missing), -ENODATA);
	assert_true(missing.stored_bytes > 0);
	assert_int_equal(fetch_frame(fetch, &missing.address), 0);
	assert_int_equal(image_read(image, 1010, 1, block, &missing), 0);
	assert_memory_equal(block, fixture->disk->data + 1010 * BLOCK_BYTES, BLOCK_BYTES);
	image_close(image);
	fetch_close(fetch);
}

/* Sends every pack of a version as an uploader would. */
static void upload(struct fixture *fixture, struct store *to, const uint8_t *version)
{
	struct manifest manifest;
	struct version_trust trust = test_trust();
	uint8_t id[VERSION_ID_BYTES];
	uint64_t session;
	char *envelope;

	assert_int_equal(store_read_manifest(fixture->there, version, &manifest, NULL), 0);
	assert_int_equal(accept_begin(to, 60, &session), 0);
	for (uint32_t i = 0; i < manifest.pack_count; i++) {
		char path[400], name[72];
		struct accept *accept;
		struct problem problem = {""};
		uint8_t data[65536];
		ssize_t got;
		int fd, error;

		error = accept_pack_start(to, session, manifest.packs[i].salt, &accept);
		if (error == -EEXIST)
			continue;
		assert_int_equal(error, 0);
		store_pack_path(manifest.packs[i].salt, name);
		snprintf(path, sizeof(path), "%s/%s", fixture->there_folder, name);
		fd = open(path, O_RDONLY);
		assert_true(fd >= 0);
		while ((got = read(fd, data, sizeof(data))) > 0)
			assert_int_equal(accept_pack_write(accept, data, (size_t)got), 0);
		close(fd);
		if (accept_pack_finish(accept, fixture->domain.id, &problem))
			fail_msg("%s", problem.line);
	}
	assert_int_equal(store_version_envelope(fixture->there, version, &envelope, NULL), 0);
	assert_int_equal(accept_version(to, envelope, strlen(envelope), &trust, id, NULL), 0);
	assert_memory_equal(id, version, VERSION_ID_BYTES);
	assert_int_equal(accept_end(to, session), 0);
	free(envelope);
	manifest_release(&manifest);
}

static void an_uploaded_version_is_taken_without_keys(void **state)
{
	struct fixture *fixture = *state;

	upload(fixture, fixture->here, fixture->first.version);
	upload(fixture, fixture->here, fixture->second.version);
	test_same(fixture->here, &fixture->domain, fixture->second.version, fixture->disk);
}

static void a_version_without_its_packs_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct version_trust trust = test_trust();
	struct problem problem = {""};
	uint8_t id[VERSION_ID_BYTES];
	struct version_row row;
	char *envelope;

	assert_int_equal(
	    store_version_envelope(fixture->there, fixture->first.version, &envelope, NULL), 0);
	assert_int_equal(
	    accept_version(fixture->here, envelope, strlen(envelope), &trust, id, &problem), -ESTALE);
	assert_non_null(strstr(problem.line, "send its packs first"));
	assert_int_equal(store_find_version(fixture->here, "v1", &row, NULL), -ENOENT);
	free(envelope);
}

static void a_damaged_upload_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct manifest manifest;
	struct accept *accept;
	uint8_t data[100000] = {0};
	uint64_t session;
	bool have = true;

	assert_int_equal(store_read_manifest(fixture->there, fixture->first.version, &manifest, NULL),
			 0);
	assert_int_equal(accept_begin(fixture->here, 60, &session), 0);
	assert_int_equal(
	    accept_pack_start(fixture->here, session, manifest.packs[0].salt, &accept), 0);
	assert_int_equal(accept_pack_write(accept, data, sizeof(data)), 0);
	assert_int_equal(accept_pack_finish(accept, NULL, NULL), -EBADMSG);
	assert_int_equal(accept_query(fixture->here, session,
				      (const uint8_t(*)[SALT_BYTES])manifest.packs[0].salt, 1, &have),
			 0);
	assert_false(have);
	manifest_release(&manifest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(a_fetched_version_is_the_disk),
	    TEST(an_update_moves_only_what_is_new),
	    TEST(an_interrupted_fetch_keeps_what_has_arrived),
	    TEST(wrong_bytes_are_not_stored),
	    TEST(a_forged_version_is_not_fetched),
	    TEST(blocks_are_read_while_a_version_arrives),
	    TEST(an_uploaded_version_is_taken_without_keys),
	    TEST(a_version_without_its_packs_is_refused),
	    TEST(a_damaged_upload_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
