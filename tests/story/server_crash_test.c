/*
 * server_crash_test.c: the server is killed at every step (statement, commit, write, sync, rename)
 * of a day's calls. After each kill it starts again over the same directory: what it had answered
 * must be there, the audit log must be whole, and the same calls made again must end as if nothing
 * had happened.
 */
#include "fixture.h"
#include "server/step.h"
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char pack[] = "00000000000000000000000000000000000000000000000000000000000000dd";
static int steps_left; /* 0: never die */

void step(void)
{
	if (steps_left && !--steps_left)
		_exit(9);
}

static struct fixture fixture;
static struct client device;

/* The calls of the story. Each may be repeated; @done counts those that were answered as they
 * should be. */
static int play(struct client *admin)
{
	char path[200], body[400];
	int done = 0;

	if (client_call(&device, "POST", "/api/v1/device/lease",
			"{\"serial\":0,\"powered_seconds\":0,\"starts\":0}", NULL) != 201)
		return done;
	done++;
	if (fixture_send_pack(&device, pack, "pack", 4) != 201)
		return done;
	done++;
	snprintf(body, sizeof(body),
		 "{\"epoch\":1,\"parent\":0,\"label\":\"frozen\",\"manifest\":\"AAAA\",\"packs\":["
		 "\"%s\"]}",
		 pack);
	if (client_call(&device, "POST", "/api/v1/device/disks/alice-work/backups", body, NULL) !=
	    201)
		return done;
	done++;
	if (client_call(admin, "POST", "/api/v1/assignments",
			"{\"image\":\"work\",\"user\":\"alice\"}", NULL) != 201)
		return done;
	done++;
	snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", device.device);
	if (client_call(admin, "POST", path,
			"{\"kind\":\"revert\",\"guest\":\"work\",\"release\":1}", NULL) != 201)
		return done;
	return done + 1;
}

/* What was answered must be there. */
static void check(int done, int step_number)
{
	struct audit_head head = {0};
	json_t *page, *item;
	size_t index;
	char path[200];

	assert_int_equal(client_call(&fixture.admin, "GET", "/api/v1/audit?limit=500", NULL, NULL),
			 200);
	page = client_json(&fixture.admin);
	json_array_foreach(json_object_get(page, "items"), index, item)
	{
		const char *entry = json_string_value(json_object_get(item, "entry"));

		if (audit_follow(&head, entry, strlen(entry)))
			fail_msg("step %d: the audit log is broken after %lu", step_number,
				 (unsigned long)head.sequence);
	}
	json_decref(page);
	snprintf(path, sizeof(path), "/api/v1/device/disks/alice-work/packs/%s", pack);
	if (done >= 2 && client_call(&device, "GET", path, NULL, NULL) != 200)
		fail_msg("step %d: an uploaded pack is gone", step_number);
	if (done >= 3) {
		assert_int_equal(client_call(&device, "GET",
					     "/api/v1/device/disks/alice-work/backups", NULL, NULL),
				 200);
		if (!strstr(device.body, "\"number\":1"))
			fail_msg("step %d: a backup is gone", step_number);
	}
	if (done >= 4) {
		assert_int_equal(
		    client_call(&fixture.admin, "GET", "/api/v1/assignments", NULL, NULL), 200);
		if (!strstr(fixture.admin.body, "\"alice\""))
			fail_msg("step %d: an assignment is gone", step_number);
	}
	if (done >= 5) {
		snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", device.device);
		assert_int_equal(client_call(&fixture.admin, "GET", path, NULL, NULL), 200);
		if (!strstr(fixture.admin.body, "revert"))
			fail_msg("step %d: a command is gone", step_number);
	}
}

/* Starts the server in a child that dies at its @step_number-th step after listening; the parent
 * plays the story. */
static int play_and_kill(int step_number, bool *died)
{
	struct server *server;
	struct client admin = fixture.admin;
	char problem[600];
	int pipes[2], port = 0, status, done = 0;
	pid_t child;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (!child) {
		if (server_open(&fixture.options, &server, problem, sizeof(problem)) ||
		    write(pipes[1], &server->port, sizeof(int)) != sizeof(int))
			_exit(8);
		steps_left = step_number;
		pause();
		_exit(0);
	}
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &port, sizeof(port)), sizeof(port));
	close(pipes[0]);
	admin.curl = curl_easy_init();
	admin.body = NULL;
	admin.port = device.port = port;
	done = play(&admin);
	curl_easy_cleanup(admin.curl);
	free(admin.body);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	*died = WIFEXITED(status) && WEXITSTATUS(status) == 9;
	return done;
}

static void copy_directory(const char *from, const char *to)
{
	char command[2000];

	snprintf(command, sizeof(command), "rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
	assert_int_equal(system(command), 0);
}

static void a_kill_at_any_step_loses_nothing_that_was_answered(void **state)
{
	char pristine[300], command[1000];
	bool died = true;
	int step_number = 1, done;

	fixture_open(&fixture);
	fixture_alice(&fixture);
	fixture_enrol(&fixture, &device, "alice", "pc-1");
	assert_int_equal(
	    client_call(&device, "POST", "/api/v1/device/disks", "{\"disk\":\"alice-work\"}", NULL),
	    201);
	device.ca = strdup(device.ca);
	fixture.admin.ca = device.ca;
	server_close(fixture.server);
	fixture.server = NULL;
	snprintf(pristine, sizeof(pristine), "%s.pristine", fixture.directory);
	copy_directory(fixture.directory, pristine);
	for (; died; step_number++) {
		copy_directory(pristine, fixture.directory);
		done = play_and_kill(step_number, &died);
		fixture_restart(&fixture);
		fixture.admin.ca = device.ca;
		device.port = fixture.admin.port;
		check(done, step_number);
		done = play(&fixture.admin);
		if (done != 5)
			fail_msg("step %d: played again, the story ends after %d calls",
				 step_number, done);
		check(done, step_number);
		server_close(fixture.server);
		fixture.server = NULL;
	}
	print_message("# killed at each of %d steps\n", step_number - 2);
	assert_true(step_number > 20);
	snprintf(command, sizeof(command), "rm -rf '%s'", pristine);
	assert_int_equal(system(command), 0);
	free((void *)device.ca);
	client_close(&device);
	fixture_close(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_kill_at_any_step_loses_nothing_that_was_answered)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
