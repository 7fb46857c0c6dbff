/* index.c: see index.h. */
#include "store/index.h"
#include "store/bytes.h"
#include "store/index_run.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_ENTRIES_MAX (1u << 20)   /* 32 MiB, and 8 MiB of slots */
#define WHOLE_BYTES_MAX	  (64ull << 20) /* of runs kept in memory */
#define EMPTY_SLOT	  UINT32_MAX

struct index {
	struct store_files *files;
	struct catalogue *catalogue;
	uint8_t domain[DOMAIN_ID_BYTES];
	struct run *newest;
	uint64_t whole_bytes;
	struct run_entry *entries;
	uint32_t *slots;
	uint32_t count, capacity;
};

static void run_path(uint64_t id, char path[48])
{
	snprintf(path, 48, "index/%016llx.run", (unsigned long long)id);
}

/* Opens a run at the head of the list; small ones stay in memory while there is room. */
static int push_run(struct index *index, const char *path, uint64_t id, uint64_t entries)
{
	uint64_t bytes = run_file_bytes(entries);
	bool keep = index->whole_bytes + bytes <= WHOLE_BYTES_MAX;
	struct run *run;
	int error = run_open(index->files, path, keep, &run);

	if (error)
		return error;
	if (keep)
		index->whole_bytes += bytes;
	run->id = id;
	run->older = index->newest;
	index->newest = run;
	return 0;
}

static int open_runs(struct index *index)
{
	struct run_row row;
	uint64_t before = UINT64_MAX;
	struct run **tail = &index->newest;
	int error;

	while (!(error = catalogue_next_run(index->catalogue, index->domain, before, &row))) {
		uint64_t bytes = run_file_bytes(row.entries);
		bool keep = index->whole_bytes + bytes <= WHOLE_BYTES_MAX;
		char path[48];

		run_path(row.id, path);
		error = run_open(index->files, path, keep, tail);
		if (error)
			return error == -ENOENT ? -EUCLEAN : error;
		if (keep)
			index->whole_bytes += bytes;
		(*tail)->id = row.id;
		tail = &(*tail)->older;
		before = row.id;
	}
	return error == -ENOENT ? 0 : error;
}

int index_open(struct store_files *files, struct catalogue *catalogue,
	       const uint8_t domain[DOMAIN_ID_BYTES], struct index **opened,
	       struct problem *problem)
{
	struct index *index = calloc(1, sizeof(*index));
	int error;

	if (!index)
		return -ENOMEM;
	index->files = files;
	index->catalogue = catalogue;
	memcpy(index->domain, domain, DOMAIN_ID_BYTES);
	error = open_runs(index);
	if (!error) {
		*opened = index;
		return 0;
	}
	index_close(index);
	if (error == -EUCLEAN)
		return problem_set(problem, error, "the store's block index is damaged; rebuild it "
						   "from the packs (bulkhead store rebuild)");
	return problem_errno(problem, error, "cannot read the store's block index");
}

void index_close(struct index *index)
{
	if (!index)
		return;
	while (index->newest) {
		struct run *run = index->newest;

		index->newest = run->older;
		/* A run that no commit made known is nobody's. */
		if (!run->id)
			(void)index->files->unlink(index->files, run->path);
		run_close(run);
	}
	free(index->entries);
	free(index->slots);
	free(index);
}

static uint32_t *slot_of(const struct index *index, const uint8_t *key)
{
	uint32_t mask = 2 * index->capacity - 1, at = get_u32(key) & mask;

	while (index->slots[at] != EMPTY_SLOT &&
	       memcmp(index->entries[index->slots[at]].key, key, RUN_KEY_BYTES))
		at = (at + 1) & mask;
	return &index->slots[at];
}

static int grow(struct index *index)
{
	uint32_t capacity = index->capacity ? 2 * index->capacity : 1u << 14;
	struct run_entry *entries = realloc(index->entries, capacity * sizeof(*entries));
	uint32_t *slots;

	if (!entries)
		return -ENOMEM;
	index->entries = entries;
	slots = malloc(2ul * capacity * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(index->slots);
	index->slots = slots;
	index->capacity = capacity;
	memset(slots, 0xff, 2ul * capacity * sizeof(*slots));
	for (uint32_t i = 0; i < index->count; i++)
		*slot_of(index, index->entries[i].key) = i;
	return 0;
}

int index_find(struct index *index, const uint8_t name[NAME_BYTES],
	       bool (*alive)(void *context, struct block_ref ref), void *context,
	       struct block_ref *ref)
{
	if (index->count) {
		uint32_t slot = *slot_of(index, name);

		if (slot != EMPTY_SLOT && alive(context, index->entries[slot].ref)) {
			*ref = index->entries[slot].ref;
			return 0;
		}
	}
	for (struct run *run = index->newest; run; run = run->older) {
		int error = run_find(run, name, ref);

		if (error && error != -ENOENT)
			return error;
		if (!error && alive(context, *ref))
			return 0;
	}
	return -ENOENT;
}

int index_add(struct index *index, const uint8_t name[NAME_BYTES], struct block_ref ref)
{
	uint32_t *slot;
	int error = 0;

	if (index->count == TABLE_ENTRIES_MAX)
		error = index_flush(index);
	if (!error && index->count == index->capacity)
		error = grow(index);
	if (error)
		return error;
	slot = slot_of(index, name);
	if (*slot == EMPTY_SLOT) {
		*slot = index->count++;
		memcpy(index->entries[*slot].key, name, RUN_KEY_BYTES);
	}
	index->entries[*slot].ref = ref;
	return 0;
}

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, RUN_KEY_BYTES);
}

static int new_path(char path[48])
{
	uint8_t number[8];

	if (RAND_bytes(number, sizeof(number)) != 1)
		return -EIO;
	snprintf(path, 48, "index/%016llx.part", (unsigned long long)get_u64(number));
	return 0;
}

int index_flush(struct index *index)
{
	struct run_writer writer;
	char path[48];
	int error;

	if (!index->count)
		return 0;
	error = new_path(path);
	if (!error)
		error = run_writer_start(&writer, index->files, path);
	if (error)
		return error;
	qsort(index->entries, index->count, sizeof(*index->entries), by_key);
	for (uint32_t i = 0; i < index->count && !error; i++)
		error = run_writer_add(&writer, &index->entries[i]);
	error = run_writer_finish(&writer, error);
	if (!error)
		error = push_run(index, path, 0, index->count);
	if (error) {
		(void)index->files->unlink(index->files, path);
		return error;
	}
	index->count = 0;
	memset(index->slots, 0xff, 2ul * index->capacity * sizeof(*index->slots));
	return 0;
}

/* Gives the runs that are not yet known, oldest first, their ids and names. */
static int name_runs(struct index *index, struct run *run)
{
	struct run_row row;
	char path[48];
	int error;

	if (!run || run->id)
		return 0;
	error = name_runs(index, run->older);
	if (error)
		return error;
	row.entries = run->entries;
	error = catalogue_add_run(index->catalogue, index->domain, &row);
	if (error)
		return error;
	run_path(row.id, path);
	error = index->files->rename(index->files, run->path, path);
	if (error)
		return error;
	memcpy(run->path, path, sizeof(run->path));
	run->id = row.id;
	return 0;
}

int index_commit(struct index *index)
{
	int error;

	if (!index->newest || index->newest->id)
		return 0;
	error = name_runs(index, index->newest);
	return error ? error : index->files->sync_directory(index->files, "index");
}

/* Where each of several runs stands in a merge. */
struct cursor {
	struct run *run;
	uint64_t next;
	struct run_entry entry;
	bool done;
};

static int advance(struct cursor *cursor)
{
	if (cursor->next == cursor->run->entries) {
		cursor->done = true;
		return 0;
	}
	return run_entry_at(cursor->run, cursor->next++, &cursor->entry);
}

/* Merges @cursors, newest first: of equal keys the first wins. */
static int merge_into(struct run_writer *writer, struct cursor *cursors, size_t count,
		      bool (*exists)(void *context, uint32_t pack), void *context)
{
	int error = 0;

	for (size_t i = 0; i < count && !error; i++)
		error = advance(&cursors[i]);
	while (!error) {
		struct cursor *least = NULL;
		struct run_entry entry;

		for (size_t i = 0; i < count; i++)
			if (!cursors[i].done &&
			    (!least || by_key(&cursors[i].entry, &least->entry) < 0))
				least = &cursors[i];
		if (!least)
			return 0;
		entry = least->entry;
		for (size_t i = 0; i < count && !error; i++)
			if (!cursors[i].done && !by_key(&cursors[i].entry, &entry))
				error = advance(&cursors[i]);
		if (!error && exists(context, entry.ref.pack))
			error = run_writer_add(writer, &entry);
	}
	return error;
}

/* How many of the newest runs belong together: each older one is taken while it is not much larger. */
static size_t merge_count(const struct index *index)
{
	uint64_t sum = 0;
	size_t count = 0;

	for (const struct run *run = index->newest; run; run = run->older) {
		if (count >= 2 && run->entries > 2 * sum)
			break;
		sum += run->entries;
		count++;
	}
	return count;
}

/* Replaces the @count newest runs by the one at @path (NULL: nothing was left of them). */
static int swap_runs(struct index *index, size_t count, const char *path, uint64_t entries)
{
	struct run *old = index->newest, *last = old;
	int error;

	for (size_t i = 1; i < count; i++)
		last = last->older;
	index->newest = last->older;
	last->older = NULL;
	error = path ? push_run(index, path, 0, entries) : 0;
	if (!error)
		error = catalogue_begin(index->catalogue);
	if (!error) {
		for (struct run *run = old; run && !error; run = run->older)
			error = catalogue_remove_run(index->catalogue, run->id);
		if (!error)
			error = index_commit(index);
		if (!error)
			error = catalogue_commit(index->catalogue);
		else
			catalogue_rollback(index->catalogue);
	}
	while (old) {
		struct run *run = old;

		old = run->older;
		if (!error)
			(void)index->files->unlink(index->files, run->path);
		run_close(run);
	}
	return error;
}

int index_merge(struct index *index, bool (*exists)(void *context, uint32_t pack), void *context)
{
	size_t count = merge_count(index), taken = 0;
	struct cursor *cursors;
	struct run_writer writer;
	char path[48];
	int error;

	if (count < 4)
		return 0;
	cursors = calloc(count, sizeof(*cursors));
	error = cursors ? new_path(path) : -ENOMEM;
	for (struct run *run = index->newest; taken < count && !error; run = run->older) {
		cursors[taken++].run = run;
		if (!run->id)
			error = -EBUSY;
	}
	if (!error)
		error = run_writer_start(&writer, index->files, path);
	if (!error) {
		error = merge_into(&writer, cursors, count, exists, context);
		error = run_writer_finish(&writer, error);
		if (!error)
			error = swap_runs(index, count, writer.entries ? path : NULL,
					  writer.entries);
		if (error || !writer.entries)
			(void)index->files->unlink(index->files, path);
	}
	free(cursors);
	return error;
}

uint64_t index_entries(const struct index *index)
{
	uint64_t entries = index->count;

	for (const struct run *run = index->newest; run; run = run->older)
		entries += run->entries;
	return entries;
}
