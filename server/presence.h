/*
 * presence.h: who was seen when, and which audit head a device witnessed. Gathered in memory and
 * written every half minute in one transaction: a poll must not cost a disk write, and losing the
 * last half minute harms nobody.
 */
#ifndef SERVER_PRESENCE_H
#define SERVER_PRESENCE_H

#include "server/server.h"

/** Starts the writer's thread. Returns NULL if that fails. */
struct presence *presence_start(struct server *server);

/** Writes what is left and ends the thread. */
void presence_stop(struct presence *presence);

/** Notes a poll. @audit_seen: the header Bulkhead-Audit-Seen, or NULL; ignored if malformed. */
void presence_seen(struct presence *presence, const char *device, int64_t now,
		   const char *audit_seen);

/** Writes what was gathered. Returns 0 or a negative errno (what was gathered is lost: it only
 * tells when a device was last seen). */
int presence_flush(struct presence *presence);

#endif
