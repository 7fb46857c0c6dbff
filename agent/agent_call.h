/**
 * Calls to the server that must succeed: whatever went wrong is one line in agent->error and a
 * negative errno. The working thread's alone, as agent->http is. Calls whose status matters use
 * agent_http.h.
 */
#ifndef AGENT_AGENT_CALL_H
#define AGENT_AGENT_CALL_H

#include <jansson.h>

#include "agent.h"

/** Fetches what is at `path`, at most `max` bytes; free `answer` with agent_http_free() after a
 * success. */
int agent_get(struct agent *agent, const char *path, size_t max, struct agent_http_answer *answer);

/** Sends `body` (taken over; NULL is out of memory) as JSON. `answer` may be NULL, and gets at most
 * `max` bytes; free it after a success. */
int agent_send_json(struct agent *agent, const char *method, const char *path, json_t *body,
		    size_t max, struct agent_http_answer *answer);

#endif
