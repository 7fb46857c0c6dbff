/*
 * storage.h: the server's database behind one interface.
 *
 * Calls name a query of queries.def and pass typed values; nothing outside this part and that file
 * knows SQL. A driver executes one text with values and hands rows back. SQLite is the driver here;
 * another one brings its own texts under the same names. Rows become JSON objects: the column's
 * alias is the key; an alias ending in '?' gives a boolean, in '!' embedded JSON; a blob becomes
 * base64; NULL leaves the key out.
 */
#ifndef SERVER_STORAGE_H
#define SERVER_STORAGE_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum query {
#define QUERY(name, text) QUERY_##name,
#include "server/queries.def"
#undef QUERY
	QUERY_COUNT
};

enum storage_kind { STORAGE_INTEGER, STORAGE_TEXT, STORAGE_BLOB };

struct storage_value {
	enum storage_kind kind;
	int64_t integer;
	const void *bytes; /* NULL is SQL's NULL */
	size_t byte_count;
};

#define STORAGE_VALUES_MAX 16

/* Values for storage_run() and friends. */
#define SV_INT(number)	 ((struct storage_value){STORAGE_INTEGER, (int64_t)(number), "", 0})
#define SV_TEXT(text)	 storage_text(text)
#define SV_BLOB(data, n) ((struct storage_value){STORAGE_BLOB, 0, (data), (n)})

struct storage_value storage_text(const char *text);

struct storage_driver {
	const char *name;
	/* Opens (and, if new, creates) the database. -EPROTO: another schema version. */
	int (*open)(const char *path, void **handle);
	void (*close)(void *handle);
	/* Runs one text. @rows NULL: no rows are wanted. @changed: rows that were changed. */
	int (*query)(void *handle, enum query query, const struct storage_value *values,
		     size_t value_count, json_t *rows, int64_t *changed);
	/* begin: a transaction that may write, and therefore waits for the one before it. */
	int (*begin)(void *handle);
	int (*commit)(void *handle);
	void (*rollback)(void *handle);
};

extern const struct storage_driver storage_sqlite;

/** One connection; used by one thread at a time. */
struct storage {
	const struct storage_driver *driver;
	void *handle;
	int64_t changed; /* rows changed by the last query */
	/* Orders this process's writers, or NULL: in SQLite, a writer that finds another one at
	 * work sleeps and tries again, longer each time. */
	pthread_mutex_t *writers;
	bool writes;
};

/** Opens a connection. Returns 0, -EPROTO (made by another version of Bulkhead), -EIO, -ENOSPC,
 * -EACCES. */
int storage_open(struct storage *storage, const struct storage_driver *driver, const char *path);
void storage_close(struct storage *storage);

/** Begins a transaction that may write. Ended by storage_commit(), or by storage_rollback(), which
 * a commit that failed needs too. Returns 0 (only then is there anything to end), -EBUSY, -EIO. */
int storage_begin(struct storage *storage);
int storage_commit(struct storage *storage);
void storage_rollback(struct storage *storage);

/**
 * Runs a query that returns nothing. Pass values with STORAGE(...).
 * Returns 0, -EEXIST (unique or foreign key), -ENOSPC, -EBUSY, -EIO.
 */
int storage_run(struct storage *storage, enum query query, const struct storage_value *values,
		size_t value_count);

/** Runs a query and returns all rows as a new array. */
int storage_rows(struct storage *storage, enum query query, const struct storage_value *values,
		 size_t value_count, json_t **rows);

/** Runs a query and returns its first row as a new object, or -ENOENT. */
int storage_row(struct storage *storage, enum query query, const struct storage_value *values,
		size_t value_count, json_t **row);

/* Spells "values, value_count" for the three above. */
#define STORAGE(...)                                                                               \
	(const struct storage_value[]){__VA_ARGS__},                                               \
	    sizeof((const struct storage_value[]){__VA_ARGS__}) / sizeof(struct storage_value)
#define STORAGE_NONE NULL, 0

#endif
