/** The user's own guests: made, exported, imported, removed, by their owner and nobody else. A
 * personal agent only. */
#ifndef AGENT_PERSONAL_H
#define AGENT_PERSONAL_H

#include "agent.h"

/**
 * Serves {"do": "create"|"export"|"import"|"remove", "guest": NAME, ...} of the control socket;
 * `file` is the descriptor that came with it, or -1; `say` is told how far long work is. Returns 0 or negative errno with one line in
 * `error`.
 */
int agent_personal_serve(struct agent *agent, const json_t *body, int file, void (*say)(void *context, const char *line),
			 void *say_context, json_t **result, char error[AGENT_ERROR_MAX]);

#endif
