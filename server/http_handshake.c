/* http_handshake.c: see http_handshake.h. */
#include "server/http_handshake.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Long, since a whole fleet that comes back at once makes its own PCs slow; asleep they cost
 * nothing. */
#define HANDSHAKE_MS 60000
#define EVENTS	     64

struct handshakes {
	pthread_t thread;
	pthread_mutex_t lock; /* taken before any of libmicrohttpd's */
	int epoll, alarm;     /* alarm: an eventfd that ends the watcher */
	bool ends;
	size_t asleep;
	struct handshake *oldest, *newest;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void unlink_one(struct handshakes *all, struct handshake *one)
{
	*(one->previous ? &one->previous->next : &all->oldest) = one->next;
	*(one->next ? &one->next->previous : &all->newest) = one->previous;
	one->next = one->previous = NULL;
	one->deadline_ms = 0;
	all->asleep--;
}

/* Suspends under the lock: whoever wakes it must find it suspended. */
static void sleep_until_readable(struct handshakes *all, struct handshake *one)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.ptr = one};

	pthread_mutex_lock(&all->lock);
	if (!all->ends && !epoll_ctl(all->epoll, one->is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
				     one->fd, &event)) {
		one->is_known = true;
		one->deadline_ms = now_ms() + HANDSHAKE_MS;
		one->previous = all->newest;
		*(all->newest ? &all->newest->next : &all->oldest) = one;
		all->newest = one;
		all->asleep++;
		MHD_suspend_connection(one->connection);
	}
	pthread_mutex_unlock(&all->lock);
}

static bool is_done(const struct handshake *one)
{
	return gnutls_handshake_get_last_in(one->session) == GNUTLS_HANDSHAKE_FINISHED;
}

static ssize_t pull(gnutls_transport_ptr_t context, void *data, size_t bytes)
{
	struct handshake *one = context;
	ssize_t got = recv(one->fd, data, bytes, 0);
	int reason = errno;

	if (got < 0 && (reason == EAGAIN || reason == EWOULDBLOCK) && !is_done(one))
		sleep_until_readable(one->all, one);
	gnutls_transport_set_errno(one->session, reason);
	errno = reason;
	return got;
}

static int pull_wait(gnutls_transport_ptr_t context, unsigned int ms)
{
	const struct handshake *one = context;
	struct pollfd wanted = {.fd = one->fd, .events = POLLIN};

	return poll(&wanted, 1, ms == GNUTLS_INDEFINITE_TIMEOUT ? -1 : (int)ms);
}

static void wake(struct handshake *one)
{
	unlink_one(one->all, one);
	MHD_resume_connection(one->connection);
}

/* Those whose time is over see the end of their connection, which libmicrohttpd then closes. No
 * event may name one that the watcher woke: it could be gone by then. */
static void wake_late(struct handshakes *all, int64_t until)
{
	while (all->oldest && all->oldest->deadline_ms <= until) {
		struct handshake *one = all->oldest;

		epoll_ctl(all->epoll, EPOLL_CTL_DEL, one->fd, NULL);
		one->is_known = false;
		shutdown(one->fd, SHUT_RDWR);
		wake(one);
	}
}

/* Only here is anybody woken, so an event of the watcher's always names one who sleeps. */
static void *watch(void *context)
{
	struct handshakes *all = context;
	struct epoll_event events[EVENTS];
	bool ends = false;

	while (!ends) {
		int count = epoll_wait(all->epoll, events, EVENTS, 1000);

		pthread_mutex_lock(&all->lock);
		for (int i = 0; i < count; i++)
			if (events[i].data.ptr)
				wake(events[i].data.ptr);
		ends = all->ends;
		wake_late(all, ends ? INT64_MAX : now_ms());
		pthread_mutex_unlock(&all->lock);
	}
	return NULL;
}

struct handshakes *handshakes_start(void)
{
	struct handshakes *all = calloc(1, sizeof(*all));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

	if (!all)
		return NULL;
	pthread_mutex_init(&all->lock, NULL);
	all->epoll = epoll_create1(EPOLL_CLOEXEC);
	all->alarm = eventfd(0, EFD_CLOEXEC);
	if (all->epoll >= 0 && all->alarm >= 0 &&
	    !epoll_ctl(all->epoll, EPOLL_CTL_ADD, all->alarm, &event) &&
	    !pthread_create(&all->thread, NULL, watch, all))
		return all;
	if (all->epoll >= 0)
		close(all->epoll);
	if (all->alarm >= 0)
		close(all->alarm);
	free(all);
	return NULL;
}

size_t handshakes_asleep(struct handshakes *all)
{
	size_t count;

	pthread_mutex_lock(&all->lock);
	count = all->asleep;
	pthread_mutex_unlock(&all->lock);
	return count;
}

void handshakes_end(struct handshakes *all)
{
	uint64_t one = 1;

	pthread_mutex_lock(&all->lock);
	all->ends = true;
	pthread_mutex_unlock(&all->lock);
	/* If the alarm cannot ring, the watcher looks once a second. */
	(void)!write(all->alarm, &one, sizeof(one));
	pthread_join(all->thread, NULL);
}

void handshakes_free(struct handshakes *all)
{
	close(all->epoll);
	close(all->alarm);
	pthread_mutex_destroy(&all->lock);
	free(all);
}

void handshake_begin(struct handshakes *all, struct handshake *handshake,
		     struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	const union MHD_ConnectionInfo *socket =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	gnutls_transport_ptr_t receive, send;

	if (!info || !info->tls_session || !socket)
		return;
	handshake->all = all;
	handshake->connection = connection;
	handshake->session = info->tls_session;
	handshake->fd = socket->connect_fd;
	gnutls_transport_get_ptr2(handshake->session, &receive, &send);
	gnutls_transport_set_ptr2(handshake->session, handshake, send);
	gnutls_transport_set_pull_function(handshake->session, pull);
	gnutls_transport_set_pull_timeout_function(handshake->session, pull_wait);
}
