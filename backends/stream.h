/* Whole messages over the stream sockets by which a disk's server speaks with the agent (feed.h, control.h). */
#ifndef BULKHEAD_BACKENDS_STREAM_H
#define BULKHEAD_BACKENDS_STREAM_H

#include <stdbool.h>
#include <stddef.h>

/** Sends (@out) or receives all @count bytes. Returns 0, or -1 if the other side went away first. */
int stream_transfer(int connection, void *bytes, size_t count, bool out);

#endif
