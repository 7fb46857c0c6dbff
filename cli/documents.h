/*
 * documents.h: signed documents that this administrator published, kept beside the session: when a
 * server comes back from an older copy of its database, they are put back (`bulkhead server
 * put-back`). A server can lose them, but forge none.
 */
#ifndef BULKHEAD_CLI_DOCUMENTS_H
#define BULKHEAD_CLI_DOCUMENTS_H

#include "remote.h"

/** Publishes a signed document by PUT and keeps it. Returns CLI_OK or CLI_FAILED. */
int documents_put(struct remote *remote, const char *path, const char *text);

extern const struct cli_command documents_commands[];

#endif
