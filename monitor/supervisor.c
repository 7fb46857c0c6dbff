/* SPDX-License-Identifier: MIT */
/*
 * The process that outlives launches; see supervisor.h.
 */
#include "supervisor.h"
#include "connector.h"
#include "machine.h"
#include "relay_device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/** A raw terminal for the guest, put back when the supervisor ends. */
static void make_raw(struct termios *saved)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, saved))
		return;
	raw = *saved;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

/** Runs one launch and serves it from outside its sandbox. Returns its exit status. */
static int supervise_launch(const struct config *config, struct options *options, launch_function *launch)
{
	struct relay_device_place devices[CONFIG_DEVICES_MAX];
	const char *paths[CONFIG_DEVICES_MAX];
	unsigned int count = relay_device_list(config, devices);
	int sockets[2], status;
	pid_t child;

	for (unsigned int i = 0; i < count; i++)
		paths[i] = devices[i].socket;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		goto failed;
	child = fork();
	if (child == 0) {
		close(sockets[0]);
		_exit(launch(config, options, sockets[1]));
	}
	close(sockets[1]);
	if (options->handover >= 0)
		close(options->handover);
	options->handover = -1; /* what serves the disks stays: a guest that resets itself finds them served */
	if (child > 0)
		connector_serve(sockets[0], paths, count);
	close(sockets[0]);
	if (child < 0 || waitpid(child, &status, 0) < 0)
		goto failed;
	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	fprintf(stderr, "monitor: %s: its process died of signal %d (%s)\n", config->name, WTERMSIG(status),
		strsignal(WTERMSIG(status)));
	return MACHINE_ERROR;
failed:
	fprintf(stderr, "monitor: %s: %s\n", config->name, strerror(errno));
	return MACHINE_ERROR;
}

int supervise(const struct config *config, struct options *options, launch_function *launch)
{
	bool raw = (!config->console || !strcmp(config->console, "stdio")) && isatty(STDIN_FILENO);
	struct termios saved;
	int status;

	if (raw)
		make_raw(&saved);
	do
		status = supervise_launch(config, options, launch);
	while (status == MACHINE_RESET);
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	return status;
}
