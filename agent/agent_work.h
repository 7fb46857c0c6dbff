/**
 * Handing work to one of the two threads that live as long as the agent, and waiting for it. What
 * talks to the server is done by the working thread, one after the other; what starts programs by
 * the listening one, because a program that is to die with its parent dies with the thread that
 * started it.
 */
#ifndef AGENT_WORK_H
#define AGENT_WORK_H

#include "agent.h"

/** Runs `work` in that thread, after what it does now; returns its result, or -ECANCELED when the
 * agent stops. */
int agent_work_do(struct agent *agent, enum agent_thread thread, int (*work)(void *context),
		  void *context);

/** Runs one waiting piece of work, if any; called by that thread without the lock. */
bool agent_work_run_one(struct agent *agent, enum agent_thread thread);

/** Tells everyone who waits that nothing more is done. */
void agent_work_cancel(struct agent *agent);

#endif
