/*
 * A guest's disk out of a store: a version below, an overlay above, a user disk; what the guest gets is what was
 * published or what it wrote, also where blocks arrive late or rot on the disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "served.h"
#include "testing_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
	struct testing_store testing;
	char state[96], key_path[96], store[96], domain_key_path[96], trace[96];
	uint8_t key[SERVED_KEY_BYTES], domain_key[SERVED_KEY_BYTES];
	struct served_options options;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	const char *folder;

	testing_store_make(&fixture->testing);
	folder = fixture->testing.folder;
	snprintf(fixture->state, sizeof(fixture->state), "%s/state", folder);
	snprintf(fixture->key_path, sizeof(fixture->key_path), "%s/key", folder);
	snprintf(fixture->store, sizeof(fixture->store), "%s/store", folder);
	snprintf(fixture->domain_key_path, sizeof(fixture->domain_key_path), "%s/domain.key", folder);
	snprintf(fixture->trace, sizeof(fixture->trace), "%s/trace", folder);
	assert_int_equal(served_read_key(fixture->key_path, fixture->key, NULL), 0);
	assert_int_equal(served_read_key(fixture->domain_key_path, fixture->domain_key, NULL), 0);
	fixture->options = (struct served_options){.state = fixture->state,
						   .key = fixture->key,
						   .store = fixture->store,
						   .domain_key = fixture->domain_key,
						   .version = "work 1",
						   .stop_fd = -1,
						   .no_background = true};
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	testing_store_remove(&fixture->testing);
	free(fixture);
	return 0;
}

static struct served *open_served(const struct served_options *options)
{
	struct problem problem = {""};
	struct served *served;

	if (served_open(options, &served, &problem))
		fail_msg("%s", problem.line);
	return served;
}

static void assert_version(struct guestdisk *disk, uint64_t first, uint64_t count)
{
	uint8_t *got = malloc(count * BLOCK_BYTES), expected[BLOCK_BYTES];

	assert_int_equal(guestdisk_read(disk, first * BLOCK_BYTES, count * BLOCK_BYTES, got), 0);
	for (uint64_t i = 0; i < count; i++) {
		testing_block(first + i, expected);
		assert_memory_equal(got + i * BLOCK_BYTES, expected, BLOCK_BYTES);
	}
	free(got);
}

static void a_version_reads_as_it_was_published(void **state)
{
	struct fixture *fixture = *state;
	struct served *served = open_served(&fixture->options);

	assert_int_equal(served_disk(served)->bytes, TESTING_BLOCKS * BLOCK_BYTES);
	assert_version(served_disk(served), 333, 3);
	assert_version(served_disk(served), 0, TESTING_BLOCKS);
	assert_version(served_disk(served), 0, TESTING_BLOCKS);
	assert_int_equal(served_close(served, NULL), 0);
	served = open_served(&fixture->options);
	assert_version(served_disk(served), 0, TESTING_BLOCKS);
	assert_int_equal(served_close(served, NULL), 0);
}

static void what_the_guest_writes_lies_above_and_survives(void **state)
{
	struct fixture *fixture = *state;
	struct served *served = open_served(&fixture->options);
	uint8_t block[BLOCK_BYTES], sector[SECTOR_BYTES], got[BLOCK_BYTES];

	memset(sector, 0xab, sizeof(sector));
	assert_int_equal(guestdisk_write(served_disk(served), 100 * BLOCK_BYTES + 1024, SECTOR_BYTES, sector), 0);
	assert_int_equal(guestdisk_zero(served_disk(served), 200 * BLOCK_BYTES, 4 * BLOCK_BYTES), 0);
	assert_int_equal(served_close(served, NULL), 0);
	served = open_served(&fixture->options);
	testing_block(100, block);
	memcpy(block + 1024, sector, sizeof(sector));
	assert_int_equal(guestdisk_read(served_disk(served), 100 * BLOCK_BYTES, BLOCK_BYTES, got), 0);
	assert_memory_equal(got, block, BLOCK_BYTES);
	memset(block, 0, sizeof(block));
	assert_int_equal(guestdisk_read(served_disk(served), 203 * BLOCK_BYTES, BLOCK_BYTES, got), 0);
	assert_memory_equal(got, block, BLOCK_BYTES);
	assert_version(served_disk(served), 204, 10);
	assert_int_equal(served_close(served, NULL), 0);
	/* Policy: the overlay is dropped at the start. */
	fixture->options.drop_overlay = true;
	served = open_served(&fixture->options);
	fixture->options.drop_overlay = false;
	assert_version(served_disk(served), 0, TESTING_BLOCKS);
	assert_int_equal(served_close(served, NULL), 0);
}

static void a_rotten_block_is_taken_from_its_frame_again(void **state)
{
	struct fixture *fixture = *state;
	struct served *served = open_served(&fixture->options);
	char id[33], path[256];
	uint8_t byte = 0;
	int fd;

	assert_version(served_disk(served), 0, TESTING_BLOCKS);
	store_hex(fixture->testing.version, 16, id);
	snprintf(path, sizeof(path), "%s/arrived-%s/data", fixture->state, id);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	for (uint64_t block = 3; block < TESTING_BLOCKS; block += 50) {
		assert_int_equal(pread(fd, &byte, 1, (off_t)(block * BLOCK_BYTES + 99)), 1);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)(block * BLOCK_BYTES + 99)), 1);
	}
	close(fd);
	assert_version(served_disk(served), 0, TESTING_BLOCKS);
	assert_int_equal(served_close(served, NULL), 0);
}

static void the_background_brings_everything(void **state)
{
	struct fixture *fixture = *state;
	struct problem problem = {""};
	struct version_progress progress;
	struct store_files *files;
	struct version *version;
	struct version_options options = {.store = fixture->testing.store,
					  .domain = &fixture->testing.domain,
					  .id = fixture->testing.version,
					  .folder = "arrived",
					  .key = (const uint8_t *)"0123456789abcdef0123456789abcdef",
					  .background = true};

	assert_int_equal(store_files_open(fixture->state, true, &files), 0);
	options.files = files;
	assert_int_equal(version_open(&options, &version, &problem), 0);
	do {
		usleep(1000);
		progress = version_progress(version);
		assert_int_equal(progress.error, 0);
	} while (!progress.done);
	assert_int_equal(progress.arrived, TESTING_BLOCKS);
	version_close(version);
	files->release(files);
}

static void a_boot_trace_names_what_was_read_in_order(void **state)
{
	struct fixture *fixture = *state;
	struct version_trace trace;
	struct served *served;
	char text[256] = "";
	FILE *file;

	fixture->options.record = fixture->trace;
	served = open_served(&fixture->options);
	fixture->options.record = NULL;
	assert_version(served_disk(served), 640, 1);
	assert_version(served_disk(served), 0, 1);
	assert_version(served_disk(served), 70, 1);
	assert_version(served_disk(served), 641, 1);
	assert_int_equal(served_close(served, NULL), 0);
	file = fopen(fixture->trace, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	assert_string_equal(text, "640 60\n0 128\n");
	assert_int_equal(version_trace_read(text, strlen(text), TESTING_BLOCKS, &trace), 0);
	assert_int_equal(trace.count, 2);
	version_trace_release(&trace);
	assert_int_equal(version_trace_read("0 701\n", 6, TESTING_BLOCKS, &trace), -EBADMSG);
	assert_int_equal(version_trace_read("0 1", 3, TESTING_BLOCKS, &trace), -EBADMSG);
	assert_int_equal(version_trace_read("0 99999999999999999999999\n", 26, TESTING_BLOCKS, &trace), -EBADMSG);
	/* And is followed. */
	fixture->options.trace = fixture->trace;
	fixture->options.no_background = false;
	served = open_served(&fixture->options);
	assert_version(served_disk(served), 0, TESTING_BLOCKS);
	assert_int_equal(served_close(served, NULL), 0);
}

static void a_user_disk_is_made_once_and_kept(void **state)
{
	struct fixture *fixture = *state;
	struct served_options options = {.state = fixture->state, .key = fixture->key};
	struct problem problem = {""};
	struct served *served;
	uint8_t sector[SECTOR_BYTES] = "hello", got[SECTOR_BYTES];

	assert_true(served_open(&options, &served, &problem) < 0);
	options.layer_bytes = 10 << 20;
	served = open_served(&options);
	assert_int_equal(guestdisk_read(served_disk(served), (10 << 20) - SECTOR_BYTES, SECTOR_BYTES, got), 0);
	assert_int_equal(got[0], 0);
	assert_int_equal(guestdisk_write(served_disk(served), 512, SECTOR_BYTES, sector), 0);
	assert_int_equal(served_close(served, NULL), 0);
	options.layer_bytes = 0;
	served = open_served(&options);
	assert_int_equal(guestdisk_read(served_disk(served), 512, SECTOR_BYTES, got), 0);
	assert_memory_equal(got, sector, sizeof(sector));
	assert_int_equal(guestdisk_read(served_disk(served), 10 << 20, SECTOR_BYTES, got), -EINVAL);
	assert_int_equal(guestdisk_read(served_disk(served), UINT64_MAX - 511, SECTOR_BYTES, got), -EINVAL);
	assert_int_equal(guestdisk_read(served_disk(served), 1, SECTOR_BYTES, got), -EINVAL);
	assert_int_equal(served_close(served, NULL), 0);
}

static void a_disk_in_use_is_not_opened_twice(void **state)
{
	struct fixture *fixture = *state;
	struct served *served = open_served(&fixture->options), *second;
	struct problem problem = {""};

	assert_true(served_open(&fixture->options, &second, &problem) < 0);
	assert_int_equal(served_close(served, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_version_reads_as_it_was_published, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_guest_writes_lies_above_and_survives, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rotten_block_is_taken_from_its_frame_again, setup, teardown),
		cmocka_unit_test_setup_teardown(the_background_brings_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(a_boot_trace_names_what_was_read_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_user_disk_is_made_once_and_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(a_disk_in_use_is_not_opened_twice, setup, teardown),
	};

	return cmocka_run_group_tests_name("served", tests, NULL, NULL);
}
