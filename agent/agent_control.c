/* The socket of the command: see agent_control.h. */
#include "agent_control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "agent_backup.h"
#include "agent_disks.h"
#include "agent_enrol.h"
#include "agent_guest.h"
#include "agent_keys.h"
#include "agent_log.h"
#include "agent_personal.h"
#include "agent_sync.h"
#include "agent_work.h"
#include "appliances.h"
#include "arrival.h"
#include "durable_file.h"
#include "trust/strict_json.h"

struct request {
	struct agent *agent;
	int connection;
	int file; /* descriptor that came with the request, -1: none */
	const json_t *body;
	json_t *result;
	char error[AGENT_ERROR_MAX];
};

static int send_line(int connection, json_t *line)
{
	char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
	int result = -ENOMEM;

	if (text) {
		size_t size = strlen(text);

		text[size] = '\n'; /* in place of the terminator: the length is known */
		result = send(connection, text, size + 1, MSG_NOSIGNAL) == (ssize_t)(size + 1)
			     ? 0
			     : -EPIPE;
	}
	free(text);
	json_decref(line);
	return result;
}

static void say(void *context, const char *line)
{
	struct request *request = context;

	send_line(request->connection, json_pack("{s:s}", "progress", line));
}

static const char *text_of(const struct request *request, const char *key)
{
	return json_string_value(json_object_get(request->body, key));
}

static int wrong(struct request *request, int result, const char *text)
{
	snprintf(request->error, sizeof(request->error), "%s", text);
	return result;
}

static int guest_of(struct request *request, const char **guest)
{
	*guest = text_of(request, "guest");
	return *guest && strict_json_is_name(*guest) ? 0 : wrong(request, -EINVAL, "there is no guest of such a name");
}

/* ---- the table's functions ---- */

static int serve_status(struct request *request)
{
	struct agent *agent = request->agent;
	json_t *vault = NULL;
	char error[256];

	if (agent_keys_state(agent->config.keyd, &vault, error) != 0)
		vault = json_pack("{s:s}", "error", error);
	pthread_mutex_lock(&agent->lock);
	request->result =
	    json_pack("{s:b, s:b, s:s, s:s, s:I, s:s, s:o}", "personal", agent->config.personal,
		      "enrolled", agent->enrolled, "server", agent->server, "device",
		      agent->memory.device, "last_contact", (json_int_t)agent->last_contact,
		      "trouble", agent->trouble, "vault", vault);
	if (!agent->config.personal)
		json_object_set_new(request->result, "policy", policy_view(&agent->effective));
	if (agent->state)
		json_object_set_new(request->result, "status",
				    json_string(state_status_name(agent->state->status)));
	pthread_mutex_unlock(&agent->lock);
	return request->result ? 0 : -ENOMEM;
}

static int list_guest(void *context, const struct agent_guest_row *row)
{
	struct request *request = context;
	struct agent *agent = request->agent;
	struct arrival_progress progress;
	struct arrival *arrival;
	struct agent_disk_row disk;
	json_t *entry;
	bool runs;

	pthread_mutex_lock(&agent->lock);
	runs = agent_guest_running(agent, row->name) != NULL;
	entry =
	    json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "name", row->name, "state",
		      runs					     ? "running"
		      : !row->assigned				     ? "unassigned"
		      : row->current == 0 && !agent->config.personal ? "arriving"
								     : "stopped",
		      "release", (json_int_t)row->current, "previous", (json_int_t)row->previous,
		      "wanted", (json_int_t)row->wanted, "held_back", row->held_back);
	arrival = arrival_find(agent, row->name, 0);
	if (arrival) {
		arrival_progress(arrival, &progress);
		json_object_set_new(entry, "arriving_bytes",
				    json_integer((json_int_t)progress.done_bytes));
		json_object_set_new(entry, "total_bytes",
				    json_integer((json_int_t)progress.total_bytes));
		if (progress.error[0] || progress.waits_for_window)
			json_object_set_new(entry, "waits_for",
					    json_string(progress.waits_for_window
							    ? "the hours of transfers by policy"
							    : progress.error));
	} else if (strcmp(agent->progress.guest, row->name) == 0 &&
		   agent->progress.total_bytes > 0) {
		json_object_set_new(entry, "arriving_bytes",
				    json_integer((json_int_t)agent->progress.done_bytes));
		json_object_set_new(entry, "total_bytes",
				    json_integer((json_int_t)agent->progress.total_bytes));
	}
	pthread_mutex_unlock(&agent->lock);
	if (agent_database_disk_get(agent->database, row->name, &disk) == 0 &&
	    disk.last_backup > 0) {
		json_object_set_new(entry, "last_backup", json_integer(disk.last_backup));
		json_object_set_new(entry, "backup_label", json_string(disk.label));
	}
	return json_array_append_new(request->result, entry);
}

static int serve_list(struct request *request)
{
	request->result = json_array();
	return agent_database_guests(request->agent->database, list_guest, request);
}

static int serve_start(struct request *request)
{
	const char *guest;
	int result = guest_of(request, &guest);

	if (result != 0)
		return result;
	pthread_mutex_lock(&request->agent->lock);
	result = agent_guest_start(request->agent, guest, request->error);
	pthread_mutex_unlock(&request->agent->lock);
	return result;
}

static int serve_stop(struct request *request)
{
	const char *guest;
	int result = guest_of(request, &guest);

	if (result != 0)
		return result;
	pthread_mutex_lock(&request->agent->lock);
	result = agent_guest_stop(request->agent, guest,
				  json_is_true(json_object_get(request->body, "hard")));
	pthread_mutex_unlock(&request->agent->lock);
	return result == 0 ? 0 : wrong(request, result, "this guest does not run");
}

static int serve_revert(struct request *request)
{
	struct agent *agent = request->agent;
	const char *guest;
	int result = guest_of(request, &guest);

	if (result != 0)
		return result;
	pthread_mutex_lock(&agent->lock);
	if (!agent->effective.values[POLICY_ROLLBACK].number)
		result =
		    wrong(request, -EPERM,
			  "the company's policy does not let users go back; ask its help desk");
	else
		result = agent_guest_revert(agent, guest, request->error);
	pthread_mutex_unlock(&agent->lock);
	return result;
}

static int take_error(struct request *request, int result)
{
	if (result != 0)
		snprintf(request->error, sizeof(request->error), "%s", request->agent->error);
	return result;
}

static int work_sync(struct request *request)
{
	return take_error(request, agent_sync_once(request->agent));
}

static int work_enrol(struct request *request)
{
	const char *token = text_of(request, "token"), *name = text_of(request, "name");

	if (!token || !name)
		return wrong(request, -EINVAL, "enrolment needs a token and a name");
	return take_error(request, agent_enrol(request->agent, token, name, say, request));
}

static int work_backup(struct request *request)
{
	const char *guest;
	int result = guest_of(request, &guest);

	if (result != 0)
		return result;
	say(request, "Backing up");
	return take_error(request, agent_backup_run(request->agent, guest));
}

static int work_catalogue(struct request *request)
{
	if (request->agent->config.personal)
		return wrong(request, -EPERM, "your own agent has no company that offers anything");
	return take_error(request, appliances_list(request->agent, &request->result));
}

static int work_take(struct request *request)
{
	const char *guest;
	int result = guest_of(request, &guest);

	if (result != 0)
		return result;
	if (request->agent->config.personal)
		return wrong(request, -EPERM, "your own agent has no company that offers anything");
	return take_error(request,
			  appliances_take(request->agent, guest,
					  !json_is_true(json_object_get(request->body, "back"))));
}

static int work_remove_version(struct request *request)
{
	const json_t *release = json_object_get(request->body, "release");
	const char *guest;
	int result = guest_of(request, &guest);

	if (result != 0)
		return result;
	if (request->agent->config.personal)
		return wrong(request, -EPERM, "a guest of your own has no versions");
	return agent_disks_remove_release(request->agent, guest,
					  (uint64_t)json_integer_value(release), request->error);
}

static int work_restore(struct request *request)
{
	struct agent_restore restore = {
	    .disk = text_of(request, "disk"),
	    .number = (uint64_t)json_integer_value(json_object_get(request->body, "number")),
	    .phrase = text_of(request, "phrase"),
	    .is_copy = json_is_true(json_object_get(request->body, "copy")),
	    .path = text_of(request, "path"),
	    .file = request->file};
	int result = guest_of(request, &restore.guest);

	if (result != 0)
		return result;
	if ((restore.is_copy || restore.path) != (restore.file >= 0))
		return wrong(request, -EINVAL, "a copy needs a file to write it to, and nothing else does");
	say(request, "Restoring");
	return take_error(request, agent_backup_restore(request->agent, &restore));
}

static int work_copies(struct request *request)
{
	const char *guest;
	int result = guest_of(request, &guest);

	if (result != 0)
		return result;
	return take_error(
	    request, agent_backup_send_copies(request->agent, guest, text_of(request, "phrase")));
}

static int work_personal(struct request *request)
{
	return agent_personal_serve(request->agent, request->body, request->file, say, request, &request->result,
				    request->error);
}

static const struct {
	const char *name;
	enum agent_thread thread; /* AGENT_THREADS: the connection's own */
	int (*serve)(struct request *request);
} requests[] = {
    {"status", AGENT_THREADS, serve_status},	{"list", AGENT_THREADS, serve_list},
    {"start", AGENT_LISTENING, serve_start},	{"stop", AGENT_LISTENING, serve_stop},
    {"revert", AGENT_THREADS, serve_revert},	{"sync", AGENT_WORKING, work_sync},
    {"enrol", AGENT_WORKING, work_enrol},	{"backup", AGENT_WORKING, work_backup},
    {"restore", AGENT_WORKING, work_restore},	{"copies", AGENT_WORKING, work_copies},
    {"personal", AGENT_WORKING, work_personal}, {"remove-version", AGENT_WORKING, work_remove_version},
    {"catalogue", AGENT_WORKING, work_catalogue}, {"take", AGENT_WORKING, work_take},
};

static int do_work(void *context)
{
	struct request *request = context;
	const char *name = text_of(request, "call");

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		if (strcmp(requests[i].name, name) == 0)
			return requests[i].serve(request);
	return -ENOSYS;
}

static int dispatch(struct request *request)
{
	const char *name = text_of(request, "call");

	for (size_t i = 0; name && i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (strcmp(requests[i].name, name) != 0)
			continue;
		if (requests[i].thread == AGENT_THREADS)
			return do_work(request);
		return agent_work_do(request->agent, requests[i].thread, do_work, request);
	}
	return wrong(request, -ENOSYS,
		     "this agent knows no such request; the command is newer than the agent");
}

int agent_control_listen(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char directory[AGENT_PATH_MAX], *slash;
	int file, result;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	memcpy(directory, path, strlen(path) + 1);
	slash = strrchr(directory, '/');
	if (!slash)
		return -EINVAL;
	*slash = '\0';
	result = *directory ? durable_file_make_directory(directory, 0755) : 0;
	if (result != 0)
		return result;
	unlink(path);
	file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (file < 0 || bind(file, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    chmod(path, 0660) != 0 || listen(file, 16) != 0) {
		result = -errno;
		if (file >= 0)
			close(file);
		return result;
	}
	return file;
}

/** Takes bytes, and the one descriptor that may come with them. */
static ssize_t receive(int connection, char *bytes, size_t size, int *file)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {bytes, size};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.room,
				 .msg_controllen = sizeof(control.room)};
	ssize_t got = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *head = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
	    head->cmsg_len == CMSG_LEN(sizeof(int))) {
		if (*file >= 0)
			close(*file);
		memcpy(file, CMSG_DATA(head), sizeof(int));
	}
	return got;
}

/** Reads up to the first new line. Returns the length or -1. */
static ssize_t read_line(int connection, char *line, size_t capacity, int *file)
{
	size_t have = 0;

	while (have < capacity) {
		ssize_t got = receive(connection, line + have, capacity - have, file);
		char *end;

		if (got <= 0)
			return -1;
		end = memchr(line + have, '\n', (size_t)got);
		have += (size_t)got;
		if (end)
			return end - line;
	}
	return -1;
}

void agent_control_serve(struct agent *agent, int connection)
{
	struct request request = {.agent = agent, .connection = connection, .file = -1};
	const struct timeval patience = {.tv_sec = 10};
	char *line = malloc(AGENT_REQUEST_MAX_BYTES);
	json_t *body = NULL;
	ssize_t size = -1;
	int result = -EBADMSG;

	setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (line)
		size = read_line(connection, line, AGENT_REQUEST_MAX_BYTES, &request.file);
	if (size >= 0 &&
	    strict_json_parse(line, (size_t)size, AGENT_REQUEST_MAX_BYTES, &body) == 0) {
		request.body = body;
		result = dispatch(&request);
	} else if (size >= 0) {
		wrong(&request, result, "this is no request");
	}
	/* Before the answer: whoever has it may want to unmount at once what the file lies on. */
	if (request.file >= 0)
		close(request.file);
	if (size >= 0 && result == 0)
		send_line(connection, json_pack("{s:o}", "result",
						request.result ? request.result : json_object()));
	else if (size >= 0) {
		json_decref(request.result);
		send_line(connection,
			  json_pack("{s:s, s:i}", "error",
				    request.error[0] ? request.error : strerror(-result), "errno",
				    -result));
	}
	if (line)
		explicit_bzero(line, AGENT_REQUEST_MAX_BYTES); /* may hold a token or a phrase */
	free(line);
	json_decref(body);
	close(connection);
}
