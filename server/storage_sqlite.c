/*
 * storage_sqlite.c: SQLite as the server's database: write-ahead log, full synchronisation, strict
 * tables, foreign keys. Statements are prepared once per connection.
 */
#include "server/schema.h"
#include "server/step.h"
#include "server/storage.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_WAIT_MS   20000

static const char *const query_texts[QUERY_COUNT] = {
#define QUERY(name, text) [QUERY_##name] = text,
#include "server/queries.def"
#undef QUERY
};

struct sqlite {
	sqlite3 *database;
	sqlite3_stmt *statements[QUERY_COUNT];
};

static int to_errno(int result)
{
	switch (result & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_PERM:
	case SQLITE_READONLY:
	case SQLITE_CANTOPEN:
		return -EACCES;
	case SQLITE_TOOBIG:
		return -EMSGSIZE;
	default:
		return -EIO;
	}
}

static int execute(struct sqlite *sqlite, const char *text)
{
	return to_errno(sqlite3_exec(sqlite->database, text, NULL, NULL, NULL));
}

static int read_version(struct sqlite *sqlite, int *version)
{
	sqlite3_stmt *statement;
	int result =
	    sqlite3_prepare_v2(sqlite->database, "PRAGMA user_version", -1, &statement, NULL);

	if (result == SQLITE_OK) {
		result = sqlite3_step(statement);
		*version = sqlite3_column_int(statement, 0);
		sqlite3_finalize(statement);
	}
	return to_errno(result);
}

/* Tables appear together with their version number or not at all. */
static int create_tables(struct sqlite *sqlite)
{
	char set_version[48];
	int version = 0;
	int status = execute(sqlite, "BEGIN IMMEDIATE");

	if (status)
		return status;
	status = read_version(sqlite, &version);
	if (!status && (version < 0 || version > SCHEMA_VERSION))
		status = -EPROTO;
	if (!status && version == 0) {
		status = execute(sqlite, schema_text_1);
		version = 1;
	}
	for (; !status && version < SCHEMA_VERSION; version++)
		status = execute(sqlite, schema_additions[version - 1]);
	snprintf(set_version, sizeof(set_version), "PRAGMA user_version=%d", SCHEMA_VERSION);
	if (!status)
		status = execute(sqlite, set_version);
	step();
	if (!status)
		status = execute(sqlite, "COMMIT");
	if (status)
		execute(sqlite, "ROLLBACK");
	return status;
}

static void sqlite_close(void *handle)
{
	struct sqlite *sqlite = handle;

	for (int i = 0; i < QUERY_COUNT; i++)
		sqlite3_finalize(sqlite->statements[i]);
	sqlite3_close(sqlite->database);
	free(sqlite);
}

static int sqlite_open(const char *path, void **handle)
{
	struct sqlite *sqlite = calloc(1, sizeof(*sqlite));
	int version = 0, status;

	if (!sqlite)
		return -ENOMEM;
	status = to_errno(sqlite3_open_v2(
	    path, &sqlite->database,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL));
	if (!status) {
		sqlite3_busy_timeout(sqlite->database, BUSY_WAIT_MS);
		status =
		    execute(sqlite, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
				    "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; "
				    "PRAGMA cache_size=-4096; PRAGMA wal_autocheckpoint=1000;");
	}
	if (!status)
		status = read_version(sqlite, &version);
	if (!status && version != SCHEMA_VERSION)
		status = create_tables(sqlite);
	if (status)
		sqlite_close(sqlite);
	else
		*handle = sqlite;
	return status;
}

static int bind(sqlite3_stmt *statement, int index, const struct storage_value *value)
{
	if (!value->bytes)
		return sqlite3_bind_null(statement, index);
	switch (value->kind) {
	case STORAGE_INTEGER:
		return sqlite3_bind_int64(statement, index, value->integer);
	case STORAGE_TEXT:
		return sqlite3_bind_text64(statement, index, value->bytes, value->byte_count,
					   SQLITE_STATIC, SQLITE_UTF8);
	case STORAGE_BLOB:
		return sqlite3_bind_blob64(statement, index, value->bytes, value->byte_count,
					   SQLITE_STATIC);
	}
	return SQLITE_MISUSE;
}

static json_t *column_value(sqlite3_stmt *statement, int column, char mark)
{
	const char *text;
	json_t *value;

	if (mark == '?')
		return json_boolean(sqlite3_column_int64(statement, column));
	switch (sqlite3_column_type(statement, column)) {
	case SQLITE_INTEGER:
		return json_integer(sqlite3_column_int64(statement, column));
	case SQLITE_BLOB:
		return strict_json_new_bytes(sqlite3_column_blob(statement, column),
					     (size_t)sqlite3_column_bytes(statement, column));
	default:
		text = (const char *)sqlite3_column_text(statement, column);
		if (mark != '!')
			return json_stringn_nocheck(
			    text, (size_t)sqlite3_column_bytes(statement, column));
		return strict_json_parse(text, (size_t)sqlite3_column_bytes(statement, column),
					 STRICT_JSON_BYTES_MAX, &value)
			   ? json_null()
			   : value;
	}
}

static int append_row(sqlite3_stmt *statement, json_t *rows)
{
	json_t *row = json_object();
	char key[64];

	if (json_array_append_new(rows, row))
		return -ENOMEM;
	for (int column = 0; column < sqlite3_column_count(statement); column++) {
		size_t length;
		char mark;

		if (sqlite3_column_type(statement, column) == SQLITE_NULL)
			continue;
		snprintf(key, sizeof(key), "%s", sqlite3_column_name(statement, column));
		length = strlen(key);
		mark = key[length - 1];
		if (strchr("?!", mark))
			key[length - 1] = 0;
		if (json_object_set_new_nocheck(row, key, column_value(statement, column, mark)))
			return -ENOMEM;
	}
	return 0;
}

static int sqlite_query(void *handle, enum query query, const struct storage_value *values,
			size_t value_count, json_t *rows, int64_t *changed)
{
	struct sqlite *sqlite = handle;
	sqlite3_stmt *statement = sqlite->statements[query];
	int result = SQLITE_OK, status = 0;

	step();
	if (!statement) {
		result = sqlite3_prepare_v3(sqlite->database, query_texts[query], -1,
					    SQLITE_PREPARE_PERSISTENT, &statement, NULL);
		if (result != SQLITE_OK) {
			fprintf(stderr, "bulkhead-server: query %d: %s\n", query,
				sqlite3_errmsg(sqlite->database));
			return to_errno(result);
		}
		sqlite->statements[query] = statement;
	}
	for (size_t i = 0; i < value_count && result == SQLITE_OK; i++)
		result = bind(statement, (int)i + 1, &values[i]);
	while (result == SQLITE_OK || result == SQLITE_ROW) {
		result = sqlite3_step(statement);
		if (result != SQLITE_ROW)
			break;
		if (rows && (status = append_row(statement, rows)))
			break;
	}
	if (!status)
		status = to_errno(result);
	*changed = sqlite3_changes64(sqlite->database);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return status;
}

static int sqlite_begin(void *handle)
{
	return execute(handle, "BEGIN IMMEDIATE");
}

static int sqlite_commit(void *handle)
{
	step();
	return execute(handle, "COMMIT");
}

static void sqlite_rollback(void *handle)
{
	execute(handle, "ROLLBACK");
}

const struct storage_driver storage_sqlite = {
    .name = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .query = sqlite_query,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
};
