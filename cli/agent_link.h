/*
 * Talking to the agent of this PC over its control socket: one request, progress lines, one answer.
 */
#ifndef BULKHEAD_CLI_AGENT_LINK_H
#define BULKHEAD_CLI_AGENT_LINK_H

#include "command.h"

#include <jansson.h>

/** The options by which every command that talks to an agent finds it. Put into each command's own
 * table. */
#define AGENT_LINK_OPTIONS                                                                         \
	{"personal", NULL, "talk to the agent of your own guests, not the company's", 0, false},   \
	{                                                                                          \
		"socket", "PATH",                                                                  \
		    "the agent's control socket (default /run/bulkhead/agent, or "                 \
		    "/run/bulkhead/personal)",                                                     \
		    0, false                                                                       \
	}

/**
 * Sends @request (taken over) and waits for the answer, showing progress on stderr.
 *
 * @file: a descriptor to hand over, or -1.
 * @result: receives the answer's "result", a new reference.
 *
 * Returns CLI_OK, or CLI_FAILED after saying in one line what went wrong.
 */
int agent_link_call(const struct cli_context *context, json_t *request, int file, json_t **result);

#endif
