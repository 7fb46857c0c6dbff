/* SPDX-License-Identifier: MIT */
/*
 * Connects to backends on behalf of a process that can no longer reach their sockets: the supervisor, which stays outside
 * the sandbox, opens the connection and passes it in. What the process inside can ask for is the number of a backend that
 * the configuration names, nothing else.
 */
#ifndef BULKHEAD_MONITOR_CONNECTOR_H
#define BULKHEAD_MONITOR_CONNECTOR_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Serves requests of the other end of @socket until it is closed.
 * @paths: of the backends' sockets, in the order in which they are asked for
 */
void connector_serve(int socket, const char *const *paths, unsigned int path_count);

/** Asks for a connection to backend @number. Returns a socket, owned by the caller, or a negative errno. */
int connector_ask(int socket, uint32_t number);

/** Sends a status, with @fd beside it if it is one (not negative). */
bool connector_send(int socket, int32_t status, int fd);

/** Connects to a Unix socket. Returns it, owned by the caller, or a negative errno. */
int connector_open(const char *path);

#endif
