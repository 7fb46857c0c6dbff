/* SPDX-License-Identifier: MIT */
/*
 * Answers requests on the control socket; see control.h.
 */
#include "control.h"
#include "kvm.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static json_t *status(struct machine *machine)
{
	return json_pack("{s:b, s:s, s:s, s:i, s:I, s:b}", "ok", 1, "name", machine->config->name, "state",
			 machine->end != MACHINE_RUNNING ? "ended" : machine->paused ? "paused" : "running",
			 "processors", (int)machine->processor_count, "memory_bytes",
			 (json_int_t)machine->config->memory_bytes, "protected", machine->is_protected);
}

static json_t *statistics(struct machine *machine)
{
	return json_pack("{s:b, s:I}", "ok", 1, "exits_to_monitor", (json_int_t)machine->exits);
}

static json_t *pause_guest(struct machine *machine)
{
	kvm_pause(machine, true);
	return status(machine);
}

static json_t *resume_guest(struct machine *machine)
{
	kvm_pause(machine, false);
	return status(machine);
}

/** Ends the machine as pulling its plug would; a clean end is the guest's own, asked for inside it. */
static json_t *stop_guest(struct machine *machine)
{
	machine_end(machine, MACHINE_STOPPED);
	return json_pack("{s:b}", "ok", 1);
}

static const struct {
	const char *name;
	json_t *(*run)(struct machine *machine);
} commands[] = {
	{ "status", status },	    { "statistics", statistics }, { "pause", pause_guest },
	{ "resume", resume_guest }, { "stop", stop_guest },	  { "kill", stop_guest },
};

void control_request(struct machine *machine, const char *line, char answer[CONTROL_LINE_MAX])
{
	json_t *request = json_loads(line, JSON_REJECT_DUPLICATES, NULL), *reply = NULL;
	const char *name = json_string_value(json_object_get(request, "command"));
	size_t written;

	for (size_t i = 0; name && !reply && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, name))
			reply = commands[i].run(machine);
	if (!reply)
		reply = json_pack("{s:b, s:s}", "ok", 0, "error",
				  name ? "no such command; there are status, statistics, pause, resume, stop, kill" :
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
