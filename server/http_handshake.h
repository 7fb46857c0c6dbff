/*
 * http_handshake.h: lets a TLS handshake sleep. While a client takes its time between two messages
 * of a handshake, libmicrohttpd 0.9.75 asks the socket again and again: one silent client costs one
 * processor. Here such a connection is suspended, watched by a thread of its own, and taken up
 * again once something arrives or its time is over.
 */
#ifndef SERVER_HTTP_HANDSHAKE_H
#define SERVER_HTTP_HANDSHAKE_H

#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

struct handshakes;

/** One connection's handshake; lives as long as the connection. */
struct handshake {
	struct handshakes *all;
	struct MHD_Connection *connection;
	gnutls_session_t session;
	int fd;
	bool is_known; /* to the watcher's epoll */
	int64_t deadline_ms;
	struct handshake *next, *previous; /* those asleep, oldest first */
};

/** Starts the watcher. NULL: out of memory, threads or files. */
struct handshakes *handshakes_start(void);

/** How many handshakes wait for their client just now. */
size_t handshakes_asleep(struct handshakes *all);

/** Wakes everybody and ends the watcher: before the daemon is stopped. Nobody sleeps from now on.
 */
void handshakes_end(struct handshakes *all);

/** Frees what handshakes_start() made: after the daemon was stopped. */
void handshakes_free(struct handshakes *all);

/**
 * Takes over reading for a new connection's session. Its daemon must allow suspending.
 *
 * @handshake: zeroed; must live until the connection has ended.
 */
void handshake_begin(struct handshakes *all, struct handshake *handshake,
		     struct MHD_Connection *connection);

#endif
