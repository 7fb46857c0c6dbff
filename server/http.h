/*
 * http.h: the frame around every call: libmicrohttpd on one side, routes and handlers on the other.
 * Who asks is settled before a byte of the body is taken; a call that changes something is one
 * transaction with its audit entry.
 */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include "server/server.h"

/** Starts to listen as the options say. Returns 0, -EINVAL, -EADDRINUSE, ...; one line in @problem.
 */
int http_start(struct server *server, char *problem, size_t problem_bytes);

/** Stops listening and waits for calls that run. */
void http_stop(struct server *server);

#endif
