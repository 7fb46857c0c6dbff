/* SPDX-License-Identifier: MIT */
/*
 * A guest's output to a terminal or a socket; see console.h.
 */
#include "console.h"
#include "listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int console_open(struct console *console, const char *where)
{
	*console = (struct console){ .listen_fd = -1, .input_fd = -1, .output_fd = -1, .replaced_fd = -1 };
	if (!where || !strcmp(where, "stdio")) {
		console->input_fd = STDIN_FILENO;
		console->output_fd = STDOUT_FILENO;
		return 0;
	}
	console->listen_fd = listen_unix(where);
	return console->listen_fd < 0 ? console->listen_fd : 0;
}

static void disconnect(struct console *console)
{
	if (console->listen_fd >= 0 && console->output_fd >= 0)
		close(console->output_fd);
	console->input_fd = -1;
	if (console->listen_fd >= 0)
		console->output_fd = -1;
}

/** Whoever is connected is to know that it is somebody else who gets this console, not that the guest is gone. */
static void replace(struct console *console)
{
	if (console->output_fd < 0)
		return;
	shutdown(console->output_fd, SHUT_WR);
	if (console->replaced_fd >= 0)
		close(console->replaced_fd);
	console->replaced_fd = console->output_fd;
}

void console_close(struct console *console)
{
	disconnect(console);
	if (console->replaced_fd >= 0)
		close(console->replaced_fd);
	console->replaced_fd = -1;
	if (console->listen_fd >= 0)
		close(console->listen_fd);
}

void console_output(struct console *console, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		console->kept[console->kept_end++ % CONSOLE_KEPT_BYTES] = bytes[i];
	if (console->listen_fd < 0)
		(void)!write(console->output_fd, bytes, count);
	else if (console->output_fd >= 0)
		(void)send(console->output_fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void console_forget(struct console *console)
{
	console->kept_end = 0;
}

void console_accept(struct console *console)
{
	int fd = accept4(console->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	size_t first = console->kept_end > CONSOLE_KEPT_BYTES ? console->kept_end - CONSOLE_KEPT_BYTES : 0;

	if (fd < 0)
		return;
	replace(console);
	console->input_fd = console->output_fd = fd;
	while (first < console->kept_end) {
		size_t at = first % CONSOLE_KEPT_BYTES, run = CONSOLE_KEPT_BYTES - at;
		ssize_t sent;

		if (run > console->kept_end - first)
			run = console->kept_end - first;
		sent = send(fd, console->kept + at, run, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent <= 0)
			return;
		first += (size_t)sent;
	}
}

size_t console_input(struct console *console, uint8_t *to, size_t bytes)
{
	ssize_t got = read(console->input_fd, to, bytes);

	if (got > 0)
		return (size_t)got;
	if (got == 0 || errno != EINTR)
		disconnect(console);
	return 0;
}
