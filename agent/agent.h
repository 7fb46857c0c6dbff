/**
 * The agent: keeps this PC at the state that the company signed, and obeys. Two threads: one
 * listens (the command's socket, guests that end), one works (everything that talks to the server);
 * `lock` guards what they share.
 *
 * Nothing a server says is believed: documents pass through trust/memory.h, which is written before
 * it is acted on; manifests and blocks through store/. A personal agent (config.personal) has no
 * server and no such documents.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <pthread.h>

#include "agent_config.h"
#include "agent_database.h"
#include "agent_http.h"
#include "trust/memory.h"

#define AGENT_VERSION		 "0.1.0"
#define AGENT_REQUEST_MAX_BYTES	 65536
#define AGENT_GUESTS_MAX	 16
#define AGENT_ERROR_MAX		 320
#define AGENT_URL_MAX		 256
#define AGENT_DOCUMENT_MAX_BYTES (6u << 20)

/* What has a server of its own; the last two only where our monitor runs the guest. */
enum { AGENT_SYSTEM_DISK, AGENT_USER_DISK, AGENT_CONFIG_DISK, AGENT_PORT, AGENT_NETWORK_CARD, AGENT_SERVERS };

/** A guest's processes while it runs. */
struct agent_running {
	char name[AGENT_NAME_MAX];
	uint64_t release;
	pid_t monitor;
	pid_t servers[AGENT_SERVERS];
	char directory[AGENT_PATH_MAX]; /* sockets and the configuration disk */
	int64_t started;
	bool stopping;
};

/** What became of a guest's starts in this agent's life. */
struct agent_start {
	char name[AGENT_NAME_MAX];
	unsigned int left; /* tries to start it by itself */
};

/** How far a restore is. */
struct agent_progress {
	char guest[AGENT_NAME_MAX];
	uint64_t release;
	uint64_t done_bytes, total_bytes;
};

struct agent_work;
struct arrival;

enum agent_thread { AGENT_WORKING, AGENT_LISTENING, AGENT_THREADS };

struct agent {
	struct agent_config config;
	struct agent_database *database;
	pthread_mutex_t lock;
	pthread_cond_t wake;   /* the working thread has something to do */
	pthread_cond_t worked; /* a piece of work is done (agent_work.h) */
	struct agent_work *work[AGENT_THREADS];
	int listening_wake; /* eventfd: the listening thread has something to do */
	bool stopping, kicked;

	bool enrolled;
	char server[256];
	struct memory memory;
	struct state *state;   /* newest accepted; NULL: none yet */
	struct policy *policy; /* NULL: built-in values */
	struct policy_effective effective;

	struct agent_running running[AGENT_GUESTS_MAX];
	struct agent_start starts[AGENT_GUESTS_MAX]; /* who was started, or is not tried again */
	bool autostart_due; /* the listening thread looks what policy wants started */
	struct agent_progress progress;
	struct arrival *arrivals[AGENT_GUESTS_MAX]; /* releases on their way (arrival.h) */
	char resting[AGENT_NAME_MAX]; /* the guest whose resting user disk is in use; empty: none */
	bool resting_to_be_replaced;  /* by a restore: the guest cannot start */
	bool rest_is_over;	      /* by a backup, which is asked to let go: the guest starts */
	int64_t last_contact, last_lease;
	int64_t next_round;	    /* with the server; this and the next four: the working thread's alone */
	int64_t last_look;	    /* at what the company says, between pieces of long work; the working thread's alone */
	bool orders_first;	    /* long work ended for what the company says; a round follows */
	unsigned int failed_rounds; /* in a row */
	char trouble[AGENT_ERROR_MAX]; /* what last went wrong with the server; empty: nothing */

	struct pace pace;	     /* of all transfers together */
	char packs_url[AGENT_URL_MAX]; /* a cache of packs; empty: none. The working thread's alone */
	struct agent_http *http;     /* the working thread's alone */
	char error[AGENT_ERROR_MAX]; /* the working thread's alone */
};

/** Path of a file of the agent's own: DATA/name. */
void agent_path(const struct agent *agent, const char *name, char path[AGENT_PATH_MAX]);

/** Reads a document that was kept under its name; release `envelope` after a success. Its signature was
 * checked when it was kept. -ENOENT: it never was. */
int agent_read_kept(const struct agent *agent, const char *name, struct dsse_envelope *envelope);

/** Opens everything that lies in the data directory. `error` gets one line. */
int agent_open(struct agent *agent, char error[AGENT_ERROR_MAX]);
void agent_close(struct agent *agent);

/** Seconds since 1970, never before what the server has signed. */
int64_t agent_now(const struct agent *agent);

/** Bytes a second that transfers may use: the lower of the configuration's and the policy's limit;
 * 0 is none. */
uint64_t agent_bandwidth(const struct agent *agent);

/** A connection of its own to the server, with this device's certificate; NULL if memory ran out. */
struct agent_http *agent_http_to_server(struct agent *agent);

/** A connection of its own to the cache of packs that the server named, as nobody in particular; NULL
 * if memory ran out. */
struct agent_http *agent_http_to_cache(struct agent *agent);

/** Remembers one line in agent->error; returns `result`. */
int agent_fail(struct agent *agent, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Merges the policy for this device; call with the lock held after state or policy changed. */
void agent_merge_policy(struct agent *agent);

/** Keeps the trust memory. Returns 0 or negative errno with agent->error. */
int agent_remember(struct agent *agent);

/** Wakes the working thread: there is something to do. Call with the lock held. */
void agent_kick(struct agent *agent);

#endif
