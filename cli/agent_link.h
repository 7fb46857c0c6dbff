/*
 * Talking to the agent of this PC over its control socket: one request, progress lines, one answer.
 */
#ifndef BULKHEAD_CLI_AGENT_LINK_H
#define BULKHEAD_CLI_AGENT_LINK_H

#include "command.h"

#include <jansson.h>

/** Where the agents of the company's and of the user's own guests listen unless told otherwise. */
#define AGENT_LINK_COMPANY  "/run/bulkhead/agent"
#define AGENT_LINK_PERSONAL "/run/bulkhead-own/agent"

/** The options by which every command that talks to an agent finds it. Put into each command's own
 * table. */
#define AGENT_LINK_OPTIONS                                                                         \
	{"personal", NULL, "talk to the agent of your own guests, not the company's", 0, false},   \
	{                                                                                          \
		"socket", "PATH",                                                                  \
		    "the agent's control socket (default /run/bulkhead/agent, or "                 \
		    "/run/bulkhead-own/agent)",                                                     \
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

/**
 * The same without a command: asks the agent at @path. @progress is given each line that says how far it is, and @context.
 * Returns 0, or a negative errno with one line in @error.
 */
int agent_link_ask(const char *path, json_t *request, int file, void (*progress)(void *context, const char *line),
		   void *context, json_t **result, char *error, size_t error_bytes);

#endif
