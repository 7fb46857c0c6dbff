/*
 * The working thread. A round asks for documents, lease and commands, brings guests to what the
 * state wants, backs up, reports. Whatever fails is said once, shown by `bulkhead guest list`, and
 * tried again at the next round; a failure in one part does not keep the others from their turn.
 * Between rounds the vault is asked every minute whether keys may still be out: offline, that is
 * what locks.
 */
#include "agent_sync.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>

#include "agent_backup.h"
#include "agent_call.h"
#include "agent_commands.h"
#include "agent_disks.h"
#include "agent_documents.h"
#include "agent_enrol.h"
#include "agent_guest.h"
#include "agent_keys.h"
#include "agent_log.h"
#include "agent_policy.h"
#include "agent_work.h"
#include "arrival.h"
#include "boot_trace.h"
#include "trust/strict_json.h"

#define VAULT_CHECK_SECONDS 60

/** Ends a transfer when the agent stops. */
static int tick(void *context)
{
	struct agent *agent = context;

	return agent->stopping;
}

static int open_http(struct agent *agent)
{
	if (agent->http)
		return 0;
	agent->http = agent_http_to_server(agent);
	if (!agent->http)
		return -ENOMEM;
	agent_http_set_tick(agent->http, tick, agent);
	return 0;
}

/** Writes down what the state wants of one guest; the row is the guest's existence on this PC. */
static int want_guest(struct agent *agent, const struct state_guest *wanted)
{
	struct agent_guest_row row;
	int result = agent_database_guest_get(agent->database, wanted->image, &row);

	if (result == -ENOENT) {
		memset(&row, 0, sizeof(row));
		snprintf(row.name, sizeof(row.name), "%s", wanted->image);
	} else if (result != 0) {
		return result;
	}
	if (row.assigned && row.wanted == wanted->release)
		return 0;
	row.assigned = true;
	row.wanted = wanted->release;
	return agent_database_guest_put(agent->database, &row);
}

static int unassign_if_gone(void *context, const struct agent_guest_row *row)
{
	struct agent *agent = context;
	struct agent_guest_row changed = *row;

	for (size_t i = 0; i < agent->state->guest_count; i++)
		if (strcmp(agent->state->guests[i].image, row->name) == 0)
			return 0;
	if (!row->assigned)
		return 0;
	agent_log(AGENT_INFO, "guest.unassigned", "s:s", "guest", row->name);
	changed.assigned = false;
	return agent_database_guest_put(agent->database, &changed);
}

static int install(struct agent *agent, const struct state_guest *wanted)
{
	struct catalogue *catalogue = malloc(sizeof(*catalogue));
	const struct catalogue_release *release;
	int result = catalogue ? agent_documents_catalogue(agent, wanted->image, wanted->catalogue,
							   catalogue)
			       : -ENOMEM;

	if (result == 0 && wanted->release > 0 &&
	    !(agent_disks_complete(agent, wanted->image, wanted->release) &&
	      agent_disks_ready(agent, wanted->image, wanted->release, NULL))) {
		result = memory_may_install(&agent->memory, agent->state, catalogue,
					    wanted->release, (int64_t)time(NULL));
		release = catalogue_find(catalogue, wanted->release);
		if (result != 0 || !release)
			result = agent_fail(agent, result ? result : -ENOENT,
					    "%s: release %llu is not installed: %s", wanted->image,
					    (unsigned long long)wanted->release,
					    memory_reason(result ? result : -ENOENT));
		else
			result = agent_disks_install(agent, wanted->image, release);
	}
	free(catalogue);
	return result;
}

static void stop_for_update(struct agent *agent, const char *name)
{
	struct agent_guest_row row;
	struct agent_running *running = agent_guest_running(agent, name);

	/* "now": a running guest is asked to end, and the new release starts at its next start. */
	if (running && agent->effective.values[POLICY_UPDATE_MODE].number == 2 &&
	    agent_database_guest_get(agent->database, name, &row) == 0 &&
	    row.wanted != running->release && !row.held_back &&
	    agent_disks_ready(agent, name, row.wanted, NULL)) {
		agent_guest_stop(agent, name, false);
		agent_policy_start_again(agent, name);
	}
}

/** A release that a guest runs, or would, goes on arriving whether or not the server answers. */
static int resume_one(void *context, const struct agent_guest_row *row)
{
	struct agent *agent = context;

	if (row->assigned && row->current > 0 &&
	    agent_disks_resume(agent, row->name, row->current) != 0)
		agent_log(AGENT_WARNING, "arrival.failed", "s:s, s:s", "guest", row->name, "reason",
			  agent->error);
	return 0;
}

static void resume(struct agent *agent)
{
	if (!agent->config.personal)
		agent_database_guests(agent->database, resume_one, agent);
}

static int reconcile(struct agent *agent)
{
	int result = 0;

	pace_set(&agent->pace, agent_bandwidth(agent));
	resume(agent);

	for (size_t i = 0; i < agent->state->guest_count; i++) {
		const struct state_guest *wanted = &agent->state->guests[i];
		int one = want_guest(agent, wanted);

		if (one == 0)
			one = install(agent, wanted);
		pthread_mutex_lock(&agent->lock);
		agent_guest_switch(agent, wanted->image);
		stop_for_update(agent, wanted->image);
		pthread_mutex_unlock(&agent->lock);
		if (one != 0)
			agent_log(AGENT_WARNING, "install.failed", "s:s, s:s", "guest",
				  wanted->image, "reason", agent->error);
		if (result == 0)
			result = one;
	}
	if (agent_database_guests(agent->database, unassign_if_gone, agent) != 0)
		result = -EIO;
	agent_disks_settle(agent);
	return result;
}

/** What is no longer offered for going back is removed, once its time by policy is over. */
static int remove_old(void *context, const struct agent_guest_row *row)
{
	struct agent *agent = context;
	struct agent_guest_row changed = *row;
	int64_t keep = agent->effective.values[POLICY_PREVIOUS_HOURS].number * 3600;

	if (row->previous == 0 || row->held_back || agent_now(agent) - row->switched < keep)
		return 0;
	changed.previous = 0;
	if (agent_database_guest_put(agent->database, &changed) == 0 &&
	    agent_disks_remove(agent, row->name, row->previous) != 0)
		agent_log(AGENT_WARNING, "release.kept", "s:s, s:s", "guest", row->name, "reason",
			  agent->error);
	return 0;
}

static int send_trace(void *context, const struct agent_guest_row *row)
{
	if (row->current > 0)
		boot_trace_send(context, row);
	return 0;
}

struct report {
	struct agent *agent;
	json_t *guests;
};

static int describe_guest(void *context, const struct agent_guest_row *row)
{
	struct report *report = context;
	struct agent *agent = report->agent;
	const char *state;

	pthread_mutex_lock(&agent->lock);
	state = agent_guest_running(agent, row->name) ? "running"
		: !row->assigned		      ? "removed"
		: row->current == 0		      ? "arriving"
						      : "stopped";
	pthread_mutex_unlock(&agent->lock);
	return json_array_append_new(
	    report->guests, json_pack("{s:s, s:I, s:s, s:s}", "image", row->name, "release",
				      (json_int_t)row->current, "state", state, "detail",
				      row->held_back		    ? "held back"
				      : row->wanted != row->current ? "update waits"
								    : ""));
}

static void copy_numbers(const json_t *lease, json_t *to)
{
	static const char *const from_names[] = {"serial", "powered_seconds_left", "starts_left"};
	static const char *const to_names[] = {"serial", "powered_seconds", "starts"};

	for (int i = 0; i < 3; i++)
		json_object_set_new(
		    to, to_names[i],
		    json_integer(json_integer_value(json_object_get(lease, from_names[i]))));
}

/** Says how this PC is: of the company's guests and of nothing else. */
static int send_report(struct agent *agent)
{
	struct report report = {agent, json_array()};
	json_t *body, *vault = NULL, *lease = json_object();
	char error[256];

	agent_database_guests(agent->database, describe_guest, &report);
	body = json_pack("{s:s, s:o, s:I, s:I, s:I, s:I}", "agent", AGENT_VERSION, "guests",
			 report.guests, "roles", (json_int_t)agent->memory.roles.version, "policy",
			 (json_int_t)agent->memory.policy, "quota_bytes",
			 (json_int_t)agent_policy_quota(agent), "used_bytes",
			 (json_int_t)agent_disks_used(agent));
	if (agent_keys_state(agent->config.keyd, &vault, error) == 0) {
		json_object_set(body, "enforcement", json_object_get(vault, "enforcement"));
		if (json_object_get(vault, "lease"))
			copy_numbers(json_object_get(vault, "lease"), lease);
		json_object_set(body, "lease", lease);
	}
	if (agent->trouble[0])
		json_object_set_new(body, "detail", json_string(agent->trouble));
	json_decref(lease);
	json_decref(vault);
	return agent_send_json(agent, "POST", "/api/v1/device/report", body, 65536, NULL);
}

/** Ends running guests when the vault says that keys may not be out any more. */
static void enforce(struct agent *agent)
{
	json_t *vault = NULL;
	char error[256];
	bool open;

	if (agent->config.personal || agent_keys_state(agent->config.keyd, &vault, error) != 0)
		return;
	open = json_is_true(json_object_get(vault, "may_run"));
	if (!open) {
		pthread_mutex_lock(&agent->lock);
		for (int i = 0; i < AGENT_GUESTS_MAX; i++)
			if (agent->running[i].monitor > 0)
				agent_log(AGENT_WARNING, "locked", "s:s, s:s", "guest",
					  agent->running[i].name, "reason",
					  json_string_value(json_object_get(vault, "reason")));
		agent_guest_stop_all(agent);
		pthread_mutex_unlock(&agent->lock);
	}
	json_decref(vault);
}

static int play_round(struct agent *agent)
{
	bool restricted;
	int result = open_http(agent), one;

	if (result != 0)
		return result;
	agent->orders_first = false;
	agent->last_look = (int64_t)time(NULL);
	pace_set(&agent->pace, agent_bandwidth(agent));
	result = agent_documents_refresh(agent);
	enforce(agent);
	if (!agent->state || (result != 0 && result != -ESTALE && result != -EKEYREJECTED))
		return result;
	restricted = agent->state->status == STATE_LOST || agent->state->status == STATE_REVOKED;
	one = agent_commands_run(agent);
	result = result ? result : one;
	if (restricted) {
		arrival_close_all(agent);
		return result;
	}
	one = agent_documents_lease(agent);
	result = result ? result : one;
	one = agent_enrol_renew(agent);
	result = result ? result : one;
	one = reconcile(agent);
	result = result ? result : one;
	agent_database_guests(agent->database, remove_old, agent);
	agent_database_guests(agent->database, send_trace, agent);
	one = agent_backup_run(agent, NULL);
	result = result ? result : one;
	one = send_report(agent);
	return result ? result : one;
}

static void note_result(struct agent *agent, int result)
{
	bool told = false;

	pthread_mutex_lock(&agent->lock);
	if (result == 0) {
		told = agent->trouble[0] != '\0';
		agent->trouble[0] = '\0';
		agent->last_contact = (int64_t)time(NULL);
	} else if (strcmp(agent->trouble, agent->error) != 0) {
		snprintf(agent->trouble, sizeof(agent->trouble), "%s", agent->error);
		agent_log(AGENT_WARNING, "sync.failed", "s:s", "reason", agent->error);
	}
	pthread_mutex_unlock(&agent->lock);
	if (told)
		agent_log(AGENT_INFO, "sync.recovered", NULL);
}

int agent_sync_between(struct agent *agent)
{
	int64_t now = (int64_t)time(NULL);
	uint64_t command;

	if (agent->stopping || agent->orders_first)
		return -ECANCELED;
	if (!agent->enrolled || now < agent->last_look + (int64_t)agent->config.poll_seconds || !agent->state)
		return 0;
	agent->last_look = now;
	command = agent->state->command;
	/* A server that does not answer changes nothing: guests run by the lease, and the work notices by itself. */
	if (open_http(agent) == 0 && agent_documents_refresh(agent) == 0 && agent->state->status == STATE_ACTIVE)
		agent_documents_lease(agent);
	enforce(agent);
	if (agent->state->status == STATE_ACTIVE && agent->state->command == command)
		return 0;
	pthread_mutex_lock(&agent->lock);
	agent->orders_first = true;
	agent_kick(agent);
	pthread_mutex_unlock(&agent->lock);
	return agent_fail(agent, -ECANCELED, "the company has an order for this PC, which comes first; what has been done is kept");
}

/** The time of the next round: the interval and up to a tenth more, so that PCs do not come in
 * step. */
static int64_t next_round(const struct agent *agent)
{
	unsigned int failures = agent->failed_rounds;
	uint64_t interval = agent->config.poll_seconds, spread = interval / 10 + 1, random = 0;

	/* After a failure sooner, then ever less often, never less than the interval says. */
	if (failures > 0 && failures < 16 && (5ull << failures) < interval)
		interval = 5ull << failures;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = 0;
	return (int64_t)time(NULL) + (int64_t)(interval + random % spread);
}

int agent_sync_once(struct agent *agent)
{
	int result;

	if (!agent->enrolled)
		return agent_fail(agent, -ENOTCONN, "%s", agent->config.personal ? "your own guests have no server"
										 : "this PC is not enrolled");
	result = play_round(agent);
	note_result(agent, result);
	agent->failed_rounds = result == 0 ? 0 : agent->failed_rounds + 1;
	agent->next_round = next_round(agent);
	pthread_mutex_lock(&agent->lock);
	agent->autostart_due = true;
	pthread_mutex_unlock(&agent->lock);
	eventfd_write(agent->listening_wake, 1);
	return result;
}

void *agent_sync_run(void *context)
{
	struct agent *agent = context;

	if (agent->enrolled)
		resume(agent);
	pthread_mutex_lock(&agent->lock);
	while (!agent->stopping) {
		struct timespec until = {.tv_sec = time(NULL) + VAULT_CHECK_SECONDS};
		bool due = agent->enrolled && (agent->kicked || time(NULL) >= agent->next_round);

		if (agent->work[AGENT_WORKING]) {
			pthread_mutex_unlock(&agent->lock);
			agent_work_run_one(agent, AGENT_WORKING);
			pthread_mutex_lock(&agent->lock);
			continue;
		}
		if (due) {
			agent->kicked = false;
			pthread_mutex_unlock(&agent->lock);
			agent_sync_once(agent);
			pthread_mutex_lock(&agent->lock);
			continue;
		}
		if (agent->enrolled && agent->next_round < until.tv_sec)
			until.tv_sec = agent->next_round;
		pthread_cond_timedwait(&agent->wake, &agent->lock, &until);
		if (agent->enrolled && !agent->stopping && !agent->kicked &&
		    !agent->work[AGENT_WORKING]) {
			pthread_mutex_unlock(&agent->lock);
			enforce(agent);
			pthread_mutex_lock(&agent->lock);
		}
	}
	pthread_mutex_unlock(&agent->lock);
	arrival_close_all(agent);
	agent_work_cancel(agent);
	return NULL;
}
