/* SPDX-License-Identifier: MIT */
/*
 * What a confined backend may still do, each in a process of its own: what it lives by works, what it must do without is
 * refused with an error, and anything else ends it.
 */
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/** Runs an act in a confined process; its wait status. */
static int confined(enum confine_needs needs, int (*act)(void))
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		const char *what;

		/* Not _exit(): a sanitizer's makes calls of its own, which the filter does not know. */
		syscall(SYS_exit_group, confine_enter(NULL, needs, &what) ? 99 : act());
	}
	assert_true(child > 0 && waitpid(child, &status, 0) == child);
	return status;
}

static int reads_a_file(void)
{
	char byte;
	int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	return file >= 0 && pread(file, &byte, 1, 0) == 1 ? 0 : 1;
}

static int asks_for_a_ring(void)
{
	char parameters[256] = { 0 };

	return syscall(SYS_io_uring_setup, 4, parameters) == -1 && errno == EPERM ? 0 : 1;
}

static int ring; /* made before the process is confined */

static int uses_a_ring(void)
{
	return syscall(SYS_io_uring_enter, ring, 0, 0, 0, NULL, 0) == -1 && errno == EPERM ? 0 : 1;
}

static int opens_the_network(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 0 : 1;
}

static int runs_a_program(void)
{
	return execl("/bin/true", "true", (char *)NULL);
}

static void a_disks_backend_reads_files(void **state)
{
	(void)state;
	assert_int_equal(confined(CONFINE_FILES, reads_a_file), 0);
}

static void a_disks_backend_does_without_a_ring(void **state)
{
	char parameters[256] = { 0 };

	(void)state;
	assert_int_equal(confined(CONFINE_FILES, asks_for_a_ring), 0);
	ring = (int)syscall(SYS_io_uring_setup, 4, parameters); /* or an error, where this kernel has none */
	assert_int_equal(confined(CONFINE_FILES, uses_a_ring), 0);
	if (ring >= 0)
		close(ring);
}

static void anything_else_ends_it(void **state)
{
	(void)state;
	assert_int_equal(WTERMSIG(confined(CONFINE_FILES, opens_the_network)), SIGSYS);
	assert_int_equal(WTERMSIG(confined(CONFINE_FILES, runs_a_program)), SIGSYS);
	assert_int_equal(WTERMSIG(confined(CONFINE_NOTHING_MORE, reads_a_file)), SIGSYS);
	/* The control: without the filter both work. */
	assert_int_equal(opens_the_network(), 0);
	assert_int_equal(reads_a_file(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disks_backend_reads_files),
		cmocka_unit_test(a_disks_backend_does_without_a_ring),
		cmocka_unit_test(anything_else_ends_it),
	};

	return cmocka_run_group_tests_name("confine", tests, NULL, NULL);
}
