/* transfer_test.c: several transfers at once are what they would be one after the other, past the cache too. */
#include "store/file.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define BLOCK 4096u

static char directory[64];
static struct store_files *files;

static void open_files(bool direct)
{
	snprintf(directory, sizeof(directory), "/var/tmp/transfer-XXXXXX");
	assert_non_null(mkdtemp(directory));
	assert_int_equal(store_files_open_direct(directory, false, direct, &files), 0);
}

static void remove_files(void)
{
	files->unlink(files, "a");
	files->unlink(files, "b");
	files->release(files);
	rmdir(directory);
}

static struct store_file *make_file(const char *name, uint64_t bytes)
{
	struct store_file *file;

	assert_int_equal(files->open(files, name, STORE_OPEN_EXCLUSIVE, &file), 0);
	assert_int_equal(files->truncate(file, bytes), 0);
	files->close(file);
	assert_int_equal(files->open(files, name, STORE_OPEN_BLOCKS, &file), 0);
	return file;
}

static void round_trip(bool direct)
{
	_Alignas(STORE_ALIGNMENT) static uint8_t out[4][BLOCK], in[4][BLOCK];
	struct store_file *a, *b;
	struct store_io ios[STORE_IO_MAX] = {{0}};

	open_files(direct);
	a = make_file("a", 16 * BLOCK);
	b = make_file("b", 16 * BLOCK);
	for (int i = 0; i < 4; i++)
		memset(out[i], 'a' + i, BLOCK);
	for (int i = 0; i < 4; i++)
		ios[i] = (struct store_io){STORE_IO_WRITE, i % 2 ? b : a, out[i], BLOCK, (uint64_t)(3 * i) * BLOCK, -1};
	assert_int_equal(store_file_transfer(ios, 4), 0);
	ios[0] = (struct store_io){STORE_IO_SYNC, a, NULL, 0, 0, -1};
	ios[1] = (struct store_io){STORE_IO_SYNC, b, NULL, 0, 0, -1};
	assert_int_equal(store_file_transfer(ios, 2), 0);
	for (int i = 0; i < 4; i++)
		ios[i] = (struct store_io){STORE_IO_READ, i % 2 ? b : a, in[i], BLOCK, (uint64_t)(3 * i) * BLOCK, -1};
	assert_int_equal(store_file_transfer(ios, 4), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(ios[i].error, 0);
	assert_memory_equal(in, out, sizeof(in));
	/* One of them lies beyond the end: it says so, the others are done, and the call has its error. */
	memset(in, 0, sizeof(in));
	ios[0] = (struct store_io){STORE_IO_READ, a, in[0], BLOCK, 0, -1};
	ios[1] = (struct store_io){STORE_IO_READ, a, in[1], BLOCK, 16 * BLOCK, -1};
	ios[2] = (struct store_io){STORE_IO_READ, b, in[2], BLOCK, 3 * BLOCK, -1};
	assert_int_equal(store_file_transfer(ios, 3), -ENODATA);
	assert_int_equal(ios[0].error, 0);
	assert_int_equal(ios[1].error, -ENODATA);
	assert_int_equal(ios[2].error, 0);
	assert_memory_equal(in[0], out[0], BLOCK);
	assert_memory_equal(in[2], out[1], BLOCK);
	files->close(a);
	files->close(b);
	remove_files();
}

/* In a process that may open nothing more, and so gets no ring. The first test: no ring is there yet. */
static void without_a_ring_the_ordinary_calls_serve(void **state)
{
	static uint8_t out[2][BLOCK], in[2][BLOCK];
	const struct rlimit none = {3, 3};
	struct store_file *a;
	int status;
	pid_t child;

	open_files(false);
	a = make_file("a", 4 * BLOCK);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct store_io ios[2];
		int wrong = setrlimit(RLIMIT_NOFILE, &none) != 0;

		memset(out, 'x', sizeof(out));
		for (int write = 1; write >= 0; write--) {
			for (uint64_t i = 0; i < 2; i++)
				ios[i] = (struct store_io){write ? STORE_IO_WRITE : STORE_IO_READ, a,
							   write ? out[i] : in[i], BLOCK, i * BLOCK, -1};
			wrong |= store_file_transfer(ios, 2) != 0;
		}
		_exit(wrong || memcmp(in, out, sizeof(in)) != 0 || dup(1) >= 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	files->close(a);
	remove_files();
}

/* How many rings this process has open. */
static int open_rings(void)
{
	char path[32], target[64];
	int count = 0;

	for (int fd = 0; fd < 64; fd++) {
		ssize_t length;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		length = readlink(path, target, sizeof(target) - 1);
		if (length > 0) {
			target[length] = '\0';
			count += strstr(target, "io_uring") != NULL;
		}
	}
	return count;
}

/* Rings of a process of its own after two transfers at once, or -1 if one failed. */
static int rings_after_transfers(struct store_file *file, bool refused)
{
	static uint8_t out[2][BLOCK];
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		struct store_io ios[2];

		if (refused)
			store_file_refuse_rings();
		for (uint64_t i = 0; i < 2; i++)
			ios[i] = (struct store_io){STORE_IO_WRITE, file, out[i], BLOCK, i * BLOCK, -1};
		_exit(store_file_transfer(ios, 2) ? 99 : open_rings());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) && WEXITSTATUS(status) != 99 ? WEXITSTATUS(status) : -1;
}

/* Before any test that makes a ring: a child has its parent's. */
static void a_process_that_refused_rings_has_none(void **state)
{
	char parameters[256] = {0};
	int ring = (int)syscall(SYS_io_uring_setup, 4, parameters);
	struct store_file *a;

	if (ring >= 0)
		close(ring);
	open_files(false);
	a = make_file("a", 4 * BLOCK);
	assert_int_equal(rings_after_transfers(a, true), 0);
	/* The control: where this kernel has rings, the same transfers make one. */
	assert_int_equal(rings_after_transfers(a, false), ring >= 0 ? 1 : 0);
	files->close(a);
	remove_files();
}

static void several_at_once_are_as_one_after_the_other(void **state)
{
	round_trip(false);
}

static void past_the_cache_as_well(void **state)
{
	round_trip(true);
}

static void a_read_that_ends_in_the_middle_is_no_success(void **state)
{
	static uint8_t in[2][BLOCK];
	struct store_file *a;

	open_files(false);
	a = make_file("a", BLOCK + 100);
	struct store_io ios[] = {{STORE_IO_READ, a, in[0], BLOCK, 0, -1}, {STORE_IO_READ, a, in[1], BLOCK, BLOCK, -1}};

	assert_int_equal(store_file_transfer(ios, 2), -ENODATA);
	assert_int_equal(ios[0].error, 0);
	files->close(a);
	remove_files();
}

static struct store_file *shared;

static void *work(void *context)
{
	uint64_t number = (uint64_t)(uintptr_t)context;
	uint8_t out[2][BLOCK], in[2][BLOCK];

	for (unsigned int round = 0; round < 200; round++) {
		struct store_io ios[2];

		memset(out, (int)(number * 31 + round), sizeof(out));
		for (int write = 1; write >= 0; write--) {
			for (uint64_t i = 0; i < 2; i++)
				ios[i] = (struct store_io){write ? STORE_IO_WRITE : STORE_IO_READ, shared,
							   write ? out[i] : in[i], BLOCK, (2 * number + i) * BLOCK, -1};
			assert_int_equal(store_file_transfer(ios, 2), 0);
		}
		assert_memory_equal(in, out, sizeof(in));
	}
	return NULL;
}

static void threads_do_not_take_each_others_answers(void **state)
{
	pthread_t threads[6];

	open_files(false);
	shared = make_file("a", 16 * BLOCK);
	for (uintptr_t i = 0; i < 6; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)i), 0);
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	files->close(shared);
	remove_files();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_a_ring_the_ordinary_calls_serve),
	    cmocka_unit_test(a_process_that_refused_rings_has_none),
	    cmocka_unit_test(several_at_once_are_as_one_after_the_other),
	    cmocka_unit_test(past_the_cache_as_well),
	    cmocka_unit_test(a_read_that_ends_in_the_middle_is_no_success),
	    cmocka_unit_test(threads_do_not_take_each_others_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
