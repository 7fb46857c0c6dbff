/*
 * server.h: the management server as a library: opened over a data directory, listening, closed.
 * bulkhead-server and the tests use the same calls.
 *
 * All state is in the storage and the objects; what the process holds itself (connections,
 * counters, who was seen last) can be lost at any moment.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "server/authority.h"
#include "server/objects.h"
#include "server/storage.h"
#include "trust/audit.h"
#include "trust/signing_key.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SERVER_NAMES_MAX       16
#define SERVER_CONNECTIONS_MAX 16
#define SERVER_PASSWORD_MAX    32

struct server_options {
	const char *data;		     /* directory; made if absent */
	const char *listen;		     /* "ADDRESS:PORT"; port 0 = any */
	const char *packs_listen;	     /* plain HTTP for packs only, or NULL */
	const char *packs_url;		     /* what clients are told, or NULL */
	const char *names[SERVER_NAMES_MAX]; /* DNS names and addresses in the certificate */
	size_t name_count;
	unsigned int threads;		    /* 0 = one per processor, at most 8 */
	unsigned int connections;	    /* at once; 0 = 2000 */
	bool restored; /* the database is an older copy: leap beyond serials that devices have seen */
	unsigned int open_calls_per_minute; /* logins and enrolments from one address; 0 = 30 */
	int64_t (*clock)(void);		    /* Unix seconds; NULL = the system's */
};

struct handshakes;
struct presence;
struct limits;
struct MHD_Daemon;

struct server {
	struct server_options options;
	struct authority *authority;
	struct signing_key key; /* role server */
	const struct objects_driver *objects;
	void *objects_handle;
	char database[4096];
	pthread_mutex_t writers; /* see storage.h */
	struct {
		pthread_mutex_t lock;
		pthread_cond_t freed;
		struct storage connections[SERVER_CONNECTIONS_MAX];
		bool busy[SERVER_CONNECTIONS_MAX];
		size_t count;
	} pool;
	struct journal_cache {
		pthread_mutex_t lock;
		int64_t sequence;
		char text[AUDIT_HEAD_TEXT_MAX];
	} journal; /* the signed head of the audit log */
	struct presence *presence;
	struct limits *limits;
	pthread_mutex_t password_lock; /* one Argon2id at a time bounds memory */
	struct {
		atomic_uint_fast64_t requests, refused, failed, packs_bytes, polls, polls_unchanged;
	} counters;
	void *ticket_key; /* gnutls_datum_t: seals TLS sessions that devices resume; new at every start */
	struct handshakes *handshakes;
	struct MHD_Daemon *daemon, *packs_daemon;
	int port, packs_port;
	char first_password[SERVER_PASSWORD_MAX]; /* empty once somebody has chosen another */
};

/**
 * Opens the data directory (making what is missing) and starts to listen.
 *
 * @problem: receives one line on failure: what, why, remedy.
 *
 * Returns 0 or a negative errno.
 */
int server_open(const struct server_options *options, struct server **server, char *problem,
		size_t problem_bytes);

/** Stops listening, finishes what runs, closes. NULL is allowed. */
void server_close(struct server *server);

/** Unix seconds by the server's clock. */
int64_t server_now(const struct server *server);

/** Borrows a storage connection; waits if all are busy. */
struct storage *server_storage(struct server *server);
void server_storage_return(struct server *server, struct storage *storage);

#endif
