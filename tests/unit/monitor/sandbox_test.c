/* SPDX-License-Identifier: MIT */
/*
 * The monitor's sandbox: what a running machine needs still works, and everything else ends the process. Each try is a
 * process of its own.
 */
#include "control.h"
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NO_SANDBOX 77

/** Ends without the C library and what a sanitizer does there. */
static void end(int status)
{
	(void)syscall(SYS_exit_group, status);
}

/** Tries one thing inside. Returns the wait status. */
static int inside(void (*attempt)(void))
{
	const char *what;
	pid_t child = fork();
	int status;

	if (child == 0) {
		control_prepare();
		status = sandbox_enter(NULL, &what);
		if (status)
			end(NO_SANDBOX);
		attempt();
		end(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SANDBOX) {
		print_message("# no right to make namespaces here\n");
		skip();
	}
	return status;
}

static void what_serves(void)
{
	static struct machine machine;
	char byte, answer[CONTROL_LINE_MAX];
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || write(-1, "x", 1) != -1 || read(-1, &byte, 1) != -1 || munmap(memory, 4096))
		end(1);
	if (ioctl(-1, KVM_RUN, 0) != -1 || errno != EBADF)
		end(2);
	control_request(&machine, "{\"command\": \"statistics\"}", answer);
	if (strcmp(answer, "{\"ok\":true,\"exits_to_monitor\":0}\n"))
		end(3);
}

static void opens_a_file(void)
{
	(void)!open("/etc/passwd", O_RDONLY);
}

static void makes_a_socket(void)
{
	(void)!socket(AF_UNIX, SOCK_STREAM, 0);
}

static void makes_a_process(void)
{
	(void)!syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void makes_code(void)
{
	(void)!mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void signals_another(void)
{
	(void)!syscall(SYS_tgkill, 1, 1, 0);
}

static void asks_a_terminal(void)
{
	(void)!ioctl(0, 0x5412 /* TIOCSTI */, "x");
}

static void serving_goes_on(void **state)
{
	(void)state;
	assert_int_equal(inside(what_serves), 0);
}

static void everything_else_ends_the_process(void **state)
{
	static void (*const attempts[])(void) = { opens_a_file, makes_a_socket, makes_a_process,
						  makes_code,	signals_another, asks_a_terminal };

	(void)state;
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		int status = inside(attempts[i]);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("attempt %zu: status %x", i, (unsigned int)status);
	}
}

static void an_unknown_user_is_refused_before_anything_is_given_up(void **state)
{
	const char *what;

	(void)state;
	assert_int_equal(sandbox_enter("no-such-user-here", &what), -ENOENT);
	assert_string_equal(what, "finding its user");
	assert_int_equal(access("/", R_OK), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(serving_goes_on),
		cmocka_unit_test(everything_else_ends_the_process),
		cmocka_unit_test(an_unknown_user_is_refused_before_anything_is_given_up),
	};

	return cmocka_run_group_tests_name("monitor-sandbox", tests, NULL, NULL);
}
