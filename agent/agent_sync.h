/** The working thread: keeps this PC at the signed state, backs up, reports. */
#ifndef AGENT_SYNC_H
#define AGENT_SYNC_H

#include "agent.h"

/** Works until agent->stopping. For pthread_create(); `context` is the agent. */
void *agent_sync_run(void *context);

/** One round: documents, lease, guests, commands, backups, report. The next is due an interval later. For the working
 * thread. Returns 0 or the first failure, agent->error saying which. */
int agent_sync_once(struct agent *agent);

#endif
