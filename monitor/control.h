/* SPDX-License-Identifier: MIT */
/*
 * The control socket: one JSON request a line, one JSON answer a line. {"command": NAME}, where NAME is one of
 * status, pause, resume, stop (the power button), kill, statistics, balloon (with
 * "bytes": what the guest should do without). Answers have "ok", and "error" with one line where it is false.
 */
#ifndef BULKHEAD_MONITOR_CONTROL_H
#define BULKHEAD_MONITOR_CONTROL_H

#include "machine.h"

#define CONTROL_LINE_MAX 1024u

/** To be called once, while there still are files to read: what parses JSON takes random numbers from one. */
void control_prepare(void);

/**
 * Carries a request out.
 * @line: the request, without its newline
 * @answer: filled with the answer and a newline, at most CONTROL_LINE_MAX bytes
 */
void control_request(struct machine *machine, const char *line, char answer[CONTROL_LINE_MAX]);

/** Reads a request from a connection and answers it. Returns false once the connection is to be closed. */
bool control_serve(struct machine *machine, int fd);

#endif
