/* SPDX-License-Identifier: MIT */
/*
 * Answers requests on the control socket; see control.h.
 */
#include "control.h"
#include "balloon.h"
#include "kvm.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define NUMBER_MAX (1ll << 53) /* what JSON's numbers carry exactly */

static json_t *status(struct machine *machine, const json_t *request)
{
	(void)request;
	return json_pack("{s:b, s:s, s:s, s:i, s:I, s:b}", "ok", 1, "name", machine->config->name, "state",
			 machine->end != MACHINE_RUNNING ? "ended" : machine->paused ? "paused" : "running",
			 "processors", (int)machine->processor_count, "memory_bytes",
			 (json_int_t)machine->config->memory_bytes, "protected", machine->is_protected);
}

static json_t *statistics(struct machine *machine, const json_t *request)
{
	(void)request;
	return json_pack("{s:b, s:I}", "ok", 1, "exits_to_monitor", (json_int_t)machine->exits);
}

static json_t *pause_guest(struct machine *machine, const json_t *request)
{
	kvm_pause(machine, true);
	return status(machine, request);
}

static json_t *resume_guest(struct machine *machine, const json_t *request)
{
	pthread_mutex_lock(&machine->lock);
	watchdog_forgive(&machine->watchdog, machine_now());
	pthread_mutex_unlock(&machine->lock);
	kvm_pause(machine, false);
	return status(machine, request);
}

/** Presses the power button: a guest that listens to it ends by itself. */
static json_t *stop_guest(struct machine *machine, const json_t *request)
{
	(void)request;
	pthread_mutex_lock(&machine->lock);
	machine_press_power(machine);
	pthread_mutex_unlock(&machine->lock);
	return json_pack("{s:b}", "ok", 1);
}

/** Ends the machine as pulling its plug would. */
static json_t *kill_guest(struct machine *machine, const json_t *request)
{
	(void)request;
	machine_end(machine, MACHINE_STOPPED);
	return json_pack("{s:b}", "ok", 1);
}

/** Asks the guest to do without "bytes" of its memory. */
static json_t *set_balloon(struct machine *machine, const json_t *request)
{
	const json_t *bytes = json_object_get(request, "bytes");
	long long wanted = json_is_integer(bytes) ? json_integer_value(bytes) : -1;
	int error;

	if (wanted < 0 || wanted > NUMBER_MAX)
		return json_pack("{s:b, s:s}", "ok", 0, "error", "balloon takes \"bytes\", a number from 0 on");
	if (!machine->config->balloon)
		return json_pack("{s:b, s:s}", "ok", 0, "error",
				 "the guest has no balloon; add \"balloon = yes\" to its configuration");
	error = balloon_ask(machine, (uint64_t)wanted);
	if (error)
		return json_pack("{s:b, s:s}", "ok", 0, "error", strerror(-error));
	return json_pack("{s:b}", "ok", 1);
}

static const struct {
	const char *name;
	json_t *(*run)(struct machine *machine, const json_t *request);
} commands[] = {
	{ "status", status },	    { "statistics", statistics }, { "pause", pause_guest },
	{ "resume", resume_guest }, { "stop", stop_guest },	  { "kill", kill_guest },
	{ "balloon", set_balloon },
};

void control_prepare(void)
{
	json_object_seed(0);
}

void control_request(struct machine *machine, const char *line, char answer[CONTROL_LINE_MAX])
{
	json_t *request = json_loads(line, JSON_REJECT_DUPLICATES, NULL), *reply = NULL;
	const char *name = json_string_value(json_object_get(request, "command"));
	size_t written;

	for (size_t i = 0; name && !reply && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, name))
			reply = commands[i].run(machine, request);
	if (!reply)
		reply = json_pack("{s:b, s:s}", "ok", 0, "error",
				  name ? "no such command; there are status, statistics, pause, resume, stop, kill, balloon" :
					 "a request is a JSON object with \"command\"");
	written = json_dumpb(reply, answer, CONTROL_LINE_MAX - 2, JSON_COMPACT);
	if (written > CONTROL_LINE_MAX - 2)
		written = (size_t)snprintf(answer, CONTROL_LINE_MAX - 2, "{\"ok\":false,\"error\":\"too long\"}");
	answer[written] = '\n';
	answer[written + 1] = 0;
	json_decref(reply);
	json_decref(request);
}

bool control_serve(struct machine *machine, int fd)
{
	char line[CONTROL_LINE_MAX], answer[CONTROL_LINE_MAX];
	ssize_t got = recv(fd, line, sizeof(line) - 1, 0);

	if (got <= 0)
		return false;
	line[got] = 0;
	if (!strchr(line, '\n'))
		return false; /* a request is one short line, sent at once */
	*strchr(line, '\n') = 0;
	control_request(machine, line, answer);
	return send(fd, answer, strlen(answer), MSG_NOSIGNAL) > 0;
}
