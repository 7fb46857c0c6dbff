/** The server's commands: carried out once each, reported whatever came of it. */
#ifndef AGENT_COMMANDS_H
#define AGENT_COMMANDS_H

#include "agent.h"

/** Fetches and carries out what is not finished. Returns 0 or negative errno with agent->error. */
int agent_commands_run(struct agent *agent);

#endif
