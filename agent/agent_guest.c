/*
 * Guests as processes: a server for each disk, and the monitor. Where our own monitor runs the guest, the monitor comes
 * first and has the guest sealed; then keys come out of the vault for it and its disks are served. Any other monitor finds
 * its disks served already.
 */
#include "agent_guest.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent_disks.h"
#include "agent_log.h"
#include "agent_machine.h"
#include "agent_policy.h"
#include "agent_spawn.h"
#include "durable_file.h"
#include "fat_image.h"
#include "handover.h"
#include "identity.h"

#define MONITOR_LOG  "monitor.log"
#define REASON_MAX   201 /* bytes of a line of it that is handed on */
#define STOP_SECONDS 90 /* from asking to killing: a whole Debian ends in that time */
#define SERVER_FLUSH_TRIES 100 /* of 20 ms, that a server has to put its disk in order */

struct agent_running *agent_guest_running(struct agent *agent, const char *name)
{
	for (int i = 0; i < AGENT_GUESTS_MAX; i++)
		if (agent->running[i].monitor > 0 && strcmp(agent->running[i].name, name) == 0)
			return &agent->running[i];
	return NULL;
}

/** Waits until nobody reads the resting disk of a guest that starts: a backup goes on from the
 * running guest. */
static int end_rest(struct agent *agent, const char *guest, char error[AGENT_ERROR_MAX])
{
	while (strcmp(agent->resting, guest) == 0 && !agent->resting_to_be_replaced) {
		__atomic_store_n(&agent->rest_is_over, true, __ATOMIC_RELAXED);
		pthread_cond_wait(&agent->worked, &agent->lock);
	}
	__atomic_store_n(&agent->rest_is_over, false, __ATOMIC_RELAXED);
	if (strcmp(agent->resting, guest) != 0)
		return 0;
	snprintf(error, AGENT_ERROR_MAX, "%s: its disk is being restored; start it then", guest);
	return -EBUSY;
}

/** Path of a file or socket beside the guest's others. Returns 0 or -ENAMETOOLONG. */
static int path_of(const struct agent_running *running, const char *name, char path[AGENT_PATH_MAX])
{
	return snprintf(path, AGENT_PATH_MAX, "%s/%s", running->directory, name) < AGENT_PATH_MAX
		   ? 0
		   : -ENAMETOOLONG;
}

static int start_disk(struct agent *agent, struct agent_running *running, int number,
		      const struct agent_disk *disk, char error[AGENT_ERROR_MAX])
{
	const struct agent_spawn_files keys = {
	    .keys = {disk->key, disk->store[0] ? disk->domain_key : NULL}};
	char target[AGENT_PATH_MAX];
	char log[AGENT_PATH_MAX + 16], control[AGENT_PATH_MAX + 16];
	int result;

	result = path_of(running, disk->kind, target);
	if (result != 0)
		return result;
	snprintf(log, sizeof(log), "%s.log", target);
	snprintf(control, sizeof(control), "%s.control", target);
	unlink(target);
	running->servers[number] = agent_spawn(
	    &agent->config.disk,
	    (const struct agent_value[]){{"kind", disk->kind},
					 {"state", disk->state},
					 {"key", "/proc/self/fd/3"},
					 {"store", disk->store},
					 {"domain_key", disk->store[0] ? "/proc/self/fd/4" : ""},
					 {"version", disk->version},
					 {"feed", disk->feed},
					 {"trace", disk->trace},
					 {"record", disk->record},
					 {"layer", disk->layer},
					 {"size", disk->size},
					 {"socket", target},
					 {"control", control},
					 {NULL, NULL}},
	    log, &keys);
	result = agent_spawn_wait(&running->servers[number], target);
	if (result != 0) {
		snprintf(error, AGENT_ERROR_MAX, "%s: its %s disk cannot be served: %s; see %.130s",
			 running->name, disk->kind,
			 result == -EINVAL  ? "\"disk\" names a %{...} that does not exist"
			 : result == -ESRCH ? "the program ended"
					    : strerror(-result),
			 log);
	}
	return result;
}

static int write_config_disk(struct agent *agent, struct agent_running *running,
			     const unsigned char identity[32], const char *path)
{
	const struct policy_effective *policy = &agent->effective;
	struct identity_request request = {.guest = running->name,
					   .device = agent->enrolled ? agent->memory.device : "own",
					   .user = agent->state ? agent->state->user : "",
					   .host_pattern = policy->values[POLICY_HOST_NAME].text,
					   .cloud_config =
					       policy->values[POLICY_CLOUD_CONFIG].text};
	unsigned char *image = malloc(FAT_IMAGE_BYTES);
	int result = -ENOMEM;

	memcpy(request.key, identity, sizeof(request.key));
	if (image)
		result = identity_write_disk(&request, image);
	if (result == 0)
		result = durable_file_write(path, image, FAT_IMAGE_BYTES, 0600);
	if (image)
		explicit_bzero(image, FAT_IMAGE_BYTES);
	free(image);
	explicit_bzero(&request, sizeof(request));
	return result;
}

/** The configuration disk's file, which only this start's guest is given. */
#define CONFIG_IMAGE "config.img"

/**
 * Starts the monitor. `handover`: its end of a pair of sockets (handover.h); 0: it needs none, or is not ours.
 */
static int start_monitor(struct agent *agent, struct agent_running *running, const char *machine, int handover,
			 char error[AGENT_ERROR_MAX])
{
	char log[AGENT_PATH_MAX + 16], release[24], guest_agent[AGENT_PATH_MAX], system[AGENT_PATH_MAX],
	    user[AGENT_PATH_MAX], config[AGENT_PATH_MAX];
	const struct agent_spawn_files given = {.file = handover};
	const char *network;
	int result;

	if (agent->config.monitor.count == 0) {
		snprintf(error, AGENT_ERROR_MAX,
			 "no \"monitor\" is configured, so no guest can start; see docs/agent.md");
		return -ENOENT;
	}
	result = agent_policy_network(agent, running->name, &network, error);
	if (result == 0)
		result = path_of(running, "system", system);
	if (result == 0)
		result = path_of(running, "user", user);
	if (result == 0)
		result = path_of(running, CONFIG_IMAGE, config);
	if (result == 0)
		result = path_of(running, "guest-agent", guest_agent);
	if (result != 0)
		return result;
	snprintf(log, sizeof(log), "%s/" MONITOR_LOG, running->directory);
	unlink(log); /* of the start before: what it said is in our own log */
	snprintf(release, sizeof(release), "%llu", (unsigned long long)running->release);
	running->monitor = agent_spawn(&agent->config.monitor,
				 (const struct agent_value[]){{"name", running->name},
							      {"release", release},
							      {"system", system},
							      {"user", user},
							      {"config", config},
							      {"directory", running->directory},
							      {"agent", guest_agent},
							      {"network", network},
							      {"machine", machine},
							      {NULL, NULL}},
				 log, &given);
	if (running->monitor >= 0)
		return 0;
	snprintf(error, AGENT_ERROR_MAX, "%s: its monitor cannot start: %s", running->name,
		 running->monitor == -EINVAL ? "\"monitor\" names a %{...} that does not exist"
					     : strerror(-running->monitor));
	return running->monitor;
}

static int may_start(struct agent *agent, const char *name, struct agent_guest_row *guest,
		     char error[AGENT_ERROR_MAX])
{
	int result = agent_database_guest_get(agent->database, name, guest);

	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX,
			 "there is no guest '%.64s' on this PC; see bulkhead guest list", name);
	else if (agent_guest_running(agent, name)) {
		snprintf(error, AGENT_ERROR_MAX, "%s runs already", name);
		result = -EALREADY;
	} else if (!guest->assigned) {
		snprintf(error, AGENT_ERROR_MAX, "%s is not assigned to this PC any more", name);
		result = -EPERM;
	} else if (guest->current == 0 && !agent->config.personal) {
		snprintf(error, AGENT_ERROR_MAX, "%s has not arrived yet; see bulkhead guest list",
			 name);
		result = -EAGAIN;
	} else if (!agent->config.personal &&
		   memory_may_start(&agent->memory, name, guest->current) != 0) {
		snprintf(error, AGENT_ERROR_MAX,
			 "%s: release %llu lies below the company's security floor; connect to get "
			 "a newer one",
			 name, (unsigned long long)guest->current);
		result = -EPERM;
	}
	return result;
}

static struct agent_running *free_place(struct agent *agent)
{
	for (int i = 0; i < AGENT_GUESTS_MAX; i++)
		if (agent->running[i].monitor <= 0)
			return &agent->running[i];
	return NULL;
}

/** Takes the guest's keys out of the vault and serves its disks with them, and its other devices. */
static int serve_devices(struct agent *agent, struct agent_running *running, const struct agent_guest_row *guest,
			 const struct agent_machine *machine, const struct agent_keys_guest *sealed,
			 char error[AGENT_ERROR_MAX])
{
	struct agent_disk disks[2];
	unsigned char identity[32];
	char config[AGENT_PATH_MAX];
	int result = path_of(running, CONFIG_IMAGE, config);

	if (result == 0)
		result = agent_disks_open(agent, guest, sealed, disks, identity, error);
	if (result != 0)
		return result;
	result = write_config_disk(agent, running, identity, config);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX, "%.200s: %s", config, strerror(-result));
	if (result == 0)
		result = start_disk(agent, running, AGENT_SYSTEM_DISK, &disks[0], error);
	if (result == 0)
		result = start_disk(agent, running, AGENT_USER_DISK, &disks[1], error);
	agent_disks_forget(disks, identity);
	if (result == 0 && sealed)
		result = agent_machine_serve(agent, running, machine, config, error);
	return result;
}

/**
 * The last line of the monitor's log: why it ended, if it was not asked to. The monitor may have been taken over: what is
 * no plain character becomes one, or the line it is handed on in would be no JSON.
 */
static void monitors_reason(const struct agent_running *running, char line[REASON_MAX])
{
	char path[AGENT_PATH_MAX], *last;
	unsigned char *text = NULL;
	size_t size = 0;

	if (path_of(running, MONITOR_LOG, path) == 0)
		durable_file_read(path, 1u << 20, &text, &size);
	while (size > 0 && text[size - 1] == '\n')
		text[--size] = '\0';
	last = text ? strrchr((char *)text, '\n') : NULL;
	snprintf(line, REASON_MAX, "%s", last ? last + 1 : text && size > 0 ? (char *)text : "it says not why");
	free(text);
	for (char *at = line; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
}

static int monitor_ended(const struct agent_running *running, char error[AGENT_ERROR_MAX])
{
	char why[REASON_MAX];

	monitors_reason(running, why);
	snprintf(error, AGENT_ERROR_MAX, "%s: its monitor ended before the guest was sealed: %s", running->name, why);
	return -ECHILD;
}

/** Has our monitor seal the guest, then takes out its keys for just that one. */
static int start_sealed(struct agent *agent, struct agent_running *running, const struct agent_guest_row *guest,
			const struct agent_machine *machine, char error[AGENT_ERROR_MAX])
{
	struct agent_keys_guest sealed = {.file = -1, .descriptor = machine->descriptor};
	int ours, theirs, result = handover_make(&ours, &theirs);

	if (result != 0)
		return result;
	result = start_monitor(agent, running, machine->config, theirs, error);
	close(theirs);
	if (result == 0) {
		result = handover_wait(ours, &sealed.file);
		if (result == -ESRCH)
			result = monitor_ended(running, error);
		else if (result != 0)
			snprintf(error, AGENT_ERROR_MAX, "%s: its monitor has not sealed it: %s", running->name,
				 strerror(-result));
	}
	if (result == 0)
		result = serve_devices(agent, running, guest, machine, &sealed, error);
	if (result == 0) {
		result = handover_go_on(ours);
		if (result != 0)
			result = monitor_ended(running, error);
	}
	if (sealed.file >= 0)
		close(sealed.file);
	close(ours);
	return result;
}

/** Takes a place and a directory for the guest. */
static int take_place(struct agent *agent, const struct agent_guest_row *guest, struct agent_running **taken,
		      char error[AGENT_ERROR_MAX])
{
	struct agent_running *running = free_place(agent);
	int result;

	if (!running) {
		snprintf(error, AGENT_ERROR_MAX, "%d guests run already; stop one first",
			 AGENT_GUESTS_MAX);
		return -EMFILE;
	}
	memset(running, 0, sizeof(*running));
	snprintf(running->name, sizeof(running->name), "%s", guest->name);
	running->release = guest->current;
	running->started = (int64_t)time(NULL);
	if (snprintf(running->directory, sizeof(running->directory), "%s.guests/%s",
		     agent->config.control, guest->name) >= (int)sizeof(running->directory))
		return -ENAMETOOLONG;
	result = durable_file_make_directory(running->directory, 0700);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX, "%.200s: %s", running->directory,
			 strerror(-result));
	*taken = running;
	return result;
}

int agent_guest_start(struct agent *agent, const char *name, char error[AGENT_ERROR_MAX])
{
	struct agent_machine machine = {.config = ""};
	struct agent_running *running;
	struct agent_guest_row guest;
	int result;

	agent_guest_switch(agent, name);
	result = may_start(agent, name, &guest, error);
	if (result == 0)
		result = end_rest(agent, name, error);
	if (result == 0)
		result = take_place(agent, &guest, &running, error);
	if (result != 0)
		return result;
	/* A guest that is not the company's leaves keys where they are and costs no start. */
	if (agent->config.machine[0]) {
		result = agent_machine_write(agent, running, &machine, error);
		if (result == 0)
			result = start_sealed(agent, running, &guest, &machine, error);
	} else {
		result = serve_devices(agent, running, &guest, &machine, NULL, error);
		if (result == 0)
			result = start_monitor(agent, running, "", 0, error);
	}
	if (result != 0) {
		for (int i = 0; i < AGENT_SERVERS; i++)
			agent_spawn_kill(&running->servers[i]);
		agent_spawn_kill(&running->monitor);
		return result;
	}
	agent_policy_note_start(agent, name);
	agent_log(AGENT_INFO, "guest.started", "s:s, s:I", "guest", name, "release",
		  (json_int_t)guest.current);
	return 0;
}

int agent_guest_stop(struct agent *agent, const char *name, bool hard)
{
	struct agent_running *running = agent_guest_running(agent, name);

	if (!running)
		return -ENOENT;
	/* A protected guest ends itself when its power button is pressed; any other monitor is told. */
	if (hard || !agent->config.machine[0] || !agent_machine_press_power(running))
		kill(running->monitor, hard ? SIGKILL : SIGTERM);
	if (!running->stopping)
		running->started =
		    (int64_t)time(NULL); /* counts the time it has to end from here on */
	running->stopping = true;
	return 0;
}

void agent_guest_stop_all(struct agent *agent)
{
	for (int i = 0; i < AGENT_GUESTS_MAX; i++)
		if (agent->running[i].monitor > 0)
			agent_guest_stop(agent, agent->running[i].name, true);
	agent_guest_reap(agent);
}

/** How a process ended, as a shell says it. */
static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/** Gives a server its chance to flush. One that had ended before its guest did is why the guest ended. */
static void end_server(struct agent_running *running, int number)
{
	static const char *const names[AGENT_SERVERS] = {"system", "user", "config", "port", "network"};
	pid_t *server = &running->servers[number];
	int status, wait;

	if (*server <= 0)
		return;
	if (waitpid(*server, &status, WNOHANG) == *server) {
		agent_log(AGENT_WARNING, "guest.server_ended", "s:s, s:s, s:i", "guest", running->name, "server",
			  names[number], "status", status_of(status));
		*server = 0;
		return;
	}
	kill(*server, SIGTERM);
	for (wait = 0; wait < SERVER_FLUSH_TRIES; wait++) {
		if (waitpid(*server, NULL, WNOHANG) == *server) {
			*server = 0;
			return;
		}
		usleep(20000);
	}
	agent_log(AGENT_WARNING, "guest.server_killed", "s:s, s:s", "guest", running->name, "server", names[number]);
	agent_spawn_kill(server);
}

/** The monitor ended: its disks' servers get their chance to flush, then the guest is down. */
static void guest_ended(struct agent *agent, struct agent_running *running, int status)
{
	char config[AGENT_PATH_MAX + 16], why[REASON_MAX] = "";

	running->monitor = 0;
	for (int i = 0; i < AGENT_SERVERS; i++)
		end_server(running, i);
	snprintf(config, sizeof(config), "%s/" CONFIG_IMAGE, running->directory);
	unlink(config);
	if (status != 0 && !running->stopping)
		monitors_reason(running, why);
	agent_log(why[0] ? AGENT_WARNING : AGENT_INFO, "guest.ended", "s:s, s:i, s:s*", "guest", running->name, "status",
		  status_of(status), "why", why[0] ? why : NULL);
	if (agent->effective.values[POLICY_PERSISTENCE].number == 1 && !agent->config.personal)
		agent_disks_discard_overlay(agent, running->name, running->release);
	agent_guest_switch(agent, running->name);
	agent_kick(agent);
}

void agent_guest_reap(struct agent *agent)
{
	int64_t now = (int64_t)time(NULL);

	for (int i = 0; i < AGENT_GUESTS_MAX; i++) {
		struct agent_running *running = &agent->running[i];
		int status;

		if (running->monitor <= 0)
			continue;
		if (waitpid(running->monitor, &status, WNOHANG) == running->monitor)
			guest_ended(agent, running, status);
		else if (running->stopping && now - running->started > STOP_SECONDS)
			kill(running->monitor, SIGKILL);
	}
}

/**
 * Whether a guest changes over to what is wanted. A release that can start is enough where there is
 * none that could instead, or where policy wants the new one at once; otherwise the old one, which
 * needs no line to the server, serves until the new one is complete.
 */
static bool may_switch(const struct agent *agent, const struct agent_guest_row *guest)
{
	bool at_once = agent->effective.values[POLICY_UPDATE_MODE].number == 2;

	if (guest->wanted == 0 || guest->wanted == guest->current ||
	    (guest->held_back && guest->held_release == guest->wanted) ||
	    !agent_disks_ready(agent, guest->name, guest->wanted, NULL))
		return false;
	return agent_disks_complete(agent, guest->name, guest->wanted) || at_once ||
	       !agent_disks_complete(agent, guest->name, guest->current);
}

int agent_guest_switch(struct agent *agent, const char *name)
{
	struct agent_guest_row guest;

	if (agent->config.personal || agent_guest_running(agent, name) ||
	    agent_database_guest_get(agent->database, name, &guest) != 0 || !may_switch(agent, &guest))
		return 0;
	agent_log(AGENT_INFO, "guest.switched", "s:s, s:I, s:I", "guest", name, "from",
		  (json_int_t)guest.current, "to", (json_int_t)guest.wanted);
	guest.previous = guest.current;
	guest.current = guest.wanted;
	guest.held_back = false;
	guest.switched = agent_now(agent);
	return agent_database_guest_put(agent->database, &guest);
}

int agent_guest_revert(struct agent *agent, const char *name, char error[AGENT_ERROR_MAX])
{
	struct agent_guest_row guest;

	if (agent_database_guest_get(agent->database, name, &guest) != 0) {
		snprintf(error, AGENT_ERROR_MAX, "there is no guest '%.64s' on this PC", name);
		return -ENOENT;
	}
	if (guest.previous == 0 || !agent_disks_ready(agent, name, guest.previous, NULL)) {
		snprintf(error, AGENT_ERROR_MAX, "%s: no earlier release is kept on this PC", name);
		return -ENOENT;
	}
	if (memory_may_start(&agent->memory, name, guest.previous) != 0) {
		snprintf(error, AGENT_ERROR_MAX,
			 "%s: release %llu lies below the company's security floor", name,
			 (unsigned long long)guest.previous);
		return -EPERM;
	}
	agent_log(AGENT_INFO, "guest.reverted", "s:s, s:I, s:I", "guest", name, "from",
		  (json_int_t)guest.current, "to", (json_int_t)guest.previous);
	/* One row, one statement: either release is whole, and the one given up is not taken again
	 * by itself. */
	guest.held_back = true;
	guest.held_release = guest.current;
	guest.current = guest.previous;
	guest.previous = guest.held_release;
	guest.switched = agent_now(agent);
	return agent_database_guest_put(agent->database, &guest);
}
