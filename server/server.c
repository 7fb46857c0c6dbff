/* server.c: opening a data directory and everything in it, in order; closing in the opposite one.
 * See server.h. */
#include "server/server.h"
#include "server/http.h"
#include "server/journal.h"
#include "server/limits.h"
#include "server/password.h"
#include "server/presence.h"
#include "server/step.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OPEN_CALLS_USUAL 30

int64_t server_now(const struct server *server)
{
	return server->options.clock ? server->options.clock() : (int64_t)time(NULL);
}

struct storage *server_storage(struct server *server)
{
	struct storage *found = NULL;

	pthread_mutex_lock(&server->pool.lock);
	while (!found) {
		for (size_t i = 0; i < server->pool.count && !found; i++)
			if (!server->pool.busy[i]) {
				server->pool.busy[i] = true;
				found = &server->pool.connections[i];
			}
		if (!found)
			pthread_cond_wait(&server->pool.freed, &server->pool.lock);
	}
	pthread_mutex_unlock(&server->pool.lock);
	return found;
}

void server_storage_return(struct server *server, struct storage *storage)
{
	pthread_mutex_lock(&server->pool.lock);
	server->pool.busy[storage - server->pool.connections] = false;
	pthread_cond_signal(&server->pool.freed);
	pthread_mutex_unlock(&server->pool.lock);
}

static int make_directory(const char *path, char *problem, size_t problem_bytes)
{
	if (!mkdir(path, 0750) || errno == EEXIST)
		return 0;
	snprintf(problem, problem_bytes, "%s: cannot be made: %s; choose another --data", path,
		 strerror(errno));
	return -errno;
}

/* Reads or makes the server's own signing key. It lies open: the server must start without anybody
 * there. */
static int open_key(struct server *server, const char *path, char *problem, size_t problem_bytes)
{
	char text[SIGNING_KEY_FILE_MAX] = "", beside[4200], *made = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;
	int status;

	if (fd >= 0) {
		got = read(fd, text, sizeof(text) - 1);
		close(fd);
		status =
		    got > 0 ? signing_key_read(text, (size_t)got, NULL, &server->key) : -EBADMSG;
		sodium_memzero(text, sizeof(text));
		if (status)
			snprintf(problem, problem_bytes,
				 "%s: not the server's key; restore it from a backup", path);
		return status;
	}
	status = signing_key_generate(&server->key, "server");
	if (!status)
		status = signing_key_write(&server->key, NULL, NULL, &made);
	if (status)
		return status;
	snprintf(beside, sizeof(beside), "%s.new", path);
	step();
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, made, strlen(made)) != (ssize_t)strlen(made) || fsync(fd))
		status = -errno;
	if (fd >= 0)
		close(fd);
	step();
	if (!status && rename(beside, path))
		status = -errno;
	sodium_memzero(made, strlen(made));
	free(made);
	if (status)
		snprintf(problem, problem_bytes, "%s: %s", path, strerror(-status));
	return status;
}

static int open_storage(struct server *server, char *problem, size_t problem_bytes)
{
	size_t wanted = server->options.threads ? server->options.threads + 2 : 10;
	int fd = open(server->database, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	/* Made here so that nobody else may read it: it holds the images' keys. */
	if (fd >= 0)
		close(fd);
	if (wanted > SERVER_CONNECTIONS_MAX)
		wanted = SERVER_CONNECTIONS_MAX;
	for (size_t i = 0; i < wanted; i++) {
		int status =
		    storage_open(&server->pool.connections[i], &storage_sqlite, server->database);

		if (status) {
			snprintf(problem, problem_bytes, "%s: %s", server->database,
				 status == -EPROTO
				     ? "made by another version of Bulkhead; use that one, or "
				       "another --data"
				 : status == -EIO
				     ? "not a database, or damaged; restore it from a backup"
				 : status == -EACCES
				     ? "cannot be opened; the server's user must own it"
				     : strerror(-status));
			return status;
		}
		server->pool.connections[i].writers = &server->writers;
		server->pool.count++;
	}
	return 0;
}

/* State serials only go forward on a device, whatever became of the database. */
static int leap(struct server *server)
{
	struct storage *storage = server_storage(server);
	int status = storage_begin(storage);

	if (!status)
		status = storage_run(storage, QUERY_LEAP, STORAGE_NONE);
	if (!status)
		status = journal_append_own(storage, server_now(server), "server_restored", "server",
					    "the database came back from an older copy");
	if (!status)
		status = storage_commit(storage);
	if (status)
		storage_rollback(storage);
	server_storage_return(server, storage);
	return status;
}

/* Makes the first owner with a password that is good for one thing: choosing another. Until somebody did,
 * every start makes the password anew: it may never have been read, if that start ended in an error. */
static int make_first_account(struct server *server)
{
	struct storage *storage = server_storage(server);
	char hash[128];
	json_t *row = NULL;
	int status = storage_row(storage, QUERY_ACCOUNT_SETTLED, STORAGE_NONE, &row);
	bool settled = !status && json_integer_value(json_object_get(row, "settled"));

	json_decref(row);
	if (status || settled)
		goto out;
	request_random(server->first_password, 12);
	status = password_hash_text(server->first_password, hash);
	if (!status)
		status = storage_begin(storage);
	if (status)
		goto out;
	status = storage_run(storage, QUERY_ACCOUNT_FIRST,
			     STORAGE(SV_TEXT(hash), SV_INT(server_now(server))));
	if (!status)
		status = storage_run(storage, QUERY_SESSION_REMOVE_ALL, STORAGE(SV_TEXT("admin")));
	if (!status)
		status = journal_append_own(storage, server_now(server), "server_made", "admin",
					    "first owner, one-time password");
	if (!status)
		status = storage_commit(storage);
	if (status)
		storage_rollback(storage);
out:
	server_storage_return(server, storage);
	return status;
}

static int open_parts(struct server *server, char *problem, size_t problem_bytes)
{
	const struct server_options *options = &server->options;
	char path[4096];
	int status = make_directory(options->data, problem, problem_bytes);

	snprintf(path, sizeof(path), "%s/objects", options->data);
	if (!status)
		status = make_directory(path, problem, problem_bytes);
	if (!status) {
		status = server->objects->open(path, &server->objects_handle);
		if (status)
			snprintf(problem, problem_bytes, "%s: %s", path, strerror(-status));
	}
	if (!status)
		status =
		    authority_open(options->data, options->names, options->name_count,
				   server_now(server), &server->authority, problem, problem_bytes);
	snprintf(path, sizeof(path), "%s/server.key", options->data);
	if (!status)
		status = open_key(server, path, problem, problem_bytes);
	snprintf(server->database, sizeof(server->database), "%s/server.db", options->data);
	if (!status)
		status = open_storage(server, problem, problem_bytes);
	if (!status) {
		status = make_first_account(server);
		if (!status && server->options.restored)
			status = leap(server);
		if (status)
			snprintf(problem, problem_bytes, "%s: %s", server->database,
				 status == -ENOSPC ? "the disk is full; free some space"
						   : strerror(-status));
	}
	return status;
}

int server_open(const struct server_options *options, struct server **server, char *problem,
		size_t problem_bytes)
{
	struct server *made = calloc(1, sizeof(*made));
	int status = made ? signing_key_start() : -ENOMEM;

	if (status) {
		free(made);
		return status;
	}
	made->options = *options;
	made->objects = &objects_directory;
	pthread_mutex_init(&made->pool.lock, NULL);
	pthread_cond_init(&made->pool.freed, NULL);
	pthread_mutex_init(&made->writers, NULL);
	pthread_mutex_init(&made->password_lock, NULL);
	pthread_mutex_init(&made->journal.lock, NULL);
	made->limits = limits_new(options->open_calls_per_minute ? options->open_calls_per_minute
								 : OPEN_CALLS_USUAL);
	snprintf(problem, problem_bytes, "out of memory");
	status = made->limits ? open_parts(made, problem, problem_bytes) : -ENOMEM;
	if (!status) {
		made->presence = presence_start(made);
		status = made->presence ? http_start(made, problem, problem_bytes) : -ENOMEM;
	}
	if (status) {
		server_close(made);
		return status;
	}
	*server = made;
	return 0;
}

void server_close(struct server *server)
{
	if (!server)
		return;
	http_stop(server);
	presence_stop(server->presence);
	for (size_t i = 0; i < server->pool.count; i++)
		storage_close(&server->pool.connections[i]);
	if (server->objects_handle)
		server->objects->close(server->objects_handle);
	authority_close(server->authority);
	limits_free(server->limits);
	signing_key_forget(&server->key);
	pthread_mutex_destroy(&server->pool.lock);
	pthread_cond_destroy(&server->pool.freed);
	pthread_mutex_destroy(&server->writers);
	pthread_mutex_destroy(&server->password_lock);
	pthread_mutex_destroy(&server->journal.lock);
	free(server);
}
