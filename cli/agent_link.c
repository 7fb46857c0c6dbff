/*
 * Talking to the agent of this PC: see agent_link.h.
 */
#include "agent_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int open_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int file;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (file < 0)
		return -errno;
	if (connect(file, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		int result = -errno;

		close(file);
		return result;
	}
	return file;
}

static int send_request(int connection, json_t *request, int file)
{
	char *text = json_dumps(request, JSON_COMPACT);
	size_t size = text ? strlen(text) : 0;
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
			      .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec part = {text, size + 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	int result = -ENOMEM;

	if (!text)
		return result;
	text[size] = '\n'; /* in place of the terminator: the length is known */
	if (file >= 0) {
		memcpy(CMSG_DATA(&control.head), &file, sizeof(file));
		message.msg_control = control.room;
		message.msg_controllen = sizeof(control.room);
	}
	result = sendmsg(connection, &message, MSG_NOSIGNAL) == (ssize_t)size + 1 ? 0 : -EPIPE;
	explicit_bzero(text, size);
	free(text);
	return result;
}

/** Gives progress lines to @progress until the answer; returns it, or NULL when the agent went away. */
static json_t *read_answer(FILE *stream, void (*progress)(void *context, const char *line), void *context)
{
	char *line = NULL;
	size_t capacity = 0;
	json_t *answer = NULL;

	while (!answer && getline(&line, &capacity, stream) > 0) {
		json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
		const char *text = json_string_value(json_object_get(object, "progress"));

		if (text) {
			progress(context, text);
			json_decref(object);
		} else {
			answer = object;
			if (!object)
				break;
		}
	}
	free(line);
	return answer;
}

int agent_link_ask(const char *path, json_t *request, int file, void (*progress)(void *context, const char *line),
		   void *context, json_t **result, char *error, size_t error_bytes)
{
	int connection = open_socket(path), status;
	FILE *stream;
	json_t *answer;

	if (connection < 0) {
		json_decref(request);
		if (connection == -EACCES)
			snprintf(error, error_bytes,
				 "%s: you may not talk to the agent; ask to be added to the socket's group", path);
		else
			snprintf(error, error_bytes, "%s: the agent does not answer (%s); is bulkhead-agent running?",
				 path, strerror(-connection));
		return connection;
	}
	status = send_request(connection, request, file);
	json_decref(request);
	stream = fdopen(connection, "r");
	answer = status == 0 && stream ? read_answer(stream, progress, context) : NULL;
	if (stream)
		fclose(stream);
	else
		close(connection);
	if (!answer) {
		snprintf(error, error_bytes, "%s: the agent ended before it answered; see its log", path);
		return -EPIPE;
	}
	if (json_object_get(answer, "error")) {
		snprintf(error, error_bytes, "%s", json_string_value(json_object_get(answer, "error")) ?: "refused");
		status = -EPERM;
	} else {
		*result = json_incref(json_object_get(answer, "result"));
	}
	json_decref(answer);
	return status;
}

static void show_progress(void *context, const char *line)
{
	fprintf(stderr, "%s\n", line);
}

int agent_link_call(const struct cli_context *context, json_t *request, int file, json_t **result)
{
	const char *path = cli_value(context, "socket");
	char error[1024];

	if (!path)
		path = cli_switch(context, "personal") ? AGENT_LINK_PERSONAL : AGENT_LINK_COMPANY;
	if (agent_link_ask(path, request, file, show_progress, NULL, result, error, sizeof(error)) != 0)
		return cli_fail(context, "%s", error);
	return CLI_OK;
}
