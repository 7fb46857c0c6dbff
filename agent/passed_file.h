/** Messages between processes of this PC with at most one file descriptor beside them (SCM_RIGHTS). */
#ifndef AGENT_PASSED_FILE_H
#define AGENT_PASSED_FILE_H

#include <stddef.h>
#include <sys/types.h>

/** Sends one message, with the file `passed` beside it (-1: none). Returns the bytes sent or negative errno. */
ssize_t passed_file_send(int socket, const void *bytes, size_t size_bytes, int passed);

/**
 * Receives one message; `*passed` gets the file that came with it, the caller's to close, or -1. Returns the message's
 * whole size, also where that is more than `capacity_bytes`, 0 at the end, or negative errno.
 */
ssize_t passed_file_receive(int socket, void *bytes, size_t capacity_bytes, int *passed);

#endif
