/* Policy on this PC: see agent_policy.h. */
#include "agent_policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent_disks.h"
#include "agent_guest.h"
#include "agent_keys.h"
#include "agent_log.h"

#define MIB		(1ull << 20)
#define GIB		(1ull << 30)
#define START_TRIES	3
#define USER_DISK_BYTES (64 * GIB) /* sparse: what is not written takes no space */

uint64_t agent_policy_quota(const struct agent *agent)
{
	uint64_t policy = (uint64_t)agent->effective.values[POLICY_QUOTA_GIB].number * GIB;
	uint64_t own = agent->config.quota_bytes;

	if (policy == 0 || own == 0)
		return policy + own;
	return policy < own ? policy : own;
}

int agent_policy_fits(struct agent *agent, const char *guest, uint64_t release, uint64_t used_bytes,
		      uint64_t more_bytes)
{
	uint64_t quota = agent_policy_quota(agent);

	if (quota == 0 || (used_bytes <= quota && more_bytes <= quota - used_bytes))
		return 0;
	return agent_fail(agent, -EDQUOT,
			  "%s: release %llu needs %llu MiB and the quota of %llu MiB has %llu MiB left; "
			  "remove a release (bulkhead guest remove-version), or ask for more quota_gib",
			  guest, (unsigned long long)release,
			  (unsigned long long)(more_bytes / MIB + (more_bytes % MIB != 0)),
			  (unsigned long long)(quota / MIB),
			  (unsigned long long)(used_bytes < quota ? (quota - used_bytes) / MIB : 0));
}

void agent_policy_user_disk(const struct agent *agent, char size[24])
{
	uint64_t quota = agent_policy_quota(agent);
	uint64_t bytes = quota != 0 && quota < USER_DISK_BYTES ? quota : USER_DISK_BYTES;

	snprintf(size, 24, "%llu", (unsigned long long)bytes);
}

bool agent_policy_in_window(const char *window, time_t now)
{
	unsigned int from_hour, from_minute, to_hour, to_minute, minute, from, to;
	struct tm parts;

	if (!window ||
	    sscanf(window, "%2u:%2u-%2u:%2u", &from_hour, &from_minute, &to_hour, &to_minute) != 4)
		return true;
	localtime_r(&now, &parts);
	minute = (unsigned int)(parts.tm_hour * 60 + parts.tm_min);
	from = from_hour * 60 + from_minute;
	to = to_hour * 60 + to_minute;
	return from <= to ? minute >= from && minute < to : minute >= from || minute < to;
}

/** Whether the monitor's command has a place for the network, or is ours, which has no other. */
static bool monitor_takes_network(const struct agent *agent)
{
	if (agent->config.machine[0])
		return true;
	for (int i = 0; i < agent->config.monitor.count; i++)
		if (strstr(agent->config.monitor.words[i], "%{network}"))
			return true;
	return false;
}

int agent_policy_network(const struct agent *agent, const char *guest, const char **text,
			 char error[AGENT_ERROR_MAX])
{
	int64_t network = agent->effective.values[POLICY_NETWORK].number;
	const char *name = policy_field_rules[POLICY_NETWORK].words[network];

	*text = agent->config.networks[network];
	if (network == POLICY_NETWORK_OPEN)
		return 0;
	if (!monitor_takes_network(agent)) {
		snprintf(error, AGENT_ERROR_MAX,
			 "%s: policy gives it network \"%s\", and this PC's \"monitor\" has no %%{network}, "
			 "so nothing would enforce that; see docs/agent.md",
			 guest, name);
		return -EPERM;
	}
	if (network != POLICY_NETWORK_NONE && !(*text)[0]) {
		snprintf(error, AGENT_ERROR_MAX,
			 "%s: policy gives it network \"%s\", which this PC's configuration does not have; "
			 "add it under \"networks\" in agent.json",
			 guest, name);
		return -EPERM;
	}
	return 0;
}

/** The guest's place; made with all tries left. NULL: there is no room. */
static struct agent_start *start_of(struct agent *agent, const char *guest)
{
	struct agent_start *empty = NULL;

	for (int i = 0; i < AGENT_GUESTS_MAX; i++) {
		if (strcmp(agent->starts[i].name, guest) == 0)
			return &agent->starts[i];
		if (!agent->starts[i].name[0])
			empty = &agent->starts[i];
	}
	if (empty) {
		snprintf(empty->name, sizeof(empty->name), "%s", guest);
		empty->left = START_TRIES;
	}
	return empty;
}

void agent_policy_note_start(struct agent *agent, const char *guest)
{
	struct agent_start *start = start_of(agent, guest);

	if (start)
		start->left = 0;
}

void agent_policy_start_again(struct agent *agent, const char *guest)
{
	struct agent_start *start = start_of(agent, guest);

	if (start)
		start->left = START_TRIES;
}

static int start_one(void *context, const struct agent_guest_row *row)
{
	struct agent *agent = context;
	struct agent_start *start = start_of(agent, row->name);
	char error[AGENT_ERROR_MAX] = "";

	if (!row->assigned || (row->current == 0 && row->wanted == 0) || !start || start->left == 0 ||
	    agent_guest_running(agent, row->name))
		return 0;
	/* Not here yet: its arrival asks again. */
	if (!agent_disks_ready(agent, row->name, row->current, NULL) &&
	    !agent_disks_ready(agent, row->name, row->wanted, NULL))
		return 0;
	/* A start that fails late has been charged to the lease all the same. */
	start->left--;
	if (agent_guest_start(agent, row->name, error) != 0)
		agent_log(AGENT_WARNING, "autostart.failed", "s:s, s:s, s:i", "guest", row->name,
			  "reason", error, "tries_left", (int)start->left);
	return 0;
}

/** While the vault is locked nothing is tried. */
static bool may_run(const struct agent *agent)
{
	json_t *vault = NULL;
	char error[256];
	bool may = agent_keys_state(agent->config.keyd, &vault, error) == 0 &&
		   json_is_true(json_object_get(vault, "may_run"));

	json_decref(vault);
	return may;
}

void agent_policy_autostart(struct agent *agent)
{
	agent->autostart_due = false;
	if (!agent->config.personal && agent->effective.values[POLICY_AUTOSTART].number &&
	    may_run(agent))
		agent_database_guests(agent->database, start_one, agent);
}
