/* catalogue.c: opening, transactions, sessions and runs; see catalogue.h. */
#include "store/catalogue.h"
#include "store/catalogue_sql.h"
#include "store/catalogue_vfs.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_MILLISECONDS 30000

struct catalogue {
	sqlite3 *database;
	struct catalogue_vfs *vfs;
	pthread_mutex_t lock; /* recursive; held through a transaction */
};

static const char schema[] =
    "CREATE TABLE setting(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "INSERT INTO setting VALUES('format', 1), ('epoch', 1);"
    "CREATE TABLE pack(id INTEGER PRIMARY KEY AUTOINCREMENT, salt BLOB NOT NULL UNIQUE,"
    " domain BLOB NOT NULL, table_name BLOB NOT NULL, table_offset INTEGER NOT NULL,"
    " frames INTEGER NOT NULL, state INTEGER NOT NULL, remote INTEGER NOT NULL,"
    " present BLOB NOT NULL, dead BLOB NOT NULL, leaving BLOB NOT NULL,"
    " dead_epoch INTEGER NOT NULL, session INTEGER NOT NULL);"
    "CREATE TABLE version(id BLOB PRIMARY KEY, domain BLOB NOT NULL, label TEXT NOT NULL,"
    " created INTEGER NOT NULL, disk_bytes INTEGER NOT NULL, stored_bytes INTEGER NOT NULL,"
    " arrived INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE use(pack INTEGER NOT NULL, version BLOB NOT NULL, used BLOB NOT NULL,"
    " PRIMARY KEY(pack, version)) WITHOUT ROWID;"
    "CREATE INDEX use_version ON use(version);"
    "CREATE TABLE run(id INTEGER PRIMARY KEY AUTOINCREMENT, domain BLOB NOT NULL,"
    " entries INTEGER NOT NULL);"
    "CREATE TABLE session(id INTEGER PRIMARY KEY AUTOINCREMENT, epoch INTEGER NOT NULL,"
    " expires INTEGER NOT NULL);"
    "PRAGMA user_version = 1;";

/* Turns SQLite's verdict into an errno, the file system's own if there is one. */
static int error_of(struct catalogue *catalogue, int code)
{
	int cause = catalogue_vfs_take_error(catalogue->vfs);

	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_BUSY:
		return -EBUSY;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return cause ? cause : -ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	default:
		return cause ? cause : -EIO;
	}
}

static int run_sql(struct catalogue *catalogue, const char *sql)
{
	return error_of(catalogue, sqlite3_exec(catalogue->database, sql, NULL, NULL, NULL));
}

static int user_version(struct catalogue *catalogue, int *version)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue, "PRAGMA user_version", &statement);

	if (!error) {
		error = catalogue_step(catalogue, statement);
		if (error == 1) {
			*version = sqlite3_column_int(statement, 0);
			error = 0;
		}
	}
	catalogue_end(catalogue, statement);
	return error;
}

static int prepare_schema(struct catalogue *catalogue)
{
	int version = 0;
	int error = catalogue_begin(catalogue);

	if (error)
		return error;
	error = user_version(catalogue, &version);
	if (!error && !version)
		error = run_sql(catalogue, schema);
	else if (!error && version != STORE_FORMAT)
		error = -EPROTO;
	if (!error)
		return catalogue_commit(catalogue);
	catalogue_rollback(catalogue);
	return error;
}

int catalogue_open(struct store_files *files, struct catalogue **opened, struct problem *problem)
{
	struct catalogue *catalogue = calloc(1, sizeof(*catalogue));
	pthread_mutexattr_t attributes;
	int error;

	if (!catalogue)
		return -ENOMEM;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&catalogue->lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	error = catalogue_vfs_new(files, &catalogue->vfs);
	if (!error)
		error = error_of(catalogue,
				 sqlite3_open_v2("catalogue.db", &catalogue->database,
						 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
						     SQLITE_OPEN_FULLMUTEX,
						 catalogue_vfs_name(catalogue->vfs)));
	if (!error)
		error = error_of(catalogue,
				 sqlite3_busy_timeout(catalogue->database, BUSY_MILLISECONDS));
	if (!error)
		error = run_sql(catalogue, "PRAGMA page_size = 4096; PRAGMA temp_store = MEMORY;"
					   "PRAGMA journal_mode = DELETE;"
					   "PRAGMA synchronous = EXTRA; PRAGMA cache_size = -16384");
	if (!error)
		error = prepare_schema(catalogue);
	if (!error) {
		*opened = catalogue;
		return 0;
	}
	catalogue_close(catalogue);
	if (error == -EPROTO)
		return problem_set(problem, error, "the store's catalogue has another format; "
						   "use the release that wrote it, or rebuild it");
	if (error == -EUCLEAN)
		return problem_set(problem, error, "the store's catalogue is damaged; rebuild it "
						   "from the packs (bulkhead store rebuild)");
	return problem_errno(problem, error, "cannot open the store's catalogue");
}

void catalogue_close(struct catalogue *catalogue)
{
	if (!catalogue)
		return;
	sqlite3_close(catalogue->database);
	if (catalogue->vfs)
		catalogue_vfs_free(catalogue->vfs);
	pthread_mutex_destroy(&catalogue->lock);
	free(catalogue);
}

int catalogue_begin(struct catalogue *catalogue)
{
	int error;

	pthread_mutex_lock(&catalogue->lock);
	error = run_sql(catalogue, "BEGIN IMMEDIATE");
	if (error)
		pthread_mutex_unlock(&catalogue->lock);
	return error;
}

int catalogue_commit(struct catalogue *catalogue)
{
	int error = run_sql(catalogue, "COMMIT");

	if (error) {
		catalogue_rollback(catalogue);
		return error;
	}
	pthread_mutex_unlock(&catalogue->lock);
	return 0;
}

void catalogue_rollback(struct catalogue *catalogue)
{
	/* SQLite may have rolled back by itself; then there is nothing left to do. */
	if (!sqlite3_get_autocommit(catalogue->database))
		(void)run_sql(catalogue, "ROLLBACK");
	pthread_mutex_unlock(&catalogue->lock);
}

int catalogue_start(struct catalogue *catalogue, const char *sql, sqlite3_stmt **statement)
{
	*statement = NULL;
	pthread_mutex_lock(&catalogue->lock);
	return error_of(catalogue,
			sqlite3_prepare_v2(catalogue->database, sql, -1, statement, NULL));
}

int catalogue_step(struct catalogue *catalogue, sqlite3_stmt *statement)
{
	int code = sqlite3_step(statement);

	return code == SQLITE_ROW ? 1 : error_of(catalogue, code);
}

void catalogue_end(struct catalogue *catalogue, sqlite3_stmt *statement)
{
	sqlite3_finalize(statement);
	pthread_mutex_unlock(&catalogue->lock);
}

int catalogue_finish(struct catalogue *catalogue, sqlite3_stmt *statement)
{
	int error = catalogue_step(catalogue, statement);

	catalogue_end(catalogue, statement);
	return error > 0 ? 0 : error;
}

int catalogue_blob(sqlite3_stmt *statement, int column, void *to, size_t bytes)
{
	const void *blob = sqlite3_column_blob(statement, column);

	if (!blob || (size_t)sqlite3_column_bytes(statement, column) != bytes)
		return -EUCLEAN;
	memcpy(to, blob, bytes);
	return 0;
}

uint64_t catalogue_last_id(struct catalogue *catalogue)
{
	return (uint64_t)sqlite3_last_insert_rowid(catalogue->database);
}

int catalogue_changes(struct catalogue *catalogue)
{
	return sqlite3_changes(catalogue->database);
}

int catalogue_add_run(struct catalogue *catalogue, const uint8_t domain[DOMAIN_ID_BYTES],
		      struct run_row *row)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue, "INSERT INTO run(domain, entries) VALUES(?, ?)",
				    &statement);

	if (!error) {
		sqlite3_bind_blob(statement, 1, domain, DOMAIN_ID_BYTES, SQLITE_TRANSIENT);
		sqlite3_bind_int64(statement, 2, (sqlite3_int64)row->entries);
		error = catalogue_step(catalogue, statement);
		row->id = catalogue_last_id(catalogue);
	}
	catalogue_end(catalogue, statement);
	return error;
}

/* Runs a statement with up to two numbers. */
static int run_numbers(struct catalogue *catalogue, const char *sql, uint64_t first, uint64_t second)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue, sql, &statement);

	if (error) {
		catalogue_end(catalogue, statement);
		return error;
	}
	sqlite3_bind_int64(statement, 1, (sqlite3_int64)first);
	if (sqlite3_bind_parameter_count(statement) > 1)
		sqlite3_bind_int64(statement, 2, (sqlite3_int64)second);
	return catalogue_finish(catalogue, statement);
}

int catalogue_remove_run(struct catalogue *catalogue, uint64_t id)
{
	return run_numbers(catalogue, "DELETE FROM run WHERE id = ?", id, 0);
}

int catalogue_next_run(struct catalogue *catalogue, const uint8_t *domain, uint64_t before,
		       struct run_row *row)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue,
				    "SELECT id, entries FROM run WHERE domain = ? AND id < ?"
				    " ORDER BY id DESC LIMIT 1",
				    &statement);

	if (!error) {
		sqlite3_bind_blob(statement, 1, domain, DOMAIN_ID_BYTES, SQLITE_TRANSIENT);
		sqlite3_bind_int64(statement, 2,
				   (sqlite3_int64)(before > INT64_MAX ? INT64_MAX : before));
		error = catalogue_step(catalogue, statement);
		if (error == 1) {
			row->id = (uint64_t)sqlite3_column_int64(statement, 0);
			row->entries = (uint64_t)sqlite3_column_int64(statement, 1);
		}
		error = error == 1 ? 0 : error ? error : -ENOENT;
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_add_session(struct catalogue *catalogue, uint64_t expires, uint64_t *id)
{
	int error = run_numbers(catalogue,
				"INSERT INTO session(epoch, expires)"
				" SELECT value, ? FROM setting WHERE name = 'epoch'",
				expires, 0);

	*id = catalogue_last_id(catalogue);
	return error;
}

int catalogue_renew_session(struct catalogue *catalogue, uint64_t id, uint64_t expires)
{
	int error = run_numbers(catalogue, "UPDATE session SET expires = ? WHERE id = ?", expires, id);

	if (error)
		return error;
	return catalogue_changes(catalogue) ? 0 : -ENOENT;
}

/* Whether a query about one number gives a row. */
static int has_row(struct catalogue *catalogue, const char *sql, uint64_t id)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue, sql, &statement);

	if (!error) {
		sqlite3_bind_int64(statement, 1, (sqlite3_int64)id);
		error = catalogue_step(catalogue, statement);
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_has_session(struct catalogue *catalogue, uint64_t id)
{
	return has_row(catalogue, "SELECT 1 FROM session WHERE id = ?", id);
}

int catalogue_has_run(struct catalogue *catalogue, uint64_t id)
{
	return has_row(catalogue, "SELECT 1 FROM run WHERE id = ?", id);
}

int catalogue_remove_session(struct catalogue *catalogue, uint64_t id)
{
	return run_numbers(catalogue, "DELETE FROM session WHERE id = ?", id, 0);
}

int catalogue_expire_sessions(struct catalogue *catalogue, uint64_t now)
{
	return run_numbers(catalogue, "DELETE FROM session WHERE expires < ?", now, 0);
}

/* The one number that a query returns. */
static int one_number(struct catalogue *catalogue, const char *sql, uint64_t *number)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue, sql, &statement);

	if (!error) {
		error = catalogue_step(catalogue, statement);
		if (error == 1)
			*number = (uint64_t)sqlite3_column_int64(statement, 0);
		error = error == 1 ? 0 : error ? error : -EUCLEAN;
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_oldest_session(struct catalogue *catalogue, uint64_t *epoch)
{
	return one_number(catalogue, "SELECT coalesce(min(epoch), -1) FROM session", epoch);
}

int catalogue_raise_epoch(struct catalogue *catalogue, uint64_t *epoch)
{
	int error = run_numbers(catalogue,
				"UPDATE setting SET value = value + ? WHERE name = 'epoch'", 1, 0);

	if (error)
		return error;
	return one_number(catalogue, "SELECT value FROM setting WHERE name = 'epoch'", epoch);
}
