/* Offered images on a PC: see appliances.h. */
#include "appliances.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent_call.h"
#include "trust/strict_json.h"

#define LIST_MAX_BYTES (256u << 10)
#define PATH	       "/api/v1/device/appliances"

static int is_reached(struct agent *agent)
{
	return agent->http ? 0 : agent_fail(agent, -ENOTCONN, "the server was not reached yet");
}

/** One row as it may be shown; NULL: it is none. */
static json_t *checked(const json_t *row)
{
	const char *image = json_string_value(json_object_get(row, "image"));
	const char *description = json_string_value(json_object_get(row, "description"));

	if (!image || !strict_json_is_name(image))
		return NULL;
	return json_pack("{s:s, s:s, s:b}", "image", image, "description",
			 description ? description : "", "taken",
			 json_is_true(json_object_get(row, "taken")));
}

int appliances_list(struct agent *agent, json_t **items)
{
	struct agent_http_answer answer;
	json_t *reply = NULL, *row;
	size_t i;
	int result = is_reached(agent);

	if (result == 0)
		result = agent_get(agent, PATH, LIST_MAX_BYTES, &answer);
	if (result != 0)
		return result;
	if (strict_json_parse((const char *)answer.body, answer.body_bytes, LIST_MAX_BYTES,
			      &reply) != 0)
		result = agent_fail(agent, -EPROTO, "the server gave an answer that is none");
	agent_http_free(&answer);
	if (result != 0)
		return result;
	*items = json_array();
	json_array_foreach(json_object_get(reply, "items"), i, row)
	{
		json_t *good = checked(row);

		if (good)
			json_array_append_new(*items, good);
	}
	json_decref(reply);
	return 0;
}

int appliances_take(struct agent *agent, const char *image, bool take)
{
	bool allowed;
	int result = is_reached(agent);

	if (result != 0)
		return result;
	pthread_mutex_lock(&agent->lock);
	allowed = agent->effective.values[POLICY_OWN_IMAGES].number != 0;
	pthread_mutex_unlock(&agent->lock);
	if (take && !allowed)
		return agent_fail(agent, -EPERM,
				  "the company's policy does not let users take images themselves; ask "
				  "its help desk");
	result = agent_send_json(agent, "POST", PATH,
				 json_pack("{s:s, s:b}", "image", image, "take", take),
				 LIST_MAX_BYTES, NULL);
	if (result == 0) {
		pthread_mutex_lock(&agent->lock);
		agent_kick(agent);
		pthread_mutex_unlock(&agent->lock);
	}
	return result;
}
