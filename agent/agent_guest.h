/** Starting, stopping and switching guests. All with agent->lock held, except where said. */
#ifndef AGENT_GUEST_H
#define AGENT_GUEST_H

#include "agent.h"

/** The running one of that name, or NULL. */
struct agent_running *agent_guest_running(struct agent *agent, const char *name);

/** Starts a guest. Returns 0 or negative errno with one line in `error`. */
int agent_guest_start(struct agent *agent, const char *name, char error[AGENT_ERROR_MAX]);

/** Asks a guest to end; `hard` ends it at once. Returns 0 or -ENOENT. It has ended when
 * agent_guest_reap() says so. */
int agent_guest_stop(struct agent *agent, const char *name, bool hard);

/** Ends every guest at once, because the PC is locked or wiped. */
void agent_guest_stop_all(struct agent *agent);

/** Collects processes that ended; kills what does not end when asked. Called on SIGCHLD and every
 * second. */
void agent_guest_reap(struct agent *agent);

/** Switches a guest to what is wanted, if it is installed and the guest does not run: one step in
 * the database. */
int agent_guest_switch(struct agent *agent, const char *name);

/** Goes back to the previous release. Returns 0, -ENOENT (none is kept), -EPERM (below the security
 * floor). */
int agent_guest_revert(struct agent *agent, const char *name, char error[AGENT_ERROR_MAX]);

#endif
