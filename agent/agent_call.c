/* Calls to the server that must succeed: see agent_call.h. */
#include "agent_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trust/strict_json.h"

/** Judges the answer of a call that came to `result`. */
static int settle(struct agent *agent, int result, struct agent_http_answer *answer)
{
	if (result == 0) {
		result = agent_http_check(agent->http, answer);
		if (result != 0)
			agent_http_free(answer);
	}
	return result == 0 ? 0 : agent_fail(agent, result, "%s", agent_http_error(agent->http));
}

int agent_get(struct agent *agent, const char *path, size_t max, struct agent_http_answer *answer)
{
	return settle(agent,
		      agent_http_call(agent->http, "GET", path, NULL, NULL, 0, max, answer),
		      answer);
}

int agent_send_json(struct agent *agent, const char *method, const char *path, json_t *body,
		    size_t max, struct agent_http_answer *answer)
{
	static const char *const headers[] = {"Content-Type: application/json", NULL};
	struct agent_http_answer own;
	char *text = body ? strict_json_write(body) : NULL;
	int result;

	json_decref(body);
	if (!text)
		return agent_fail(agent, -ENOMEM, "no memory is left for %s", path);
	result = agent_http_call(agent->http, method, path, headers, text, strlen(text), max,
				 answer ? answer : &own);
	free(text);
	result = settle(agent, result, answer ? answer : &own);
	if (result == 0 && !answer)
		agent_http_free(&own);
	return result;
}
