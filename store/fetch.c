/* fetch.c: moving the missing frames; see fetch.h. */
#include "store/bytes.h"
#include "store/fetch_private.h"

#include <errno.h>
#include <stdlib.h>

#define RANGE_BYTES	 (4u << 20)
#define CHECKPOINT_BYTES (64u << 20)
#define THREADS_MAX	 16u

/* One missing frame and when it is wanted. */
struct wanted {
	uint32_t rank; /* 0 map, then the trace, then the rest */
	uint32_t pack;
	uint32_t offset;
	uint32_t number;
};

struct transfer {
	struct fetch *fetch;
	const struct fetch_options *options;
	struct wanted *wanted;
	size_t count, next;
	uint64_t done_bytes, total_bytes;
	pthread_mutex_t lock;
	int error;
};

const uint8_t *fetch_version_id(const struct fetch *fetch)
{
	return fetch->id;
}

const struct manifest *fetch_manifest(const struct fetch *fetch)
{
	return &fetch->manifest;
}

static bool is_missing(const struct fetch_pack *pack, const struct manifest_pack *listed,
		       uint32_t number)
{
	return bitmap_get(listed->used, number) && !bitmap_get(pack->present, number);
}

void fetch_missing(struct fetch *fetch, uint64_t *bytes, uint64_t *frames)
{
	*bytes = *frames = 0;
	pthread_mutex_lock(&fetch->lock);
	for (uint32_t p = 0; p < fetch->manifest.pack_count; p++) {
		for (uint32_t i = 0; i < fetch->packs[p].table.frame_count; i++) {
			if (!is_missing(&fetch->packs[p], &fetch->manifest.packs[p], i))
				continue;
			*bytes += fetch->packs[p].table.entries[i].stored_bytes;
			(*frames)++;
		}
	}
	pthread_mutex_unlock(&fetch->lock);
}

void fetch_totals(struct fetch *fetch, struct fetch_result *result)
{
	pthread_mutex_lock(&fetch->lock);
	*result = fetch->totals;
	pthread_mutex_unlock(&fetch->lock);
}

int fetch_ask(struct fetch *fetch, const uint8_t salt[SALT_BYTES], uint64_t offset, size_t bytes,
	      void *buffer)
{
	int error = fetch->source->read(fetch->source->context, salt, offset, bytes, buffer);

	pthread_mutex_lock(&fetch->lock);
	fetch->totals.requests++;
	if (!error)
		fetch->totals.fetched_bytes += bytes;
	pthread_mutex_unlock(&fetch->lock);
	return error;
}

/* Stores one frame if it is what its name says. */
static int put_frame(struct fetch *fetch, uint32_t p, uint32_t number, const uint8_t *data)
{
	struct fetch_pack *pack = &fetch->packs[p];
	const struct pack_entry *entry = &pack->table.entries[number];
	struct store *store = fetch->store;
	struct pack_file *use;
	uint8_t name[NAME_BYTES];
	int error = store_sha256(data, entry->stored_bytes, name);

	if (!error && memcmp(name, entry->name, NAME_BYTES))
		error = -EBADMSG;
	if (!error)
		error = pack_files_take(&store->packs, pack->table.salt, STORE_OPEN_WRITE, &use);
	if (error)
		return error;
	error = store->files->write(use->file, data, entry->stored_bytes, entry->offset);
	pack_files_give_back(&store->packs, use);
	if (error)
		return error;
	pthread_mutex_lock(&fetch->lock);
	bitmap_set(pack->present, number);
	bitmap_set(pack->fresh, number);
	pack->dirty = true;
	fetch->fresh_bytes += entry->stored_bytes;
	fetch->totals.frames++;
	pthread_mutex_unlock(&fetch->lock);
	return 0;
}

/* Moves the bits of frames that were written before now out of @fresh. */
static uint8_t *take_fresh(struct fetch *fetch, struct fetch_pack *pack)
{
	size_t bytes = bitmap_bytes(pack->table.frame_count);
	uint8_t *taken = NULL;

	pthread_mutex_lock(&fetch->lock);
	if (pack->dirty && (taken = malloc(bytes))) {
		memcpy(taken, pack->fresh, bytes);
		memset(pack->fresh, 0, bytes);
		pack->dirty = false;
	}
	pthread_mutex_unlock(&fetch->lock);
	return taken;
}

/* Puts bits back after a checkpoint that failed. */
static void return_fresh(struct fetch *fetch, struct fetch_pack *pack, const uint8_t *taken)
{
	pthread_mutex_lock(&fetch->lock);
	for (size_t i = 0; i < bitmap_bytes(pack->table.frame_count); i++)
		pack->fresh[i] |= taken[i];
	pack->dirty = true;
	pthread_mutex_unlock(&fetch->lock);
}

static int commit_fresh(struct fetch *fetch, struct fetch_pack *pack, const uint8_t *taken)
{
	struct pack_row row;
	int error = catalogue_find_pack(fetch->store->catalogue, pack->table.salt, &row);

	if (error)
		return error;
	for (size_t i = 0; i < bitmap_bytes(row.frame_count); i++)
		row.present[i] |= taken[i];
	error = catalogue_update_pack(fetch->store->catalogue, &row);
	pack_row_release(&row);
	return error;
}

static bool all_here(const struct fetch *fetch)
{
	for (uint32_t p = 0; p < fetch->manifest.pack_count; p++) {
		const struct fetch_pack *pack = &fetch->packs[p];

		for (size_t i = 0; i < bitmap_bytes(pack->table.frame_count); i++)
			if (fetch->manifest.packs[p].used[i] &
			    ((uint8_t)~pack->present[i] | pack->fresh[i]))
				return false;
	}
	return true;
}

static int commit_all(struct fetch *fetch, uint8_t **taken)
{
	struct catalogue *catalogue = fetch->store->catalogue;
	bool arrived;
	int error = catalogue_begin(catalogue);

	if (error)
		return error;
	error = catalogue_renew_session(catalogue, fetch->session,
					fetch->store->now() + STORE_SESSION_SECONDS);
	/* An expired session is no harm: the version itself keeps what it uses. */
	if (error == -ENOENT)
		error = 0;
	for (uint32_t p = 0; p < fetch->manifest.pack_count && !error; p++)
		if (taken[p])
			error = commit_fresh(fetch, &fetch->packs[p], taken[p]);
	pthread_mutex_lock(&fetch->lock);
	arrived = all_here(fetch);
	pthread_mutex_unlock(&fetch->lock);
	if (!error && arrived)
		error = catalogue_set_arrived(catalogue, fetch->id);
	if (!error)
		return catalogue_commit(catalogue);
	catalogue_rollback(catalogue);
	return error == -ENOENT ? -ESTALE : error;
}

/* What was written may have been written through a file that is closed by now: a sync covers that too. */
static int sync_pack(struct store *store, const struct fetch_pack *pack)
{
	struct pack_file *use;
	int error = pack_files_take(&store->packs, pack->table.salt, STORE_OPEN_WRITE, &use);

	if (error)
		return error;
	error = store->files->sync(use->file);
	pack_files_give_back(&store->packs, use);
	return error;
}

int fetch_checkpoint(struct fetch *fetch)
{
	uint8_t **taken = calloc(fetch->manifest.pack_count, sizeof(*taken));
	int error = 0;

	if (!taken)
		return -ENOMEM;
	pthread_mutex_lock(&fetch->checkpoint_lock);
	pthread_mutex_lock(&fetch->lock);
	fetch->fresh_bytes = 0;
	pthread_mutex_unlock(&fetch->lock);
	for (uint32_t p = 0; p < fetch->manifest.pack_count && !error; p++) {
		struct fetch_pack *pack = &fetch->packs[p];

		taken[p] = take_fresh(fetch, pack);
		if (taken[p])
			error = sync_pack(fetch->store, pack);
	}
	if (!error)
		error = commit_all(fetch, taken);
	for (uint32_t p = 0; p < fetch->manifest.pack_count; p++) {
		if (error && taken[p])
			return_fresh(fetch, &fetch->packs[p], taken[p]);
		free(taken[p]);
	}
	free(taken);
	pthread_mutex_unlock(&fetch->checkpoint_lock);
	return error;
}

static int by_wish(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (x->pack != y->pack)
		return x->pack < y->pack ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The place of each frame in the trace: 0 if it is not in it. */
static uint32_t trace_rank(const struct fetch_options *options, const uint8_t *salt, uint32_t number)
{
	for (size_t i = 0; i < options->first_count; i++)
		if (options->first[i].number == number &&
		    !memcmp(options->first[i].salt, salt, SALT_BYTES))
			return (uint32_t)i + 1;
	return 0;
}

static int make_list(struct transfer *transfer)
{
	struct fetch *fetch = transfer->fetch;
	uint64_t bytes, frames;
	size_t count = 0;

	fetch_missing(fetch, &bytes, &frames);
	transfer->wanted = calloc(frames + 1, sizeof(*transfer->wanted));
	if (!transfer->wanted)
		return -ENOMEM;
	pthread_mutex_lock(&fetch->lock);
	for (uint32_t p = 0; p < fetch->manifest.pack_count; p++) {
		struct fetch_pack *pack = &fetch->packs[p];

		for (uint32_t i = 0; i < pack->table.frame_count && count < frames; i++) {
			const struct pack_entry *entry = &pack->table.entries[i];
			bool map = entry->kind == FRAME_MAP;
			uint32_t rank;

			if (!is_missing(pack, &fetch->manifest.packs[p], i) ||
			    (transfer->options->map_only && !map))
				continue;
			rank = map ? 0 : trace_rank(transfer->options, pack->table.salt, i);
			if (!map && !rank)
				rank = UINT32_MAX;
			transfer->wanted[count++] = (struct wanted){rank, p, entry->offset, i};
			transfer->total_bytes += entry->stored_bytes;
		}
	}
	pthread_mutex_unlock(&fetch->lock);
	transfer->count = count;
	qsort(transfer->wanted, count, sizeof(*transfer->wanted), by_wish);
	return 0;
}

/* Whether someone who waited for this frame has fetched it meanwhile. */
static bool is_here(struct fetch *fetch, const struct wanted *wanted)
{
	bool here;

	pthread_mutex_lock(&fetch->lock);
	here = bitmap_get(fetch->packs[wanted->pack].present, wanted->number);
	pthread_mutex_unlock(&fetch->lock);
	return here;
}

/* Takes neighbours from the list, as far as one request goes. */
static size_t take_range(struct transfer *transfer, size_t *first, uint32_t *bytes)
{
	struct fetch *fetch = transfer->fetch;
	uint32_t limit = transfer->options->range_bytes ? transfer->options->range_bytes
						       : RANGE_BYTES;
	size_t count = 0;

	*bytes = 0;
	pthread_mutex_lock(&transfer->lock);
	*first = transfer->next;
	while (!transfer->error && transfer->next < transfer->count) {
		const struct wanted *wanted = &transfer->wanted[transfer->next];
		uint32_t stored =
		    fetch->packs[wanted->pack].table.entries[wanted->number].stored_bytes;

		if (is_here(fetch, wanted)) {
			transfer->done_bytes += stored;
			if (count)
				break;
			*first = ++transfer->next;
			continue;
		}
		if (count && (wanted->pack != transfer->wanted[*first].pack ||
			      wanted->offset != transfer->wanted[*first].offset + *bytes ||
			      *bytes + stored > limit))
			break;
		*bytes += stored;
		count++;
		transfer->next++;
	}
	pthread_mutex_unlock(&transfer->lock);
	return count;
}

static int move_range(struct transfer *transfer, size_t first, size_t count, uint32_t bytes,
		      uint8_t *buffer)
{
	struct fetch *fetch = transfer->fetch;
	uint32_t pack = transfer->wanted[first].pack;
	const uint8_t *at = buffer;
	int error = fetch_ask(fetch, fetch->packs[pack].table.salt, transfer->wanted[first].offset,
			      bytes, buffer);

	for (size_t i = 0; i < count && !error; i++) {
		uint32_t number = transfer->wanted[first + i].number;

		error = put_frame(fetch, pack, number, at);
		at += fetch->packs[pack].table.entries[number].stored_bytes;
	}
	return error;
}

static void account(struct transfer *transfer, uint32_t bytes, int error)
{
	const struct progress *progress = &transfer->options->progress;

	pthread_mutex_lock(&transfer->lock);
	transfer->done_bytes += bytes;
	if (!error && progress->report &&
	    progress->report(progress->context, transfer->done_bytes, transfer->total_bytes))
		error = -ECANCELED;
	if (error && !transfer->error)
		transfer->error = error;
	pthread_mutex_unlock(&transfer->lock);
}

static void *worker(void *context)
{
	struct transfer *transfer = context;
	struct fetch *fetch = transfer->fetch;
	uint8_t *buffer = NULL;
	size_t room = 0, first, count;
	uint32_t bytes;

	while ((count = take_range(transfer, &first, &bytes))) {
		bool due;
		int error = 0;

		if (bytes > room) {
			free(buffer);
			buffer = malloc(bytes);
			room = buffer ? bytes : 0;
			error = buffer ? 0 : -ENOMEM;
		}
		if (!error)
			error = move_range(transfer, first, count, bytes, buffer);
		pthread_mutex_lock(&fetch->lock);
		due = fetch->fresh_bytes >= CHECKPOINT_BYTES;
		if (due)
			fetch->fresh_bytes = 0;
		pthread_mutex_unlock(&fetch->lock);
		if (!error && due)
			error = fetch_checkpoint(fetch);
		account(transfer, bytes, error);
	}
	free(buffer);
	return NULL;
}

int fetch_run(struct fetch *fetch, const struct fetch_options *options, struct problem *problem)
{
	static const struct fetch_options defaults;
	struct transfer transfer = {.fetch = fetch, .options = options ? options : &defaults};
	pthread_t threads[THREADS_MAX];
	unsigned int count, started = 0;
	int error, kept;

	pthread_mutex_init(&transfer.lock, NULL);
	count = transfer.options->threads ? transfer.options->threads : 2;
	if (count > THREADS_MAX)
		count = THREADS_MAX;
	error = make_list(&transfer);
	if (!error) {
		while (started + 1 < count &&
		       !pthread_create(&threads[started], NULL, worker, &transfer))
			started++;
		worker(&transfer);
	}
	for (unsigned int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	if (!error)
		error = transfer.error;
	kept = fetch_checkpoint(fetch);
	if (!error)
		error = kept;
	free(transfer.wanted);
	pthread_mutex_destroy(&transfer.lock);
	if (error == -EBADMSG)
		problem_set(problem, error, "the source gave bytes that are not what was signed; they "
					    "were dropped: fetch from another source");
	if (error == -ECANCELED)
		problem_set(problem, error, "stopped; what has arrived is kept");
	if (error)
		problem_errno(problem, error, "cannot fetch %s", fetch->manifest.label);
	return error;
}

static struct fetch_pack *find_pack(struct fetch *fetch, const struct frame_address *address)
{
	for (uint32_t p = 0; p < fetch->manifest.pack_count; p++)
		if (!memcmp(fetch->packs[p].table.salt, address->salt, SALT_BYTES))
			return address->number < fetch->packs[p].table.frame_count
				   ? &fetch->packs[p]
				   : NULL;
	return NULL;
}

enum fetch_state fetch_frame_state(struct fetch *fetch, const struct frame_address *address)
{
	const struct fetch_pack *pack = find_pack(fetch, address);
	enum fetch_state state = FETCH_ABSENT;

	pthread_mutex_lock(&fetch->lock);
	if (pack && bitmap_get(pack->present, address->number))
		state = bitmap_get(pack->fresh, address->number) ? FETCH_FRESH : FETCH_DURABLE;
	pthread_mutex_unlock(&fetch->lock);
	return state;
}

int fetch_frame(struct fetch *fetch, const struct frame_address *address)
{
	struct fetch_pack *pack = find_pack(fetch, address);
	enum fetch_state state = fetch_frame_state(fetch, address);
	const struct pack_entry *entry;
	uint8_t *buffer;
	int error;

	if (!pack)
		return -EINVAL;
	if (state == FETCH_DURABLE) {
		/* A checkpoint that runs may still fail: only after it is this certain. */
		pthread_mutex_lock(&fetch->checkpoint_lock);
		state = fetch_frame_state(fetch, address);
		pthread_mutex_unlock(&fetch->checkpoint_lock);
		if (state == FETCH_DURABLE)
			return 0;
	}
	if (state == FETCH_FRESH)
		return fetch_checkpoint(fetch);
	entry = &pack->table.entries[address->number];
	buffer = malloc(entry->stored_bytes);
	if (!buffer)
		return -ENOMEM;
	error = fetch_ask(fetch, address->salt, entry->offset, entry->stored_bytes, buffer);
	if (!error)
		error = put_frame(fetch, (uint32_t)(pack - fetch->packs), address->number, buffer);
	free(buffer);
	return error ? error : fetch_checkpoint(fetch);
}
