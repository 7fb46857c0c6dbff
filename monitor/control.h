/* SPDX-License-Identifier: MIT */
/*
 * The control socket: one JSON request a line, one JSON answer a line. {"command": NAME}, where NAME is one of
 * status, pause, resume, stop, kill, statistics. Answers have "ok", and "error" with one line where it is false.
 */
#ifndef BULKHEAD_MONITOR_CONTROL_H
#define BULKHEAD_MONITOR_CONTROL_H

#include "machine.h"

#define CONTROL_LINE_MAX 1024u

/**
 * Carries a request out.
 * @line: the request, without its newline
 * @answer: filled with the answer and a newline, at most CONTROL_LINE_MAX bytes
 */
void control_request(struct machine *machine, const char *line, char answer[CONTROL_LINE_MAX]);

/** Reads a request from a connection and answers it. Returns false once the connection is to be closed. */
bool control_serve(struct machine *machine, int fd);

#endif
