/* The helper inside a guest: see guest_agent.h. Protocol: qemu-guest-agent, JSON objects over a
 * stream. */
#include "guest_agent.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_SECONDS 30 /* what is to be written first takes its time */
#define ANSWER_MAX     4096

static int open_socket(const char *path)
{
	const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int file, result;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (file < 0)
		return -errno;
	if (setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	    setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
	    connect(file, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return file;
	result = -errno;
	close(file);
	return result;
}

/**
 * What one line says. `sync`: the number that a guest-sync-delimited waits for, or NULL. Everything before the answer to that,
 * which alone begins with a byte that is no JSON, answers somebody else, or says that this byte was not understood.
 * Returns 0, -EPERM (an error), or -EAGAIN: it is no answer to what was asked.
 */
static int read_line(const char *line, size_t size, const json_int_t *sync, json_int_t *value)
{
	const char *mark = sync ? memrchr(line, 0xff, size) : NULL, *text = mark ? mark + 1 : line;
	json_t *answer, *returned;
	int result = -EAGAIN;

	if (sync && !mark)
		return result;
	answer = json_loadb(text, size - (size_t)(text - line), JSON_REJECT_DUPLICATES, NULL);
	returned = json_object_get(answer, "return");
	if (json_is_integer(returned)) {
		*value = json_integer_value(returned);
		result = sync && *value != *sync ? -EAGAIN : 0;
	} else if (!sync && json_object_get(answer, "error")) {
		result = -EPERM;
	}
	json_decref(answer);
	return result;
}

/** Reads lines until one answers; what is returned is an integer in every call. */
static int read_answer(int file, const json_int_t *sync, json_int_t *value)
{
	time_t until = time(NULL) + ANSWER_SECONDS;
	char bytes[ANSWER_MAX];
	size_t have = 0;

	while (have < sizeof(bytes) && time(NULL) <= until) {
		ssize_t got = recv(file, bytes + have, sizeof(bytes) - have, 0);
		char *end, *line = bytes;

		if (got <= 0)
			return got < 0 ? -errno : -EPIPE;
		have += (size_t)got;
		while ((end = memchr(line, '\n', have - (size_t)(line - bytes)))) {
			int result = read_line(line, (size_t)(end - line), sync, value);

			if (result != -EAGAIN)
				return result;
			line = end + 1;
		}
		have -= (size_t)(line - bytes);
		memmove(bytes, line, have);
	}
	return -ETIMEDOUT;
}

static const char thaw[] = "{\"execute\":\"guest-fsfreeze-thaw\"}\n";

static int say(int file, const char *text)
{
	ssize_t size = (ssize_t)strlen(text);

	return send(file, text, (size_t)size, MSG_NOSIGNAL) == size ? 0 : -EPIPE;
}

static int ask(int file, const char *text, json_int_t *value)
{
	int result = say(file, text);

	return result ? result : read_answer(file, NULL, value);
}

/** Makes sure that what comes from now on answers us. */
static int synchronize(int file)
{
	char text[96];
	unsigned int id;
	json_int_t number, value;
	int result;

	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return -EIO;
	number = id;
	/* A leading 0xff ends whatever half a request a former client left behind. */
	snprintf(text, sizeof(text), "\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%u}}\n", id);
	result = say(file, text);
	return result ? result : read_answer(file, &number, &value);
}

int guest_agent_freeze(const char *path)
{
	json_int_t value = 0;
	int file = open_socket(path), result;

	if (file < 0)
		return file;
	result = synchronize(file);
	if (result == 0) {
		result = ask(file, "{\"execute\":\"guest-fsfreeze-freeze\"}\n", &value);
		if (result == 0 && value > 0)
			return file;
		/* It may freeze yet, after this limit: what it hears next lets it go on. */
		(void)say(file, thaw);
	}
	close(file);
	return result ? result : -ENOTSUP;
}

int guest_agent_thaw(int connection)
{
	json_int_t value;
	int result = ask(connection, thaw, &value);

	close(connection);
	return result;
}
