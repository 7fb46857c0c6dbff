/* collect.c: see collect.h. */
#include "store/collect.h"
#include "store/bytes.h"
#include "store/collect_private.h"
#include "store/store_private.h"

#include <errno.h>
#include <stdlib.h>

struct collection {
	struct store *store;
	struct collect_result *result;
	uint64_t oldest; /* epoch of the oldest session */
	uint64_t epoch;	 /* of what is marked now */
	bool raised;
};

static uint64_t count_bits(const uint8_t *map, uint32_t bits)
{
	uint64_t count = 0;

	for (size_t i = 0; i < bitmap_bytes(bits); i++)
		count += (uint64_t)__builtin_popcount(map[i]);
	return count;
}

/* Decides for one pack; all of it in the collection's transaction. */
static int mark_pack(struct collection *work, struct pack_row *row)
{
	size_t bytes = bitmap_bytes(row->frame_count);
	uint8_t *live = calloc(1, bytes + 1);
	bool changed = false, marked = false;
	bool ripe = work->oldest >= row->dead_epoch;
	int error;

	if (!live)
		return -ENOMEM;
	error = catalogue_live(work->store->catalogue, row->id, live, row->frame_count);
	for (size_t i = 0; i < bytes && !error; i++) {
		uint8_t dead = row->dead[i] & (uint8_t)~live[i];
		uint8_t freed = ripe ? dead : 0;
		uint8_t fresh;

		row->present[i] &= (uint8_t)~freed;
		row->leaving[i] |= freed;
		dead &= (uint8_t)~freed;
		fresh = row->present[i] & (uint8_t)~live[i] & (uint8_t)~dead;
		marked |= fresh;
		changed |= freed || fresh || dead != row->dead[i];
		row->dead[i] = dead | fresh;
		work->result->freed_frames += (uint64_t)__builtin_popcount(freed);
	}
	if (!error && marked && !work->raised) {
		error = catalogue_raise_epoch(work->store->catalogue, &work->epoch);
		work->raised = true;
	}
	if (marked)
		row->dead_epoch = work->epoch;
	if (!error && changed)
		error = catalogue_update_pack(work->store->catalogue, row);
	work->result->live_frames += count_bits(live, row->frame_count);
	work->result->dead_frames += count_bits(row->dead, row->frame_count);
	free(live);
	return error;
}

/* A pack whose writer is gone. */
static int drop_unfinished(struct collection *work, const struct pack_row *row)
{
	int found = catalogue_has_session(work->store->catalogue, row->session);
	char path[PACK_PATH_BYTES];

	if (found)
		return found < 0 ? found : 0;
	pack_path(row->salt, "part", path);
	(void)work->store->files->unlink(work->store->files, path);
	pack_path(row->salt, "pack", path);
	(void)work->store->files->unlink(work->store->files, path);
	work->result->removed_strays++;
	return catalogue_remove_pack(work->store->catalogue, row->id);
}

static int count_session(struct collection *work)
{
	int error = catalogue_expire_sessions(work->store->catalogue, work->store->now());

	if (!error)
		error = catalogue_oldest_session(work->store->catalogue, &work->oldest);
	return error;
}

/* One pass over all packs. */
static int mark(struct collection *work)
{
	struct catalogue *catalogue = work->store->catalogue;
	struct pack_row row;
	uint32_t after = 0;
	int error = catalogue_begin(catalogue);

	if (error)
		return error;
	error = count_session(work);
	while (!error && !(error = catalogue_next_pack(catalogue, NULL, after, &row))) {
		after = row.id;
		if (row.state == PACK_SETTLED)
			error = mark_pack(work, &row);
		else if (row.state == PACK_WRITING)
			error = drop_unfinished(work, &row);
		pack_row_release(&row);
	}
	if (error == -ENOENT)
		error = 0;
	if (!error)
		error = collect_strays(work->store, &work->result->removed_strays);
	if (!error)
		return catalogue_commit(catalogue);
	catalogue_rollback(catalogue);
	return error;
}

static bool any_bit(const uint8_t *map, uint32_t bits)
{
	for (size_t i = 0; i < bitmap_bytes(bits); i++)
		if (map[i])
			return true;
	return false;
}

/* Gives back the leaving frames' space; run again after an interruption it does the same. */
static int punch_frames(struct store *store, const struct pack_row *row, uint64_t *freed_bytes)
{
	struct pack_table table;
	struct store_file *file;
	char path[PACK_PATH_BYTES];
	int error = store_read_table(store, row, &table);

	if (error)
		return error;
	pack_path(row->salt, "pack", path);
	error = store->files->open(store->files, path, STORE_OPEN_WRITE, &file);
	for (uint32_t i = 0; i < row->frame_count && !error; i++) {
		if (!bitmap_get(row->leaving, i))
			continue;
		error = store->files->punch(file, table.entries[i].offset,
					    table.entries[i].stored_bytes);
		*freed_bytes += table.entries[i].stored_bytes;
	}
	if (!error) {
		error = store->files->sync(file);
		store->files->close(file);
	}
	pack_table_release(&table);
	return error;
}

/* Removes the file and then the row of a pack that is committed to go. */
static int remove_pack(struct store *store, const struct pack_row *row)
{
	char path[PACK_PATH_BYTES];
	int error;

	pack_files_forget(&store->packs, row->salt);
	pack_path(row->salt, "pack", path);
	error = store->files->unlink(store->files, path);
	if (error && error != -ENOENT)
		return error;
	error = store->files->sync_directory(store->files, "packs");
	return error ? error : catalogue_remove_pack(store->catalogue, row->id);
}

/* Whether nothing is left in a pack and no version, arriving ones included, refers to it. */
static int is_empty(struct store *store, const struct pack_row *row, bool *empty)
{
	uint8_t *live = calloc(1, bitmap_bytes(row->frame_count) + 1);
	int error;

	*empty = false;
	if (!live)
		return -ENOMEM;
	error = catalogue_live(store->catalogue, row->id, live, row->frame_count);
	*empty = !error && !any_bit(live, row->frame_count) &&
		 !any_bit(row->present, row->frame_count);
	free(live);
	return error;
}

/* In a transaction: decides whether the pack goes whole, or punches. */
static int reclaim_locked(struct store *store, uint32_t id, bool *goes, uint64_t *freed_bytes)
{
	struct pack_row row;
	int error = catalogue_get_pack(store->catalogue, id, &row);

	*goes = false;
	if (error)
		return error == -ENOENT ? 0 : error;
	if (row.state == PACK_SETTLED)
		error = is_empty(store, &row, goes);
	if (!error && row.state == PACK_LEAVING)
		*goes = true;
	if (!error && *goes && row.state != PACK_LEAVING) {
		row.state = PACK_LEAVING;
		*freed_bytes += pack_bytes(row.table_offset, row.frame_count);
		error = catalogue_update_pack(store->catalogue, &row);
	} else if (!error && !*goes && any_bit(row.leaving, row.frame_count)) {
		error = punch_frames(store, &row, freed_bytes);
		memset(row.leaving, 0, bitmap_bytes(row.frame_count));
		if (!error)
			error = catalogue_update_pack(store->catalogue, &row);
	}
	pack_row_release(&row);
	return error;
}

static int in_transaction(struct store *store, uint32_t id, bool *goes, uint64_t *freed_bytes)
{
	int error = catalogue_begin(store->catalogue);

	if (error)
		return error;
	error = reclaim_locked(store, id, goes, freed_bytes);
	if (!error)
		return catalogue_commit(store->catalogue);
	catalogue_rollback(store->catalogue);
	return error;
}

int collect_reclaim(struct store *store, uint32_t id, uint64_t *freed_bytes)
{
	struct pack_row row;
	uint64_t unused = 0;
	bool goes;
	int error = in_transaction(store, id, &goes, freed_bytes ? freed_bytes : &unused);

	if (error || !goes)
		return error;
	/* Committed to go: from here on nobody can use it, and who finds it finishes this. */
	error = catalogue_begin(store->catalogue);
	if (error)
		return error;
	error = catalogue_get_pack(store->catalogue, id, &row);
	if (!error) {
		error = row.state == PACK_LEAVING ? remove_pack(store, &row) : 0;
		pack_row_release(&row);
	}
	if (!error)
		return catalogue_commit(store->catalogue);
	catalogue_rollback(store->catalogue);
	return error == -ENOENT ? 0 : error;
}

static int reclaim_all(struct collection *work)
{
	struct pack_row row;
	uint32_t after = 0;
	int error = 0;

	while (!error &&
	       !(error = catalogue_next_pack(work->store->catalogue, NULL, after, &row))) {
		bool due = row.state == PACK_LEAVING ||
			   (row.state == PACK_SETTLED &&
			    (any_bit(row.leaving, row.frame_count) ||
			     !any_bit(row.present, row.frame_count)));

		after = row.id;
		if (due)
			error = collect_reclaim(work->store, row.id, &work->result->freed_bytes);
		if (due && !error) {
			struct pack_row again;

			if (catalogue_get_pack(work->store->catalogue, row.id, &again) == -ENOENT)
				work->result->removed_packs++;
			else
				pack_row_release(&again);
		}
		pack_row_release(&row);
	}
	return error == -ENOENT ? 0 : error;
}

int collect_run(struct store *store, bool now, struct collect_result *result,
		struct problem *problem)
{
	struct collect_result unused;
	struct collection work = {.store = store, .result = result ? result : &unused};
	int error;

	memset(work.result, 0, sizeof(*work.result));
	error = mark(&work);
	if (!error && now && work.raised && work.oldest == UINT64_MAX) {
		work.result->live_frames = work.result->dead_frames = 0;
		work.raised = false;
		error = mark(&work);
	}
	if (!error)
		error = reclaim_all(&work);
	work.result->sessions = work.oldest != UINT64_MAX;
	return error ? problem_errno(problem, error, "cannot finish the collection") : 0;
}
