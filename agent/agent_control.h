/**
 * The socket of the command: a stream of JSON lines. One request, any number of {"progress": ...}
 * lines, one last line:
 * {"result": ...} or {"error": "..."}. Who may ask: root, the agent's own user, and members of the
 * socket's group; the table in agent_control.c says what.
 */
#ifndef AGENT_CONTROL_H
#define AGENT_CONTROL_H

#include "agent.h"

/** Opens the socket. Returns its descriptor or negative errno. */
int agent_control_listen(const char *path);

/** Serves one connection from start to end; run in a thread of its own. Closes `connection`. */
void agent_control_serve(struct agent *agent, int connection);

#endif
