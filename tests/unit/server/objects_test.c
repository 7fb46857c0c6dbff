/* objects_test.c: uploads that were cut and go on, and what a late holder of one can still do. */
#include "server/objects.h"
#include "unit.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "packs/00000000000000000000000000000000000000000000000000000000000000aa"

struct fixture {
	char directory[64], command[96];
	void *handle;
	uint8_t hash[32];
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/bulkhead-objects-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	assert_int_equal(objects_directory.open(fixture->directory, &fixture->handle), 0);
	crypto_hash_sha256(fixture->hash, (const uint8_t *)"abcdef", 6);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	objects_directory.close(fixture->handle);
	snprintf(fixture->command, sizeof(fixture->command), "rm -r %s", fixture->directory);
	assert_int_equal(system(fixture->command), 0);
	free(fixture);
	return 0;
}

static void start(struct fixture *fixture, uint64_t offset, const char *bytes, struct object_put *put)
{
	assert_int_equal(objects_directory.put_start(fixture->handle, KEY, offset, put), 0);
	assert_int_equal(objects_directory.put_write(fixture->handle, put, bytes, strlen(bytes)), 0);
}

static void assert_whole(struct fixture *fixture)
{
	struct object object;
	char bytes[8] = "";

	assert_int_equal(objects_directory.get(fixture->handle, KEY, &object), 0);
	assert_int_equal(object.size_bytes, 6);
	assert_int_equal(objects_directory.read(fixture->handle, &object, 0, bytes, 6), 6);
	assert_string_equal(bytes, "abcdef");
	objects_directory.release(fixture->handle, &object);
	assert_int_equal(objects_directory.partial(fixture->handle, KEY), 0);
}

static void a_cut_upload_goes_on_while_its_first_connection_still_holds_it(void **state)
{
	struct fixture *fixture = *state;
	struct object_put dead, next;

	start(fixture, 0, "abc", &dead);
	assert_int_equal(objects_directory.put_start(fixture->handle, KEY, 2, &next), -ESTALE);
	start(fixture, 3, "def", &next);
	assert_int_equal(objects_directory.put_commit(fixture->handle, &next, fixture->hash), 0);
	assert_whole(fixture);
	assert_int_equal(objects_directory.put_pause(fixture->handle, &dead), 0);
	assert_whole(fixture);
}

static void a_late_holder_neither_publishes_nor_removes_anything(void **state)
{
	struct fixture *fixture = *state;
	struct object_put late, next, third;

	start(fixture, 0, "abc", &late);
	start(fixture, 3, "d", &next);
	/* The late one writes on, in a file that has no name any more. */
	assert_int_equal(objects_directory.put_write(fixture->handle, &late, "def", 3), 0);
	assert_int_equal(objects_directory.put_commit(fixture->handle, &late, fixture->hash), -EBUSY);
	assert_int_equal(objects_directory.partial(fixture->handle, KEY), 4);
	start(fixture, 4, "xx", &third);
	objects_directory.put_drop(fixture->handle, &next);
	assert_int_equal(objects_directory.partial(fixture->handle, KEY), 6);
	assert_int_equal(objects_directory.put_commit(fixture->handle, &third, fixture->hash),
			 -EKEYREJECTED);
	assert_int_equal(objects_directory.partial(fixture->handle, KEY), 0);
}

static void the_same_object_twice_is_one(void **state)
{
	struct fixture *fixture = *state;
	struct object_put first, second;

	start(fixture, 0, "abcdef", &first);
	assert_int_equal(objects_directory.put_commit(fixture->handle, &first, fixture->hash), 0);
	start(fixture, 0, "abcdef", &second);
	assert_int_equal(objects_directory.put_commit(fixture->handle, &second, fixture->hash), 0);
	assert_whole(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		a_cut_upload_goes_on_while_its_first_connection_still_holds_it, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_late_holder_neither_publishes_nor_removes_anything,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(the_same_object_twice_is_one, setup, teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests_name("objects", tests, NULL, NULL);
}
