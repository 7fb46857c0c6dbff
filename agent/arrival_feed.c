/*
 * The socket at which a disk server asks for frames (backends/feed.h): it has the keys and no
 * network, this has the network and needs no keys. What it asks is checked against the version.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "arrival_private.h"
#include "feed.h"

#define CHECKPOINT_SECONDS 1

static int64_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/** Nobody waits: what is here is made visible now and then, what is not comes in its turn. */
static int get_later(struct arrival *arrival, const struct frame_address *address)
{
	enum fetch_state state = fetch_frame_state(arrival->fetch, address);
	int64_t now = seconds();
	bool due;

	if (state == FETCH_ABSENT)
		return -EAGAIN;
	pthread_mutex_lock(&arrival->lock);
	due = state == FETCH_DURABLE || now - arrival->last_checkpoint >= CHECKPOINT_SECONDS;
	if (due && state == FETCH_FRESH)
		arrival->last_checkpoint = now;
	pthread_mutex_unlock(&arrival->lock);
	return due ? fetch_frame(arrival->fetch, address) : -EAGAIN;
}

/** Whatever keeps a frame from coming, short of a question that makes no sense, may pass: the
 * guest waits meanwhile, and `bulkhead guest list` says for what. */
static int get(void *context, const struct frame_address *address, bool urgent)
{
	struct arrival *arrival = context;
	int result;

	if (!urgent)
		return get_later(arrival, address);
	__atomic_add_fetch(&arrival->urgent, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&arrival->asked, 1, __ATOMIC_RELAXED);
	do {
		result = fetch_frame(arrival->fetch, address);
	} while (result == -EBADMSG && pack_source_leave_cache(&arrival->packs));
	__atomic_sub_fetch(&arrival->urgent, 1, __ATOMIC_RELAXED);
	if (result == 0 || result == -EINVAL)
		return result;
	arrival_note(arrival, result);
	return -EAGAIN;
}

static void *serve(void *context)
{
	struct feed_connection *connection = context;

	feed_answer(connection->file, get, connection->arrival);
	__atomic_store_n(&connection->over, true, __ATOMIC_RELEASE);
	return NULL;
}

static void finish(struct feed_connection *connection)
{
	pthread_join(connection->thread, NULL);
	close(connection->file);
	connection->file = -1;
}

static void take_connection(struct arrival *arrival, int file)
{
	for (int i = 0; i < FEED_CONNECTIONS; i++) {
		struct feed_connection *connection = &arrival->connections[i];

		if (connection->file >= 0 && __atomic_load_n(&connection->over, __ATOMIC_ACQUIRE))
			finish(connection);
		if (connection->file >= 0)
			continue;
		*connection = (struct feed_connection){.arrival = arrival, .file = file};
		if (pthread_create(&connection->thread, NULL, serve, connection) == 0)
			return;
		connection->file = -1;
		break;
	}
	close(file);
}

static void *listen_for_questions(void *context)
{
	struct arrival *arrival = context;

	for (;;) {
		struct pollfd waits[] = {{arrival->listener, POLLIN, 0},
					 {arrival->stop_event, POLLIN, 0}};
		int file;

		if (poll(waits, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (waits[1].revents)
			return NULL;
		if (!(waits[0].revents & POLLIN))
			continue;
		file = accept4(arrival->listener, NULL, NULL, SOCK_CLOEXEC);
		if (file >= 0)
			take_connection(arrival, file);
	}
}

int arrival_feed_start(struct arrival *arrival)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int result;

	if (strlen(arrival->feed) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, arrival->feed, strlen(arrival->feed));
	unlink(arrival->feed);
	arrival->stop_event = eventfd(0, EFD_CLOEXEC);
	arrival->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (arrival->stop_event < 0 || arrival->listener < 0 ||
	    bind(arrival->listener, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    chmod(arrival->feed, 0600) != 0 || listen(arrival->listener, FEED_CONNECTIONS) != 0)
		return -errno;
	result = -pthread_create(&arrival->feed_thread, NULL, listen_for_questions, arrival);
	arrival->has_feed_thread = result == 0;
	return result;
}

void arrival_feed_stop(struct arrival *arrival)
{
	if (arrival->has_feed_thread) {
		eventfd_write(arrival->stop_event, 1);
		pthread_join(arrival->feed_thread, NULL);
		unlink(arrival->feed);
	}
	for (int i = 0; i < FEED_CONNECTIONS; i++) {
		if (arrival->connections[i].file < 0)
			continue;
		shutdown(arrival->connections[i].file, SHUT_RDWR);
		finish(&arrival->connections[i]);
	}
	if (arrival->listener >= 0)
		close(arrival->listener);
	if (arrival->stop_event >= 0)
		close(arrival->stop_event);
}
