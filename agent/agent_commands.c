/*
 * The server's commands. Lock and unlock are acknowledged only: the signed state says them. Wipe
 * and key release carry an officers' order that the vault checks by itself; a server cannot command
 * either. The rest changes nothing that the signed state would not allow.
 */
#include "agent_commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_backup.h"
#include "agent_call.h"
#include "agent_disks.h"
#include "agent_guest.h"
#include "agent_keys.h"
#include "agent_log.h"
#include "trust/strict_json.h"

struct outcome {
	const char *state; /* "done", "failed" or "refused" */
	char detail[AGENT_ERROR_MAX];
	char *receipt;
};

static int report(struct agent *agent, uint64_t sequence, const struct outcome *outcome)
{
	json_t *body = json_pack("{s:s}", "state", outcome->state);
	char path[80];

	if (outcome->detail[0])
		json_object_set_new(body, "detail", json_string(outcome->detail));
	if (outcome->receipt)
		json_object_set_new(body, "receipt", json_string(outcome->receipt));
	snprintf(path, sizeof(path), "/api/v1/device/commands/%llu", (unsigned long long)sequence);
	return agent_send_json(agent, "POST", path, body, 65536, NULL);
}

static void end(struct outcome *outcome, int result, const char *detail)
{
	outcome->state = result == 0 ? "done"
			 : result == -EKEYREJECTED || result == -EPERM || result == -ESTALE ||
				 result == -EXDEV || result == -EKEYEXPIRED
			     ? "refused"
			     : "failed";
	snprintf(outcome->detail, sizeof(outcome->detail), "%s", detail);
}

static void forget_guest(struct agent *agent, const char *guest)
{
	if (strcmp(guest, "*") == 0)
		agent_guest_stop_all(agent);
	else if (agent_guest_stop(agent, guest, true) == 0)
		agent_guest_reap(agent);
	agent_database_key_delete(agent->database, guest);
}

/** The order decides what is wiped; the command around it only carries it. */
static void obey_wipe(struct agent *agent, const json_t *command, struct outcome *outcome)
{
	char error[256] = "", *order = json_object_get(command, "order")
					   ? strict_json_write(json_object_get(command, "order"))
					   : NULL;
	const char *guest = json_string_value(json_object_get(command, "guest"));
	int result =
	    order ? agent_keys_wipe(agent->config.keyd, order, &outcome->receipt, error) : -EPERM;

	if (result == 0) {
		agent_log(AGENT_WARNING, "wiped", "s:s", "guest", guest ? guest : "*");
		pthread_mutex_lock(&agent->lock);
		forget_guest(agent, guest ? guest : "*");
		pthread_mutex_unlock(&agent->lock);
	}
	end(outcome, result, order ? error : "a wipe needs an order of two officers");
	free(order);
}

static void obey_release_key(struct agent *agent, const json_t *command, struct outcome *outcome)
{
	char *order = json_object_get(command, "order")
			  ? strict_json_write(json_object_get(command, "order"))
			  : NULL;
	int result = order ? agent_backup_obey_release(agent, order) : -EPERM;

	end(outcome, result,
	    result == 0 ? ""
	    : order	? agent->error
			: "a key release needs an order of two officers");
	free(order);
}

static void obey_revert(struct agent *agent, const json_t *command, struct outcome *outcome)
{
	const char *guest = json_string_value(json_object_get(command, "guest"));
	char error[AGENT_ERROR_MAX] = "";
	bool runs;
	int result;

	pthread_mutex_lock(&agent->lock);
	runs = guest && agent_guest_running(agent, guest);
	result = guest ? agent_guest_revert(agent, guest, error) : -EINVAL;
	pthread_mutex_unlock(&agent->lock);
	if (result == 0 && runs)
		snprintf(error, sizeof(error), "takes effect when the guest starts again");
	end(outcome, result, error);
}

static void obey_remove(struct agent *agent, const json_t *command, struct outcome *outcome)
{
	const char *name = json_string_value(json_object_get(command, "guest"));
	uint64_t release = (uint64_t)json_integer_value(json_object_get(command, "release"));
	char error[AGENT_ERROR_MAX] = "it names no guest";
	int result = name ? agent_disks_remove_release(agent, name, release, error) : -EINVAL;

	end(outcome, result, result == 0 ? "" : error);
}

/** "update": take what is wanted now, also where the guest was held back. */
static void obey_update(struct agent *agent, const json_t *command, struct outcome *outcome)
{
	const char *name = json_string_value(json_object_get(command, "guest"));
	struct agent_guest_row guest;

	if (name && agent_database_guest_get(agent->database, name, &guest) == 0 &&
	    guest.held_back) {
		guest.held_back = false;
		agent_database_guest_put(agent->database, &guest);
	}
	end(outcome, 0, "");
}

static void acknowledge(struct agent *agent, const json_t *command, struct outcome *outcome)
{
	end(outcome, 0, "");
}

static const struct {
	const char *kind;
	void (*obey)(struct agent *agent, const json_t *command, struct outcome *outcome);
} kinds[] = {
    {"lock", acknowledge},   {"unlock", acknowledge},
    {"wipe", obey_wipe},     {"release-key", obey_release_key},
    {"revert", obey_revert}, {"remove", obey_remove},
    {"update", obey_update},
};

static int obey(struct agent *agent, const json_t *command)
{
	const char *kind = json_string_value(json_object_get(command, "kind"));
	struct outcome outcome = {.state = "refused", .detail = "this agent knows no such command"};
	int64_t sequence;
	int result;

	if (!kind || strict_json_integer(command, "sequence", 1, INT64_MAX, &sequence) != 0)
		return agent_fail(agent, -EPROTO, "the server sent a command that is none");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].kind, kind) == 0) {
			outcome.detail[0] = '\0';
			kinds[i].obey(agent, command, &outcome);
		}
	agent_log(AGENT_INFO, "command", "s:s, s:I, s:s, s:s", "kind", kind, "sequence",
		  (json_int_t)sequence, "state", outcome.state, "detail", outcome.detail);
	result = report(agent, (uint64_t)sequence, &outcome);
	free(outcome.receipt);
	return result;
}

int agent_commands_run(struct agent *agent)
{
	struct agent_http_answer answer;
	json_t *list = NULL, *items, *command;
	size_t i;
	int result;

	if (agent->state->command == 0)
		return 0;
	result = agent_get(agent, "/api/v1/device/commands", 1u << 20, &answer);
	if (result != 0)
		return result;
	if (strict_json_parse((const char *)answer.body, answer.body_bytes, 1u << 20, &list) != 0)
		result = agent_fail(agent, -EPROTO, "the server sent commands that are none");
	agent_http_free(&answer);
	items = json_object_get(list, "items");
	json_array_foreach(items, i, command)
	{
		int one = obey(agent, command);

		if (result == 0)
			result = one;
	}
	json_decref(list);
	return result;
}
