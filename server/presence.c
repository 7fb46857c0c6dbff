/* presence.c: see presence.h. */
#include "server/presence.h"
#include "trust/audit.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ENTRIES	      16384 /* a power of two; a full table is written at once */
#define FLUSH_SECONDS 30

struct seen {
	char device[40];
	int64_t time;
	struct audit_head head;
};

struct presence {
	struct server *server;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool ends;
	size_t count;
	struct seen *table; /* open addressing */
};

static struct seen *place(struct seen *table, const char *device)
{
	static const uint8_t key[crypto_shorthash_KEYBYTES] = {0};
	uint64_t hash;

	crypto_shorthash((uint8_t *)&hash, (const uint8_t *)device, strlen(device), key);
	while (table[hash % ENTRIES].device[0] && strcmp(table[hash % ENTRIES].device, device))
		hash++;
	return &table[hash % ENTRIES];
}

void presence_seen(struct presence *presence, const char *device, int64_t now,
		   const char *audit_seen)
{
	struct audit_head head = {0};
	struct seen *seen;

	if (audit_seen &&
	    (strlen(audit_seen) >= AUDIT_HEAD_TEXT_MAX || audit_head_read(audit_seen, &head)))
		memset(&head, 0, sizeof(head));
	pthread_mutex_lock(&presence->lock);
	/* Full: this poll goes unnoted; the writer is on its way. */
	if (presence->count < ENTRIES * 3 / 4 || place(presence->table, device)->device[0]) {
		seen = place(presence->table, device);
		if (!seen->device[0]) {
			snprintf(seen->device, sizeof(seen->device), "%s", device);
			presence->count++;
		}
		seen->time = now;
		if (head.sequence >= seen->head.sequence)
			seen->head = head;
	}
	if (presence->count >= ENTRIES / 2)
		pthread_cond_signal(&presence->wake);
	pthread_mutex_unlock(&presence->lock);
}

static int write_all(struct storage *storage, const struct seen *table)
{
	char hash[65];
	int status = storage_begin(storage);

	if (status)
		return status;
	for (size_t i = 0; i < ENTRIES && !status; i++) {
		const struct seen *seen = &table[i];

		if (!seen->device[0])
			continue;
		sodium_bin2hex(hash, sizeof(hash), seen->head.hash, 32);
		status = storage_run(storage, QUERY_DEVICE_SEEN,
				     STORAGE(SV_TEXT(seen->device), SV_INT(seen->time),
					     SV_INT(seen->head.sequence), SV_TEXT(hash)));
	}
	if (!status)
		status = storage_commit(storage);
	if (status)
		storage_rollback(storage);
	return status;
}

int presence_flush(struct presence *presence)
{
	struct seen *fresh = calloc(ENTRIES, sizeof(*fresh)), *full;
	struct storage *storage;
	int status;

	if (!fresh)
		return -ENOMEM;
	pthread_mutex_lock(&presence->lock);
	full = presence->count ? presence->table : NULL;
	if (full) {
		presence->table = fresh;
		presence->count = 0;
	}
	pthread_mutex_unlock(&presence->lock);
	if (!full) {
		free(fresh);
		return 0;
	}
	storage = server_storage(presence->server);
	status = write_all(storage, full);
	server_storage_return(presence->server, storage);
	free(full);
	return status;
}

static void *writer(void *context)
{
	struct presence *presence = context;
	struct timespec until;

	pthread_mutex_lock(&presence->lock);
	while (!presence->ends) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += FLUSH_SECONDS;
		pthread_cond_timedwait(&presence->wake, &presence->lock, &until);
		pthread_mutex_unlock(&presence->lock);
		presence_flush(presence);
		pthread_mutex_lock(&presence->lock);
	}
	pthread_mutex_unlock(&presence->lock);
	return NULL;
}

struct presence *presence_start(struct server *server)
{
	struct presence *presence = calloc(1, sizeof(*presence));

	if (!presence)
		return NULL;
	presence->server = server;
	presence->table = calloc(ENTRIES, sizeof(*presence->table));
	pthread_mutex_init(&presence->lock, NULL);
	pthread_cond_init(&presence->wake, NULL);
	if (!presence->table || pthread_create(&presence->thread, NULL, writer, presence)) {
		free(presence->table);
		free(presence);
		return NULL;
	}
	return presence;
}

void presence_stop(struct presence *presence)
{
	if (!presence)
		return;
	pthread_mutex_lock(&presence->lock);
	presence->ends = true;
	pthread_cond_signal(&presence->wake);
	pthread_mutex_unlock(&presence->lock);
	pthread_join(presence->thread, NULL);
	presence_flush(presence);
	pthread_cond_destroy(&presence->wake);
	pthread_mutex_destroy(&presence->lock);
	free(presence->table);
	free(presence);
}
