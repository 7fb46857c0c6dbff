/* pack_files_test.c: packs are opened when used, a bounded number of them, and never an old one. */
#include "store/pack.h"
#include "store/pack_files.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define PACKS 300

/* Counts what is open, over files of a real directory. */
static struct store_files counting, *real;
static unsigned int open_now, open_most, opened;

static int count_open(struct store_files *files, const char *path, enum store_open how,
		      struct store_file **file)
{
	int error = real->open(real, path, how, file);

	if (!error) {
		opened++;
		open_most = ++open_now > open_most ? open_now : open_most;
	}
	return error;
}

static void count_close(struct store_file *file)
{
	open_now--;
	real->close(file);
}

static void salt_of(uint32_t number, uint8_t salt[SALT_BYTES])
{
	memset(salt, 0, SALT_BYTES);
	memcpy(salt, &number, sizeof(number));
}

static void put(uint32_t number, uint64_t content)
{
	struct store_file *file;
	uint8_t salt[SALT_BYTES];
	char path[PACK_PATH_BYTES];

	salt_of(number, salt);
	pack_path(salt, "pack", path);
	(void)real->unlink(real, path);
	assert_int_equal(real->open(real, path, STORE_OPEN_EXCLUSIVE, &file), 0);
	assert_int_equal(real->write(file, &content, sizeof(content), 0), 0);
	real->close(file);
}

static char directory[] = "/tmp/pack-files-XXXXXX";

static int set_up(void **state)
{
	assert_non_null(mkdtemp(directory));
	assert_int_equal(store_files_open(directory, false, &real), 0);
	assert_int_equal(real->make_directory(real, "packs"), 0);
	for (uint32_t i = 0; i < PACKS; i++)
		put(i, i);
	counting = *real;
	counting.open = count_open;
	counting.close = count_close;
	return 0;
}

static int tear_down(void **state)
{
	uint8_t salt[SALT_BYTES];
	char path[PACK_PATH_BYTES];

	for (uint32_t i = 0; i < PACKS; i++) {
		salt_of(i, salt);
		pack_path(salt, "pack", path);
		real->unlink(real, path);
	}
	snprintf(path, sizeof(path), "%s/packs", directory);
	rmdir(path);
	rmdir(directory);
	real->release(real);
	return 0;
}

static uint64_t read_pack(struct pack_files *packs, uint32_t number)
{
	uint8_t salt[SALT_BYTES];
	struct pack_file *use;
	uint64_t content = UINT64_MAX;

	salt_of(number, salt);
	assert_int_equal(pack_files_take(packs, salt, STORE_OPEN_READ, &use), 0);
	assert_int_equal(store_file_read_all(use->file, &content, sizeof(content), 0), 0);
	pack_files_give_back(packs, use);
	return content;
}

static void many_packs_are_read_with_few_open(void **state)
{
	struct pack_files packs;

	open_now = open_most = opened = 0;
	pack_files_init(&packs, &counting);
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < PACKS; i++)
			assert_int_equal(read_pack(&packs, i), i);
	assert_int_equal(open_most, PACK_FILES_MAX);
	pack_files_release(&packs);
	assert_int_equal(open_now, 0);
}

static void a_pack_in_use_again_and_again_stays_open(void **state)
{
	struct pack_files packs;

	open_now = open_most = opened = 0;
	pack_files_init(&packs, &counting);
	for (uint32_t i = 1; i < PACKS; i++) {
		assert_int_equal(read_pack(&packs, 0), 0);
		assert_int_equal(read_pack(&packs, i), i);
	}
	assert_int_equal(opened, PACKS);
	pack_files_release(&packs);
}

static void a_missing_pack_is_said_and_takes_no_place(void **state)
{
	struct pack_files packs;
	struct pack_file *use;
	uint8_t salt[SALT_BYTES];

	open_now = 0;
	pack_files_init(&packs, &counting);
	salt_of(PACKS + 1, salt);
	for (int i = 0; i < 2 * PACK_FILES_MAX; i++)
		assert_int_equal(pack_files_take(&packs, salt, STORE_OPEN_READ, &use), -ENOENT);
	assert_int_equal(open_now, 0);
	assert_int_equal(read_pack(&packs, 1), 1);
	pack_files_release(&packs);
}

static void a_replaced_pack_is_never_read_as_it_was(void **state)
{
	struct pack_files packs;
	struct pack_file *use;
	uint8_t salt[SALT_BYTES];
	uint64_t content;

	open_now = 0;
	pack_files_init(&packs, &counting);
	salt_of(5, salt);
	assert_int_equal(pack_files_take(&packs, salt, STORE_OPEN_READ, &use), 0);
	put(5, 1000);
	pack_files_forget(&packs, salt);
	/* Who has it keeps the old one; whoever comes now gets the new one. */
	assert_int_equal(read_pack(&packs, 5), 1000);
	assert_int_equal(store_file_read_all(use->file, &content, sizeof(content), 0), 0);
	assert_int_equal(content, 5);
	assert_int_equal(open_now, 2);
	pack_files_give_back(&packs, use);
	assert_int_equal(open_now, 1);
	pack_files_forget(&packs, salt);
	assert_int_equal(open_now, 0);
	put(5, 5);
	pack_files_release(&packs);
}

static struct pack_files shared;

static void *read_many(void *context)
{
	uint32_t at = (uint32_t)(uintptr_t)context;

	for (int i = 0; i < 3000; i++) {
		at = at * 1103515245u + 12345u;
		assert_int_equal(read_pack(&shared, at % PACKS), at % PACKS);
	}
	return NULL;
}

static void threads_share_the_places(void **state)
{
	pthread_t threads[8];

	open_now = 0;
	pack_files_init(&shared, real);
	for (uintptr_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_many, (void *)i), 0);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	pack_files_release(&shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(many_packs_are_read_with_few_open),
	    cmocka_unit_test(a_pack_in_use_again_and_again_stays_open),
	    cmocka_unit_test(a_missing_pack_is_said_and_takes_no_place),
	    cmocka_unit_test(a_replaced_pack_is_never_read_as_it_was),
	    cmocka_unit_test(threads_share_the_places),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
