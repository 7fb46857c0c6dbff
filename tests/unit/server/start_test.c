/* start_test.c: what the server says when it cannot start: one line that names the thing, the
 * reason and the remedy. */
#include "fixture.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64], problem[600];
static int64_t now;

static int64_t clock_of_the_test(void)
{
	return now;
}

static int start(const char *listen)
{
	struct server_options options = {.data = directory,
					 .listen = listen,
					 .names = {"127.0.0.1"},
					 .name_count = 1,
					 .threads = 1,
					 .clock = clock_of_the_test};
	struct server *server = NULL;
	int status;

	problem[0] = 0;
	status = server_open(&options, &server, problem, sizeof(problem));
	server_close(server);
	return status;
}

static void says(int status, const char *thing, const char *remedy)
{
	assert_true(status < 0);
	if (!strstr(problem, thing) || !strstr(problem, remedy) || strchr(problem, '\n'))
		fail_msg("\"%s\" names no \"%s\" or no \"%s\"", problem, thing, remedy);
}

static void spoil(const char *name)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	for (int i = 0; i < 9000; i++)
		fputc('x', file);
	fclose(file);
}

static int set_up(void **state)
{
	strcpy(directory, "/tmp/bulkhead-start-XXXXXX");
	now = COMPANY_NOW;
	assert_non_null(mkdtemp(directory));
	assert_int_equal(start("127.0.0.1:0"), 0);
	return 0;
}

static int tear_down(void **state)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	return system(command);
}

static void an_expired_authority_is_named(void **state)
{
	now = COMPANY_NOW + 21LL * 365 * 86400;
	says(start("127.0.0.1:0"), "ca.pem", "enrol every device again");
}

static void an_old_server_certificate_is_made_anew(void **state)
{
	now = COMPANY_NOW + 390LL * 86400;
	assert_int_equal(start("127.0.0.1:0"), 0);
}

static void damaged_files_are_named(void **state)
{
	spoil("server.key");
	says(start("127.0.0.1:0"), "server.key", "restore it from a backup");
	tear_down(state);
	set_up(state);
	spoil("ca.pem");
	says(start("127.0.0.1:0"), "ca.pem", "restore the file from a backup");
	tear_down(state);
	set_up(state);
	spoil("server.db");
	says(start("127.0.0.1:0"), "server.db", "restore it from a backup");
}

static void a_bad_address_is_named(void **state)
{
	says(start("nowhere"), "nowhere", "0.0.0.0:8443");
	says(start("127.0.0.1:99999"), "99999", "");
	says(start("192.0.2.1:0"), "192.0.2.1:0", "choose another --listen");
}

static void a_place_that_cannot_be_made_is_named(void **state)
{
	char kept[64];

	strcpy(kept, directory);
	strcpy(directory, "/proc/bulkhead");
	says(start("127.0.0.1:0"), "/proc/bulkhead", "choose another --data");
	strcpy(directory, kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(an_expired_authority_is_named, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(an_old_server_certificate_is_made_anew, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(damaged_files_are_named, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_bad_address_is_named, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_place_that_cannot_be_made_is_named, set_up,
					    tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
