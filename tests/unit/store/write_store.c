/* write_store.c: makes a store and the disks in it for read_store_test.sh. Usage: write_store FOLDER */
#include "store_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *folder;

static void save(const struct test_disk *disk, const char *name)
{
	char path[300];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.raw", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(disk->data, disk->bytes, 1, file), 1);
	assert_int_equal(fclose(file), 0);
}

static void write_it(void **state)
{
	/* More than 128 leaves would be 2 GiB; two levels are enough to have an inner page. */
	struct test_disk *disk = test_disk_new((40 << 20) + 700);
	struct domain domain = test_domain(7);
	struct publish_result first, second, day;
	struct block_range changes[] = {{40, 10}, {9000, 5}};
	struct publish_source source = test_disk_source(disk);
	struct publish_options options = {
	    .label = "day", .changes = changes, .change_count = 2, .signer = test_signer()};
	struct store *store;
	char path[300];

	snprintf(path, sizeof(path), "%s/store", folder);
	assert_int_equal(store_open(path, true, &store, NULL), 0);
	test_disk_fill(disk, 0, 1500, 1);
	test_disk_fill(disk, 10200, 41, 3);
	test_publish(store, &domain, disk, "v1", NULL, &first);
	save(disk, "v1");
	memcpy(disk->data + 2000 * BLOCK_BYTES, disk->data + 300 * BLOCK_BYTES, 500 * BLOCK_BYTES);
	for (int i = 0; i < 30; i++)
		memset(disk->data + (6000 + i) * BLOCK_BYTES, 0xff, BLOCK_BYTES);
	test_publish(store, &domain, disk, "v2", first.version, &second);
	save(disk, "v2");
	test_disk_fill(disk, 42, 3, 9);
	test_disk_fill(disk, 9000, 5, 9);
	options.base = second.version;
	assert_int_equal(publish_version(store, &domain, &source, &options, &day, NULL), 0);
	save(disk, "day");
	store_close(store);
	test_disk_free(disk);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(write_it)};

	if (argc != 2)
		return 2;
	folder = argv[1];
	cmocka_set_message_output(CM_OUTPUT_STDOUT);
	if (!freopen("/dev/null", "w", stdout))
		return 2;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
