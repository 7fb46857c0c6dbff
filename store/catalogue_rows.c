/* catalogue_rows.c: packs, versions and who uses what; see catalogue.h. */
#include "store/bytes.h"
#include "store/catalogue.h"
#include "store/catalogue_sql.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PACK_COLUMNS                                                                               \
	"id, salt, domain, table_name, table_offset, frames, state, remote, present, dead,"        \
	" leaving, dead_epoch, session"

int pack_row_make(struct pack_row *row)
{
	size_t bytes = bitmap_bytes(row->frame_count) + 1;

	row->present = calloc(1, bytes);
	row->dead = calloc(1, bytes);
	row->leaving = calloc(1, bytes);
	if (row->present && row->dead && row->leaving)
		return 0;
	pack_row_release(row);
	return -ENOMEM;
}

void pack_row_release(struct pack_row *row)
{
	free(row->present);
	free(row->dead);
	free(row->leaving);
	row->present = row->dead = row->leaving = NULL;
}

static void bind_bitmap(sqlite3_stmt *statement, int column, const uint8_t *map, uint32_t bits)
{
	/* An empty blob, not NULL, for a pack that has no frame yet. */
	if (bits)
		sqlite3_bind_blob(statement, column, map, (int)bitmap_bytes(bits),
				  SQLITE_TRANSIENT);
	else
		sqlite3_bind_zeroblob(statement, column, 0);
}

/* Binds columns 1..12: everything but the id. */
static void bind_pack(sqlite3_stmt *statement, const struct pack_row *row)
{
	sqlite3_bind_blob(statement, 1, row->salt, SALT_BYTES, SQLITE_TRANSIENT);
	sqlite3_bind_blob(statement, 2, row->domain, DOMAIN_ID_BYTES, SQLITE_TRANSIENT);
	sqlite3_bind_blob(statement, 3, row->table_name, NAME_BYTES, SQLITE_TRANSIENT);
	sqlite3_bind_int64(statement, 4, row->table_offset);
	sqlite3_bind_int64(statement, 5, row->frame_count);
	sqlite3_bind_int(statement, 6, (int)row->state);
	sqlite3_bind_int(statement, 7, row->remote);
	bind_bitmap(statement, 8, row->present, row->frame_count);
	bind_bitmap(statement, 9, row->dead, row->frame_count);
	bind_bitmap(statement, 10, row->leaving, row->frame_count);
	sqlite3_bind_int64(statement, 11, (sqlite3_int64)row->dead_epoch);
	sqlite3_bind_int64(statement, 12, (sqlite3_int64)row->session);
}

static int read_pack(sqlite3_stmt *statement, struct pack_row *row)
{
	uint32_t bytes;
	int error;

	memset(row, 0, sizeof(*row));
	row->id = (uint32_t)sqlite3_column_int64(statement, 0);
	row->table_offset = (uint32_t)sqlite3_column_int64(statement, 4);
	row->frame_count = (uint32_t)sqlite3_column_int64(statement, 5);
	row->state = (enum pack_state)sqlite3_column_int(statement, 6);
	row->remote = sqlite3_column_int(statement, 7);
	row->dead_epoch = (uint64_t)sqlite3_column_int64(statement, 11);
	row->session = (uint64_t)sqlite3_column_int64(statement, 12);
	if (row->frame_count > PACK_FRAMES_MAX || row->state > PACK_LEAVING)
		return -EUCLEAN;
	error = catalogue_blob(statement, 1, row->salt, SALT_BYTES);
	if (!error)
		error = catalogue_blob(statement, 2, row->domain, DOMAIN_ID_BYTES);
	if (!error)
		error = catalogue_blob(statement, 3, row->table_name, NAME_BYTES);
	if (!error)
		error = pack_row_make(row);
	if (error || !row->frame_count)
		return error;
	bytes = (uint32_t)bitmap_bytes(row->frame_count);
	error = catalogue_blob(statement, 8, row->present, bytes);
	if (!error)
		error = catalogue_blob(statement, 9, row->dead, bytes);
	if (!error)
		error = catalogue_blob(statement, 10, row->leaving, bytes);
	if (error)
		pack_row_release(row);
	return error;
}

int catalogue_add_pack(struct catalogue *catalogue, struct pack_row *row)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue,
				    "INSERT INTO pack(salt, domain, table_name, table_offset, frames,"
				    " state, remote, present, dead, leaving, dead_epoch, session)"
				    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
				    &statement);

	if (!error) {
		bind_pack(statement, row);
		error = catalogue_step(catalogue, statement);
		row->id = (uint32_t)catalogue_last_id(catalogue);
	}
	catalogue_end(catalogue, statement);
	return error;
}

/* Steps a query that gives at most one pack. */
static int one_pack(struct catalogue *catalogue, sqlite3_stmt *statement, struct pack_row *row)
{
	int error = catalogue_step(catalogue, statement);

	memset(row, 0, sizeof(*row));
	if (error == 1)
		return read_pack(statement, row);
	return error ? error : -ENOENT;
}

int catalogue_find_pack(struct catalogue *catalogue, const uint8_t salt[SALT_BYTES],
			struct pack_row *row)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(
	    catalogue, "SELECT " PACK_COLUMNS " FROM pack WHERE salt = ?", &statement);

	if (!error) {
		sqlite3_bind_blob(statement, 1, salt, SALT_BYTES, SQLITE_TRANSIENT);
		error = one_pack(catalogue, statement, row);
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_get_pack(struct catalogue *catalogue, uint32_t id, struct pack_row *row)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue, "SELECT " PACK_COLUMNS " FROM pack WHERE id = ?",
				    &statement);

	if (!error) {
		sqlite3_bind_int64(statement, 1, id);
		error = one_pack(catalogue, statement, row);
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_next_pack(struct catalogue *catalogue, const uint8_t *domain, uint32_t after,
			struct pack_row *row)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue,
				    "SELECT " PACK_COLUMNS " FROM pack WHERE id > ?1 AND"
				    " (?2 IS NULL OR domain = ?2) ORDER BY id LIMIT 1",
				    &statement);

	if (!error) {
		sqlite3_bind_int64(statement, 1, after);
		if (domain)
			sqlite3_bind_blob(statement, 2, domain, DOMAIN_ID_BYTES, SQLITE_TRANSIENT);
		error = one_pack(catalogue, statement, row);
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_update_pack(struct catalogue *catalogue, const struct pack_row *row)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(
	    catalogue,
	    "UPDATE pack SET salt = ?1, domain = ?2, table_name = ?3, table_offset = ?4,"
	    " frames = ?5, state = ?6, remote = ?7, present = ?8, dead = ?9, leaving = ?10,"
	    " dead_epoch = ?11, session = ?12 WHERE id = ?13",
	    &statement);

	if (!error) {
		bind_pack(statement, row);
		sqlite3_bind_int64(statement, 13, row->id);
		error = catalogue_step(catalogue, statement);
		if (!error && !catalogue_changes(catalogue))
			error = -ENOENT;
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_remove_pack(struct catalogue *catalogue, uint32_t id)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue, "DELETE FROM pack WHERE id = ?", &statement);

	if (!error) {
		sqlite3_bind_int64(statement, 1, id);
		error = catalogue_step(catalogue, statement);
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_add_version(struct catalogue *catalogue, const struct version_row *row)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(
	    catalogue, "INSERT INTO version VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)", &statement);

	if (!error) {
		sqlite3_bind_blob(statement, 1, row->id, VERSION_ID_BYTES, SQLITE_TRANSIENT);
		sqlite3_bind_blob(statement, 2, row->domain, DOMAIN_ID_BYTES, SQLITE_TRANSIENT);
		sqlite3_bind_text(statement, 3, row->label, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int64(statement, 4, (sqlite3_int64)row->created);
		sqlite3_bind_int64(statement, 5, (sqlite3_int64)row->disk_bytes);
		sqlite3_bind_int64(statement, 6, (sqlite3_int64)row->stored_bytes);
		sqlite3_bind_int(statement, 7, row->arrived);
		error = catalogue_step(catalogue, statement);
	}
	catalogue_end(catalogue, statement);
	return error;
}

static int read_version(sqlite3_stmt *statement, struct version_row *row)
{
	const unsigned char *label = sqlite3_column_text(statement, 2);
	int error = catalogue_blob(statement, 0, row->id, VERSION_ID_BYTES);

	if (!error)
		error = catalogue_blob(statement, 1, row->domain, DOMAIN_ID_BYTES);
	if (error || !label)
		return -EUCLEAN;
	snprintf(row->label, sizeof(row->label), "%s", label);
	row->created = (uint64_t)sqlite3_column_int64(statement, 3);
	row->disk_bytes = (uint64_t)sqlite3_column_int64(statement, 4);
	row->stored_bytes = (uint64_t)sqlite3_column_int64(statement, 5);
	row->arrived = sqlite3_column_int(statement, 6);
	return 0;
}

int catalogue_get_version(struct catalogue *catalogue, const uint8_t id[VERSION_ID_BYTES],
			  struct version_row *row)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue, "SELECT * FROM version WHERE id = ?", &statement);

	if (!error) {
		sqlite3_bind_blob(statement, 1, id, VERSION_ID_BYTES, SQLITE_TRANSIENT);
		error = catalogue_step(catalogue, statement);
		error = error == 1 ? read_version(statement, row) : error ? error : -ENOENT;
	}
	catalogue_end(catalogue, statement);
	return error;
}

/* Runs a statement whose one parameter is a version's id. */
static int run_version(struct catalogue *catalogue, const char *sql,
		       const uint8_t id[VERSION_ID_BYTES])
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue, sql, &statement);

	if (!error) {
		sqlite3_bind_blob(statement, 1, id, VERSION_ID_BYTES, SQLITE_TRANSIENT);
		error = catalogue_step(catalogue, statement);
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_set_arrived(struct catalogue *catalogue, const uint8_t id[VERSION_ID_BYTES])
{
	return run_version(catalogue, "UPDATE version SET arrived = 1 WHERE id = ?", id);
}

int catalogue_clear_arrived(struct catalogue *catalogue, uint32_t pack)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue,
				    "UPDATE version SET arrived = 0 WHERE id IN"
				    " (SELECT version FROM use WHERE pack = ?)",
				    &statement);

	if (!error) {
		sqlite3_bind_int64(statement, 1, pack);
		error = catalogue_step(catalogue, statement);
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_remove_version(struct catalogue *catalogue, const uint8_t id[VERSION_ID_BYTES])
{
	int error = run_version(catalogue, "DELETE FROM use WHERE version = ?", id);

	return error ? error : run_version(catalogue, "DELETE FROM version WHERE id = ?", id);
}

int catalogue_each_version(struct catalogue *catalogue,
			   int (*each)(void *context, const struct version_row *row),
			   void *context)
{
	sqlite3_stmt *statement;
	struct version_row row;
	int error = catalogue_start(catalogue, "SELECT * FROM version ORDER BY created, label",
				    &statement);

	while (!error && (error = catalogue_step(catalogue, statement)) == 1) {
		error = read_version(statement, &row);
		if (!error)
			error = each(context, &row);
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_add_use(struct catalogue *catalogue, const uint8_t version[VERSION_ID_BYTES],
		      uint32_t pack, const uint8_t *used, uint32_t frame_count)
{
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue, "INSERT INTO use(pack, version, used) VALUES(?, ?, ?)",
				    &statement);

	if (!error) {
		sqlite3_bind_int64(statement, 1, pack);
		sqlite3_bind_blob(statement, 2, version, VERSION_ID_BYTES, SQLITE_TRANSIENT);
		bind_bitmap(statement, 3, used, frame_count);
		error = catalogue_step(catalogue, statement);
	}
	catalogue_end(catalogue, statement);
	return error;
}

int catalogue_live(struct catalogue *catalogue, uint32_t pack, uint8_t *live, uint32_t frame_count)
{
	size_t bytes = bitmap_bytes(frame_count);
	sqlite3_stmt *statement;
	int error = catalogue_start(catalogue, "SELECT used FROM use WHERE pack = ?", &statement);

	if (!error)
		sqlite3_bind_int64(statement, 1, pack);
	while (!error && (error = catalogue_step(catalogue, statement)) == 1) {
		const uint8_t *used = sqlite3_column_blob(statement, 0);

		error = 0;
		if (!used || (size_t)sqlite3_column_bytes(statement, 0) != bytes)
			error = -EUCLEAN;
		for (size_t i = 0; !error && i < bytes; i++)
			live[i] |= used[i];
	}
	catalogue_end(catalogue, statement);
	return error;
}
