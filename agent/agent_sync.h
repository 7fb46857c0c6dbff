/** The working thread: keeps this PC at the signed state, backs up, reports. */
#ifndef AGENT_SYNC_H
#define AGENT_SYNC_H

#include "agent.h"

/** Works until agent->stopping. For pthread_create(); `context` is the agent. */
void *agent_sync_run(void *context);

/** One round: documents, lease, guests, commands, backups, report. The next is due an interval later. For the working
 * thread. Returns 0 or the first failure, agent->error saying which. */
int agent_sync_once(struct agent *agent);

/**
 * What long work of the working thread (a backup, a restore) calls between two pieces, so that an order or a lease's end
 * does not wait for hours: looks at the newest state when a round would be due, ends guests that may not run, renews the lease.
 * Returns 0, or -ECANCELED when the work must end because the company has said something else; it goes on after the round
 * that follows.
 */
int agent_sync_between(struct agent *agent);

#endif
