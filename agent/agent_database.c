/* What the agent must remember: see agent_database.h. */
#include "agent_database.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char schema[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
    "CREATE TABLE IF NOT EXISTS guest(name TEXT PRIMARY KEY, current INTEGER NOT NULL, previous "
    "INTEGER NOT NULL,"
    " wanted INTEGER NOT NULL, assigned INTEGER NOT NULL, held_back INTEGER NOT NULL, held_release "
    "INTEGER NOT NULL,"
    " switched INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS wrapped(name TEXT PRIMARY KEY, blob BLOB NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS disk(guest TEXT PRIMARY KEY, disk TEXT NOT NULL, epoch INTEGER NOT "
    "NULL,"
    " newest INTEGER NOT NULL, last_backup INTEGER NOT NULL, label TEXT NOT NULL, version TEXT NOT "
    "NULL,"
    " copies_sent INTEGER NOT NULL) STRICT;";

enum query {
	GUEST_GET,
	GUEST_PUT,
	GUEST_DELETE,
	GUEST_LIST,
	KEY_GET,
	KEY_PUT,
	KEY_DELETE,
	DISK_GET,
	DISK_PUT,
	DISK_DELETE,
	QUERY_COUNT,
};

static const char *const queries[QUERY_COUNT] = {
    [GUEST_GET] = "SELECT name,current,previous,wanted,assigned,held_back,held_release,switched "
		  "FROM guest WHERE name=?1",
    [GUEST_PUT] = "INSERT OR REPLACE INTO guest VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
    [GUEST_DELETE] = "DELETE FROM guest WHERE name=?1",
    [GUEST_LIST] = "SELECT name,current,previous,wanted,assigned,held_back,held_release,switched "
		   "FROM guest ORDER BY name",
    [KEY_GET] = "SELECT blob FROM wrapped WHERE name=?1",
    [KEY_PUT] = "INSERT OR REPLACE INTO wrapped VALUES(?1,?2)",
    [KEY_DELETE] = "DELETE FROM wrapped WHERE substr(name,1,length(?1)+1)=?1||'/'",
    [DISK_GET] = "SELECT guest,disk,epoch,newest,last_backup,label,version,copies_sent FROM disk "
		 "WHERE guest=?1",
    [DISK_PUT] = "INSERT OR REPLACE INTO disk VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
    [DISK_DELETE] = "DELETE FROM disk WHERE guest=?1",
};

struct agent_database {
	sqlite3 *file;
	sqlite3_stmt *statements[QUERY_COUNT];
	pthread_mutex_t lock;
	char error[200];
};

int agent_database_open(const char *path, struct agent_database **database, char error[256])
{
	struct agent_database *new = calloc(1, sizeof(*new));

	*database = NULL;
	if (!new)
		return -ENOMEM;
	pthread_mutex_init(&new->lock, NULL);
	if (sqlite3_open_v2(path, &new->file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
		SQLITE_OK ||
	    sqlite3_exec(new->file, schema, NULL, NULL, NULL) != SQLITE_OK)
		goto failed;
	for (int i = 0; i < QUERY_COUNT; i++)
		if (sqlite3_prepare_v3(new->file, queries[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &new->statements[i], NULL) != SQLITE_OK)
			goto failed;
	*database = new;
	return 0;
failed:
	snprintf(error, 256, "%.120s: %.120s", path, sqlite3_errmsg(new->file));
	agent_database_close(new);
	return -EIO;
}

void agent_database_close(struct agent_database *database)
{
	if (!database)
		return;
	for (int i = 0; i < QUERY_COUNT; i++)
		sqlite3_finalize(database->statements[i]);
	sqlite3_close(database->file);
	pthread_mutex_destroy(&database->lock);
	free(database);
}

const char *agent_database_error(const struct agent_database *database)
{
	return database->error;
}

static sqlite3_stmt *begin(struct agent_database *database, enum query query)
{
	pthread_mutex_lock(&database->lock);
	return database->statements[query];
}

static int end(struct agent_database *database, sqlite3_stmt *statement, int result)
{
	if (result == -EIO)
		snprintf(database->error, sizeof(database->error), "agent's database: %.170s",
			 sqlite3_errmsg(database->file));
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	pthread_mutex_unlock(&database->lock);
	return result;
}

/** Steps a statement that returns nothing. */
static int run(struct agent_database *database, sqlite3_stmt *statement)
{
	return end(database, statement, sqlite3_step(statement) == SQLITE_DONE ? 0 : -EIO);
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
	sqlite3_bind_text(statement, index, text, -1, SQLITE_TRANSIENT);
}

static void copy_text(sqlite3_stmt *statement, int column, char *text, size_t capacity)
{
	const unsigned char *value = sqlite3_column_text(statement, column);

	snprintf(text, capacity, "%s", value ? (const char *)value : "");
}

static void read_guest(sqlite3_stmt *statement, struct agent_guest_row *row)
{
	memset(row, 0, sizeof(*row));
	copy_text(statement, 0, row->name, sizeof(row->name));
	row->current = (uint64_t)sqlite3_column_int64(statement, 1);
	row->previous = (uint64_t)sqlite3_column_int64(statement, 2);
	row->wanted = (uint64_t)sqlite3_column_int64(statement, 3);
	row->assigned = sqlite3_column_int(statement, 4) != 0;
	row->held_back = sqlite3_column_int(statement, 5) != 0;
	row->held_release = (uint64_t)sqlite3_column_int64(statement, 6);
	row->switched = sqlite3_column_int64(statement, 7);
}

int agent_database_guest_get(struct agent_database *database, const char *name,
			     struct agent_guest_row *row)
{
	sqlite3_stmt *statement = begin(database, GUEST_GET);
	int step;

	bind_text(statement, 1, name);
	step = sqlite3_step(statement);
	if (step == SQLITE_ROW)
		read_guest(statement, row);
	return end(database, statement,
		   step == SQLITE_ROW	 ? 0
		   : step == SQLITE_DONE ? -ENOENT
					 : -EIO);
}

int agent_database_guest_put(struct agent_database *database, const struct agent_guest_row *row)
{
	sqlite3_stmt *statement = begin(database, GUEST_PUT);

	bind_text(statement, 1, row->name);
	sqlite3_bind_int64(statement, 2, (sqlite3_int64)row->current);
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)row->previous);
	sqlite3_bind_int64(statement, 4, (sqlite3_int64)row->wanted);
	sqlite3_bind_int(statement, 5, row->assigned);
	sqlite3_bind_int(statement, 6, row->held_back);
	sqlite3_bind_int64(statement, 7, (sqlite3_int64)row->held_release);
	sqlite3_bind_int64(statement, 8, row->switched);
	return run(database, statement);
}

int agent_database_guest_delete(struct agent_database *database, const char *name)
{
	sqlite3_stmt *statement = begin(database, GUEST_DELETE);

	bind_text(statement, 1, name);
	return run(database, statement);
}

int agent_database_guests(struct agent_database *database,
			  int (*each)(void *context, const struct agent_guest_row *row),
			  void *context)
{
	struct agent_guest_row rows[32];
	sqlite3_stmt *statement = begin(database, GUEST_LIST);
	int step = SQLITE_DONE, count = 0, result = 0;

	while (count < 32 && (step = sqlite3_step(statement)) == SQLITE_ROW)
		read_guest(statement, &rows[count++]);
	result = end(database, statement, step == SQLITE_ROW || step == SQLITE_DONE ? 0 : -EIO);
	/* Called without the lock, so that `each` may use the database. */
	for (int i = 0; result == 0 && i < count; i++)
		result = each(context, &rows[i]);
	return result;
}

int agent_database_key_get(struct agent_database *database, const char *name,
			   struct agent_blob *blob)
{
	sqlite3_stmt *statement = begin(database, KEY_GET);
	int step, size;

	bind_text(statement, 1, name);
	step = sqlite3_step(statement);
	if (step != SQLITE_ROW)
		return end(database, statement, step == SQLITE_DONE ? -ENOENT : -EIO);
	size = sqlite3_column_bytes(statement, 0);
	if (size <= 0 || (size_t)size > sizeof(blob->bytes))
		return end(database, statement, -EIO);
	memcpy(blob->bytes, sqlite3_column_blob(statement, 0), (size_t)size);
	blob->size_bytes = (size_t)size;
	return end(database, statement, 0);
}

int agent_database_key_put(struct agent_database *database, const char *name,
			   const struct agent_blob *blob)
{
	sqlite3_stmt *statement = begin(database, KEY_PUT);

	bind_text(statement, 1, name);
	sqlite3_bind_blob(statement, 2, blob->bytes, (int)blob->size_bytes, SQLITE_TRANSIENT);
	return run(database, statement);
}

int agent_database_key_delete(struct agent_database *database, const char *guest)
{
	sqlite3_stmt *statement = begin(database, KEY_DELETE);

	bind_text(statement, 1, guest);
	return run(database, statement);
}

int agent_database_disk_get(struct agent_database *database, const char *guest,
			    struct agent_disk_row *row)
{
	sqlite3_stmt *statement = begin(database, DISK_GET);
	int step;

	bind_text(statement, 1, guest);
	step = sqlite3_step(statement);
	if (step != SQLITE_ROW)
		return end(database, statement, step == SQLITE_DONE ? -ENOENT : -EIO);
	memset(row, 0, sizeof(*row));
	copy_text(statement, 0, row->guest, sizeof(row->guest));
	copy_text(statement, 1, row->disk, sizeof(row->disk));
	row->epoch = (uint64_t)sqlite3_column_int64(statement, 2);
	row->newest = (uint64_t)sqlite3_column_int64(statement, 3);
	row->last_backup = sqlite3_column_int64(statement, 4);
	copy_text(statement, 5, row->label, sizeof(row->label));
	copy_text(statement, 6, row->version, sizeof(row->version));
	row->copies_sent = sqlite3_column_int(statement, 7) != 0;
	return end(database, statement, 0);
}

int agent_database_disk_put(struct agent_database *database, const struct agent_disk_row *row)
{
	sqlite3_stmt *statement = begin(database, DISK_PUT);

	bind_text(statement, 1, row->guest);
	bind_text(statement, 2, row->disk);
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)row->epoch);
	sqlite3_bind_int64(statement, 4, (sqlite3_int64)row->newest);
	sqlite3_bind_int64(statement, 5, row->last_backup);
	bind_text(statement, 6, row->label);
	bind_text(statement, 7, row->version);
	sqlite3_bind_int(statement, 8, row->copies_sent);
	return run(database, statement);
}

int agent_database_disk_delete(struct agent_database *database, const char *guest)
{
	sqlite3_stmt *statement = begin(database, DISK_DELETE);

	bind_text(statement, 1, guest);
	return run(database, statement);
}
