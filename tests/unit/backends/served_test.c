/*
 * A guest's disk out of a store: a version below, an overlay above, a user disk; what the guest gets is what was
 * published or what it wrote, also where blocks arrive late or rot on the disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "control.h"
#include "feed.h"
#include "served.h"
#include "testing_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
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
	assert_version(served_disk(served), 0, 2);
	assert_version(served_disk(served), 70, 1);
	assert_version(served_disk(served), 640, 1);
	assert_version(served_disk(served), 641, 1);
	assert_int_equal(served_close(served, NULL), 0);
	file = fopen(fixture->trace, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	/* Not the windows that they lie in: a neighbour's frame is not for a boot to wait for. */
	assert_string_equal(text, "640 1\n0 2\n70 1\n641 1\n");
	assert_int_equal(version_trace_read(text, strlen(text), TESTING_BLOCKS, &trace), 0);
	assert_int_equal(trace.count, 4);
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

/** A user disk with some data, its control at @path, and a connection to that. */
static struct served *open_controlled(struct fixture *fixture, char path[128], int *connection)
{
	struct served_options options = {.state = fixture->state,
					 .key = fixture->key,
					 .layer_bytes = 64 << 20,
					 .control = path,
					 .stop_fd = -1};
	struct served *served;

	snprintf(path, 128, "%s/control", fixture->testing.folder);
	served = open_served(&options);
	*connection = control_connect(path);
	assert_true(*connection >= 0);
	return served;
}

static void write_block(struct served *served, uint64_t block, uint8_t value)
{
	uint8_t bytes[BLOCK_BYTES];

	memset(bytes, value, sizeof(bytes));
	assert_int_equal(guestdisk_write(served_disk(served), block * BLOCK_BYTES, BLOCK_BYTES, bytes), 0);
}

static void a_backup_reads_what_changed_as_it_was_at_its_beginning(void **state)
{
	struct control_message answer;
	uint8_t bytes[BLOCK_BYTES];
	char path[128];
	int connection;
	struct served *served = open_controlled(*state, path, &connection);

	write_block(served, 7, 1);
	write_block(served, 9000, 2);
	assert_int_equal(control_ask(connection, CONTROL_BEGIN, 0, 0, &answer, NULL), 0);
	assert_int_equal(answer.count, (64 << 20) / BLOCK_BYTES);
	write_block(served, 7, 3); /* the guest goes on */
	write_block(served, 8, 3);
	assert_int_equal(control_ask(connection, CONTROL_CHANGED, 0, 0, &answer, NULL), 0);
	assert_int_equal(answer.first, 7);
	assert_int_equal(answer.count, 1);
	assert_int_equal(control_ask(connection, CONTROL_CHANGED, 8, 0, &answer, NULL), 0);
	assert_int_equal(answer.first, 9000);
	assert_int_equal(control_ask(connection, CONTROL_CHANGED, 9001, 0, &answer, NULL), -ENOENT);
	assert_int_equal(control_ask(connection, CONTROL_READ, 7, 1, &answer, bytes), 0);
	assert_int_equal(bytes[17], 1);
	assert_int_equal(control_ask(connection, CONTROL_END, 1, 0, &answer, NULL), 0);
	/* The next one has only what was written since. */
	assert_int_equal(control_ask(connection, CONTROL_BEGIN, 0, 0, &answer, NULL), 0);
	assert_int_equal(control_ask(connection, CONTROL_CHANGED, 0, 0, &answer, NULL), 0);
	assert_int_equal(answer.first, 7);
	assert_int_equal(answer.count, 2);
	assert_int_equal(control_ask(connection, CONTROL_CHANGED, 9, 0, &answer, NULL), -ENOENT);
	assert_int_equal(control_ask(connection, CONTROL_DATA, 9, 0, &answer, NULL), 0);
	assert_int_equal(answer.first, 9000);
	close(connection);
	assert_int_equal(served_close(served, NULL), 0);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void a_backup_whose_reader_goes_away_forgets_no_change(void **state)
{
	struct control_message answer;
	char path[128];
	int connection;
	struct served *served = open_controlled(*state, path, &connection);

	write_block(served, 5, 1);
	assert_int_equal(control_ask(connection, CONTROL_BEGIN, 0, 0, &answer, NULL), 0);
	close(connection);
	connection = control_connect(path);
	assert_int_equal(control_ask(connection, CONTROL_BEGIN, 0, 0, &answer, NULL), 0);
	assert_int_equal(control_ask(connection, CONTROL_CHANGED, 0, 0, &answer, NULL), 0);
	assert_int_equal(answer.first, 5);
	close(connection);
	assert_int_equal(served_close(served, NULL), 0);
}

static void questions_that_make_no_sense_are_refused(void **state)
{
	uint8_t *bytes = malloc(CONTROL_READ_BLOCKS_MAX * BLOCK_BYTES);
	struct control_message answer, question;
	char path[128];
	int connection;
	struct served *served = open_controlled(*state, path, &connection);

	assert_int_equal(control_ask(connection, CONTROL_READ, 0, 1, &answer, bytes), -EINVAL);
	assert_int_equal(control_ask(connection, CONTROL_CHANGED, 0, 0, &answer, NULL), -ENOENT);
	assert_int_equal(control_ask(connection, CONTROL_BEGIN, 0, 0, &answer, NULL), 0);
	assert_int_equal(control_ask(connection, CONTROL_BEGIN, 0, 0, &answer, NULL), -EBUSY);
	assert_int_equal(control_ask(connection, CONTROL_READ, UINT64_MAX, 2, &answer, bytes), -EINVAL);
	assert_int_equal(control_ask(connection, CONTROL_READ, 0, CONTROL_READ_BLOCKS_MAX + 1, &answer, bytes), -EINVAL);
	assert_int_equal(control_ask(connection, CONTROL_READ, 0, 0, &answer, bytes), -EINVAL);
	assert_int_equal(control_ask(connection, CONTROL_CHANGED, UINT64_MAX, 0, &answer, NULL), -ENOENT);
	assert_int_equal(control_ask(connection, CONTROL_END, 2, 0, &answer, NULL), -EINVAL);
	assert_int_equal(control_ask(connection, CONTROL_PROGRESS, 0, 0, &answer, NULL), -ENOTSUP);
	assert_int_equal(control_ask(connection, (enum control_what)99, 0, 0, &answer, NULL), -EINVAL);
	question = (struct control_message){.what = CONTROL_BEGIN, .state = 1};
	control_answer(served_layer(served), NULL, &question, &answer, bytes);
	assert_int_equal((int32_t)answer.what, -EINVAL);
	close(connection);
	assert_int_equal(served_close(served, NULL), 0);
	free(bytes);
}

/** A feed that has nothing until it is told to. */
struct slow_feed {
	int listener, asked, ready;
	pthread_t thread;
};

static int answer_late(void *context, const struct frame_address *address, bool urgent)
{
	struct slow_feed *slow = context;

	if (urgent)
		__atomic_add_fetch(&slow->asked, 1, __ATOMIC_RELAXED);
	return __atomic_load_n(&slow->ready, __ATOMIC_RELAXED) ? -ENODATA : -EAGAIN;
}

static void *serve_slowly(void *context)
{
	struct slow_feed *slow = context;
	int connection = accept(slow->listener, NULL, NULL);

	feed_answer(connection, answer_late, slow);
	close(connection);
	return NULL;
}

static void *read_one(void *context)
{
	uint8_t block[BLOCK_BYTES];

	return (void *)(intptr_t)guestdisk_read(context, 0, BLOCK_BYTES, block);
}

static void who_waits_for_a_frame_asks_until_it_comes(void **state)
{
	struct fixture *fixture = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct slow_feed slow = {.listener = socket(AF_UNIX, SOCK_STREAM, 0)};
	char id[33], pack[256], command[600];
	struct served *served;
	pthread_t reader;
	void *result;

	snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/feed", fixture->testing.folder);
	assert_int_equal(bind(slow.listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(slow.listener, 1), 0);
	assert_int_equal(pthread_create(&slow.thread, NULL, serve_slowly, &slow), 0);
	store_hex(fixture->testing.version, 16, id);
	fixture->options.feed = address.sun_path;
	/* A store in which nothing of the version has arrived: all its frames are marked absent. */
	snprintf(pack, sizeof(pack), "%s/catalogue.db", fixture->store);
	snprintf(command, sizeof(command), "sqlite3 %s \"UPDATE pack SET present = zeroblob(length(present))\"", pack);
	assert_int_equal(system(command), 0);
	served = open_served(&fixture->options);
	assert_int_equal(pthread_create(&reader, NULL, read_one, served_disk(served)), 0);
	while (__atomic_load_n(&slow.asked, __ATOMIC_RELAXED) < 3)
		usleep(1000);
	__atomic_store_n(&slow.ready, 1, __ATOMIC_RELAXED);
	pthread_join(reader, &result);
	assert_int_equal((intptr_t)result, -ENODATA);
	assert_int_equal(served_close(served, NULL), 0);
	pthread_join(slow.thread, NULL);
	close(slow.listener);
}

static void a_plain_file_is_read_and_never_written(void **state)
{
	struct fixture *fixture = *state;
	uint8_t content[5000], read[8192], before[8192];
	struct problem problem = {""};
	struct served *served;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/plain", fixture->testing.folder);
	const struct served_options options = {.file = path, .stop_fd = -1};

	assert_true(served_open(&options, &served, &problem) < 0);
	assert_non_null(strstr(problem.line, "plain"));
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 7);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, sizeof(content), file), sizeof(content));
	fclose(file);
	served = open_served(&options);
	/* A disk is whole sectors: what the file has of its last one is not offered. */
	assert_int_equal(served_disk(served)->bytes, sizeof(content) / SECTOR_BYTES * SECTOR_BYTES);
	assert_int_equal(guestdisk_read(served_disk(served), SECTOR_BYTES, 4096, read), 0);
	assert_memory_equal(read, content + SECTOR_BYTES, 4096);
	assert_int_equal(guestdisk_write(served_disk(served), 0, SECTOR_BYTES, read), -EROFS);
	assert_int_equal(guestdisk_zero(served_disk(served), 0, SECTOR_BYTES), -EROFS);
	assert_int_equal(served_close(served, NULL), 0);
	file = fopen(path, "r");
	assert_int_equal(fread(before, 1, sizeof(before), file), sizeof(content));
	assert_memory_equal(before, content, sizeof(content));
	fclose(file);
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
		cmocka_unit_test_setup_teardown(a_backup_reads_what_changed_as_it_was_at_its_beginning, setup, teardown),
		cmocka_unit_test_setup_teardown(a_backup_whose_reader_goes_away_forgets_no_change, setup, teardown),
		cmocka_unit_test_setup_teardown(questions_that_make_no_sense_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_plain_file_is_read_and_never_written, setup, teardown),
		cmocka_unit_test_setup_teardown(who_waits_for_a_frame_asks_until_it_comes, setup, teardown),
	};

	return cmocka_run_group_tests_name("served", tests, NULL, NULL);
}
