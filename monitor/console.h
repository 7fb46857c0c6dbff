/* SPDX-License-Identifier: MIT */
/*
 * Where a guest's serial port, or its virtio console, goes: this process's terminal, or a socket that a person's terminal connects to. The
 * last output is kept, so that whoever connects sees the screen as it stands.
 */
#ifndef BULKHEAD_MONITOR_CONSOLE_H
#define BULKHEAD_MONITOR_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONSOLE_KEPT_BYTES 16384u

struct console {
	int listen_fd;	/**< -1 with a terminal */
	int input_fd;	/**< -1: nobody is connected */
	int output_fd;
	int replaced_fd; /**< the connection before, which hears that it was replaced; -1: none */
	uint8_t kept[CONSOLE_KEPT_BYTES];
	size_t kept_end;  /**< total bytes ever kept */
};

/** Opens "stdio", or listens on a socket with mode 0600. Returns 0 or a negative errno. */
int console_open(struct console *console, const char *where);
void console_close(struct console *console);

/** Sends what the guest says. A reader that does not read loses output; it never stops the guest. */
void console_output(struct console *console, const uint8_t *bytes, size_t count);

/** Forgets the last output: who connects next sees only what comes then. */
void console_forget(struct console *console);

/**
 * Takes a waiting connection: the new one replaces the old. That one reads the end of what the guest says without a hang-up
 * (poll(): POLLRDHUP, and no POLLHUP), which nothing but being replaced looks like: a guest that ends, hangs up.
 */
void console_accept(struct console *console);

/** Reads what a person typed. Returns the bytes read; 0: nothing there, or nobody any more. */
size_t console_input(struct console *console, uint8_t *to, size_t bytes);

#endif
