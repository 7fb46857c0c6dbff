/* http_listen.c: sockets, TLS and the daemons of libmicrohttpd. */
#include "server/http.h"
#include "server/http_call.h"
#include "server/http_handshake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_SECONDS	  30
#define CONNECTION_MEMORY (16 * 1024)
#define CONNECTIONS_USUAL 2000
#define PACKS_CONNECTIONS 512u
#define PACKS_STACK	  (256 * 1024)
#define LISTEN_BACKLOG	  16384
#define TLS_PRIORITIES	  "NORMAL:-VERS-ALL:+VERS-TLS1.3"

/* Splits "ADDRESS:PORT" ("[::1]:443" too) and binds. */
static int listen_on(const char *where, int *port, char *problem, size_t problem_bytes)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
				 .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	struct sockaddr_storage bound;
	socklen_t bound_bytes = sizeof(bound);
	const char *colon = strrchr(where, ':');
	char host[128];
	int fd = -1, one = 1, status = -EINVAL;

	if (!colon || (size_t)(colon - where) >= sizeof(host) || !colon[1] || strlen(colon) > 6 ||
	    strspn(colon + 1, "0123456789") != strlen(colon + 1) || atoi(colon + 1) > 65535)
		goto out;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - where), where);
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		memmove(host, host + 1, strlen(host));
		host[strlen(host) - 1] = 0;
	}
	if (getaddrinfo(host, colon + 1, &hints, &found))
		goto out;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, LISTEN_BACKLOG) ||
	    getsockname(fd, (struct sockaddr *)&bound, &bound_bytes)) {
		status = -errno;
		if (fd >= 0)
			close(fd);
		goto out;
	}
	*port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
						  : ((struct sockaddr_in *)&bound)->sin_port);
	status = fd;
out:
	if (found)
		freeaddrinfo(found);
	if (status == -EINVAL)
		snprintf(problem, problem_bytes,
			 "%s: not an address to listen on; write 0.0.0.0:8443 or [::]:8443", where);
	else if (status < 0)
		snprintf(problem, problem_bytes,
			 "%s: %s; choose another --listen or stop what uses it", where,
			 strerror(-status));
	return status;
}

static unsigned int thread_count(const struct server *server)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	/* One thread would be no pool, and one slow call would stop all others. */
	if (server->options.threads)
		return server->options.threads > 2 ? server->options.threads : 2;
	return processors > 8 ? 8 : processors > 2 ? (unsigned int)processors : 2;
}

static void raise_file_limit(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int http_start(struct server *server, char *problem, size_t problem_bytes)
{
	unsigned int connections =
	    server->options.connections ? server->options.connections : CONNECTIONS_USUAL;
	int fd = listen_on(server->options.listen, &server->port, problem, problem_bytes);

	raise_file_limit();
	if (fd < 0)
		return fd;
	server->ticket_key = calloc(1, sizeof(gnutls_datum_t));
	if (!server->ticket_key || gnutls_session_ticket_key_generate(server->ticket_key)) {
		snprintf(problem, problem_bytes, "TLS could not be started: no random numbers");
		close(fd);
		return -EIO;
	}
	server->handshakes = handshakes_start();
	if (!server->handshakes) {
		snprintf(problem, problem_bytes, "TLS could not be started: out of threads or files");
		close(fd);
		return -ENOMEM;
	}
	server->daemon = MHD_start_daemon(
	    MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS | MHD_USE_ERROR_LOG |
		MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
	    http_call_handle, server, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_HTTPS_MEM_KEY,
	    authority_server_key(server->authority), MHD_OPTION_HTTPS_MEM_CERT,
	    authority_server_certificate(server->authority), MHD_OPTION_HTTPS_MEM_TRUST,
	    authority_ca(server->authority), MHD_OPTION_HTTPS_PRIORITIES, TLS_PRIORITIES,
	    MHD_OPTION_THREAD_POOL_SIZE, thread_count(server), MHD_OPTION_CONNECTION_LIMIT,
	    connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_SECONDS,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
	    MHD_OPTION_NOTIFY_CONNECTION, http_call_connection, server, MHD_OPTION_NOTIFY_COMPLETED,
	    http_call_completed, server, MHD_OPTION_END);
	if (!server->daemon) {
		snprintf(problem, problem_bytes,
			 "%s: TLS could not be started; the log above says why",
			 server->options.listen);
		close(fd);
		return -EIO;
	}
	if (!server->options.packs_listen)
		return 0;
	fd = listen_on(server->options.packs_listen, &server->packs_port, problem, problem_bytes);
	if (fd < 0)
		return fd;
	/* A thread a connection: only so does libmicrohttpd give sendfile() two megabytes at once
	 * and not 128 KiB. A cache stands in front of it, so connections are few. */
	server->packs_daemon = MHD_start_daemon(
	    MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_THREAD_PER_CONNECTION |
		MHD_USE_ERROR_LOG,
	    0, NULL, NULL, http_call_handle_packs, server, MHD_OPTION_LISTEN_SOCKET, fd,
	    MHD_OPTION_THREAD_STACK_SIZE, (size_t)PACKS_STACK, MHD_OPTION_CONNECTION_LIMIT,
	    connections < PACKS_CONNECTIONS ? connections : PACKS_CONNECTIONS,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_SECONDS,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
	    MHD_OPTION_NOTIFY_COMPLETED, http_call_completed, server, MHD_OPTION_END);
	if (!server->packs_daemon) {
		snprintf(problem, problem_bytes, "%s: cannot serve packs there",
			 server->options.packs_listen);
		close(fd);
		return -EIO;
	}
	return 0;
}

void http_stop(struct server *server)
{
	if (server->packs_daemon)
		MHD_stop_daemon(server->packs_daemon);
	if (server->handshakes)
		handshakes_end(server->handshakes);
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	if (server->handshakes)
		handshakes_free(server->handshakes);
	server->handshakes = NULL;
	server->packs_daemon = NULL;
	server->daemon = NULL;
	if (server->ticket_key) {
		gnutls_memset(((gnutls_datum_t *)server->ticket_key)->data, 0,
			      ((gnutls_datum_t *)server->ticket_key)->size);
		gnutls_free(((gnutls_datum_t *)server->ticket_key)->data);
		free(server->ticket_key);
		server->ticket_key = NULL;
	}
}
