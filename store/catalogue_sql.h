/* catalogue_sql.h: statements of the catalogue, for catalogue*.c only. */
#ifndef STORE_CATALOGUE_SQL_H
#define STORE_CATALOGUE_SQL_H

#include "store/catalogue.h"

#include <sqlite3.h>

/** Takes the lock and prepares; finish with catalogue_end() whatever happens. */
int catalogue_start(struct catalogue *catalogue, const char *sql, sqlite3_stmt **statement);

/** Steps once: 1 (a row), 0 (done) or a negative errno. */
int catalogue_step(struct catalogue *catalogue, sqlite3_stmt *statement);

/** Steps a statement that returns nothing and ends it. Returns 0 or a negative errno. */
int catalogue_finish(struct catalogue *catalogue, sqlite3_stmt *statement);

void catalogue_end(struct catalogue *catalogue, sqlite3_stmt *statement);

/** Copies a blob column of exactly @bytes. Returns 0 or -EUCLEAN. */
int catalogue_blob(sqlite3_stmt *statement, int column, void *to, size_t bytes);

uint64_t catalogue_last_id(struct catalogue *catalogue);
int catalogue_changes(struct catalogue *catalogue);

#endif
