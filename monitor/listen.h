/* SPDX-License-Identifier: MIT */
/*
 * Listening on a Unix socket that only its owner may connect to.
 */
#ifndef BULKHEAD_MONITOR_LISTEN_H
#define BULKHEAD_MONITOR_LISTEN_H

/**
 * Makes a listening stream socket at @path with mode 0600, in place of a stale one that nobody listens on.
 * Returns its descriptor or a negative errno: -EADDRINUSE if somebody does listen there.
 */
int listen_unix(const char *path);

#endif
