/* Asking for frames and answering; see feed.h. */
#include "feed.h"
#include "stream.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS 8
#define PATIENCE    120

struct feed {
	struct sockaddr_un address;
	pthread_mutex_t lock;
	int idle[CONNECTIONS];
	unsigned int idle_count;
};

struct feed *feed_new(const char *path)
{
	struct feed *feed = calloc(1, sizeof(*feed));

	if (!feed)
		return NULL;
	feed->address.sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(feed->address.sun_path) || pthread_mutex_init(&feed->lock, NULL)) {
		free(feed);
		return NULL;
	}
	strcpy(feed->address.sun_path, path);
	return feed;
}

void feed_free(struct feed *feed)
{
	if (!feed)
		return;
	while (feed->idle_count)
		close(feed->idle[--feed->idle_count]);
	pthread_mutex_destroy(&feed->lock);
	free(feed);
}

static int take_connection(struct feed *feed)
{
	const struct timeval patience = {.tv_sec = PATIENCE};
	int connection = -1;

	pthread_mutex_lock(&feed->lock);
	if (feed->idle_count)
		connection = feed->idle[--feed->idle_count];
	pthread_mutex_unlock(&feed->lock);
	if (connection >= 0)
		return connection;
	connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection < 0)
		return -errno;
	if (setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    connect(connection, (struct sockaddr *)&feed->address, sizeof(feed->address))) {
		int error = -errno;

		close(connection);
		return error;
	}
	return connection;
}

static void return_connection(struct feed *feed, int connection)
{
	pthread_mutex_lock(&feed->lock);
	if (feed->idle_count < CONNECTIONS) {
		feed->idle[feed->idle_count++] = connection;
		connection = -1;
	}
	pthread_mutex_unlock(&feed->lock);
	if (connection >= 0)
		close(connection);
}

int feed_ask(struct feed *feed, const struct frame_address *address, bool urgent)
{
	struct feed_question question = {.number = htole32(address->number), .urgent = htole32(urgent)};
	uint32_t answer;

	memcpy(question.salt, address->salt, SALT_BYTES);
	/* An idle connection may have been closed by an agent that was restarted: then once more on a fresh one. */
	for (unsigned int tries = 0; tries < 2; tries++) {
		int connection = take_connection(feed);

		if (connection < 0)
			return connection;
		if (stream_transfer(connection, &question, sizeof(question), true) == 0 &&
		    stream_transfer(connection, &answer, sizeof(answer), false) == 0) {
			int32_t error = (int32_t)le32toh(answer);

			return_connection(feed, connection);
			return error > 0 || error < -4095 ? -EPROTO : error;
		}
		close(connection);
	}
	return -EPIPE;
}

void feed_answer(int connection, int (*get)(void *context, const struct frame_address *address, bool urgent),
		 void *context)
{
	struct feed_question question;

	while (stream_transfer(connection, &question, sizeof(question), false) == 0) {
		struct frame_address address = {.number = le32toh(question.number)};
		uint32_t answer = htole32((uint32_t)-EINVAL);

		memcpy(address.salt, question.salt, SALT_BYTES);
		if (le32toh(question.urgent) <= 1)
			answer = htole32((uint32_t)get(context, &address, question.urgent != 0));
		if (stream_transfer(connection, &answer, sizeof(answer), true))
			break;
	}
}
