/* Asking a guest to stand still: a fake agent at a socket, which does as each test has it. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guest_agent.h"

struct fake {
	char path[64];
	int listener;
	const char *stale;  /* what it says first */
	const char *answer; /* to the freeze; NULL: it hangs up */
	int heard_thaws;
};

static void answer_text(int connection, const char *text)
{
	(void)send(connection, text, strlen(text), MSG_NOSIGNAL);
}

static void answer_line(struct fake *fake, int connection, const char *line)
{
	const char *id = strstr(line, "\"id\":");
	char answer[64];

	if (id) { /* as qemu-guest-agent does, after what it said to somebody before */
		answer_text(connection, fake->stale);
		answer_text(connection, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n");
		snprintf(answer, sizeof(answer), "\xff{\"return\": %lu}\n", strtoul(id + 5, NULL, 10));
	} else if (strstr(line, "thaw"))
		snprintf(answer, sizeof(answer), "{\"return\": %d}\n", ++fake->heard_thaws);
	else if (fake->answer)
		snprintf(answer, sizeof(answer), "%s\n", fake->answer);
	else {
		shutdown(connection, SHUT_WR);
		return;
	}
	answer_text(connection, answer);
}

/** Serves one connection to its end. */
static void *serve(void *context)
{
	struct fake *fake = context;
	int connection = accept(fake->listener, NULL, NULL);
	FILE *lines = fdopen(connection, "r");
	char line[256];

	while (fgets(line, sizeof(line), lines))
		answer_line(fake, connection, line);
	fclose(lines);
	return NULL;
}

/** Freezes, and thaws if it froze. Returns what freezing returned, or 0. */
static int stand_still(struct fake *fake, const char *stale, const char *answer)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	pthread_t thread;
	int frozen;

	*fake = (struct fake){.path = "/tmp/bulkhead-agent.XXXXXX", .stale = stale, .answer = answer};
	close(mkstemp(fake->path));
	unlink(fake->path);
	strcpy(address.sun_path, fake->path);
	fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fake->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fake->listener, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, fake), 0);
	frozen = guest_agent_freeze(fake->path);
	if (frozen >= 0)
		assert_int_equal(guest_agent_thaw(frozen), 0);
	pthread_join(thread, NULL);
	close(fake->listener);
	unlink(fake->path);
	return frozen < 0 ? frozen : 0;
}

static void a_guest_freezes_and_thaws(void **state)
{
	struct fake fake;

	assert_int_equal(stand_still(&fake, "", "{\"return\": 2}"), 0);
	assert_int_equal(fake.heard_thaws, 1);
}

static void what_answers_somebody_before_is_passed_over(void **state)
{
	static const char *const stale[] = {"{\"return\": 7}\n", "{\"error\": {}}\n", "\xff{\"return\": -1}\n",
					    "\xff{\"error\": {}}\n", "{\"ret", "no JSON\n\xff\xff\n\n"};
	struct fake fake;

	for (size_t i = 0; i < sizeof(stale) / sizeof(stale[0]); i++) {
		assert_int_equal(stand_still(&fake, stale[i], "{\"return\": 1}"), 0);
		assert_int_equal(fake.heard_thaws, 1);
	}
}

static void a_guest_that_has_not_said_that_it_froze_is_told_to_go_on(void **state)
{
	static const struct {
		const char *answer;
		int result;
	} cases[] = {{"{\"error\": {\"class\": \"GenericError\"}}", -EPERM}, {"{\"return\": 0}", -ENOTSUP}, {NULL, -EPIPE}};
	struct fake fake;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(stand_still(&fake, "", cases[i].answer), cases[i].result);
		assert_int_equal(fake.heard_thaws, 1);
	}
}

static void a_guest_without_an_agent_costs_nothing(void **state)
{
	assert_int_equal(guest_agent_freeze("/nonexistent/guest-agent"), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_guest_freezes_and_thaws),
	    cmocka_unit_test(what_answers_somebody_before_is_passed_over),
	    cmocka_unit_test(a_guest_that_has_not_said_that_it_froze_is_told_to_go_on),
	    cmocka_unit_test(a_guest_without_an_agent_costs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
