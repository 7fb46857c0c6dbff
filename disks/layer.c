/*
 * Reading, writing and flushing a layer; see layer.h. The order that keeps a crash harmless: data first, then the
 * journal; and before data in place is overwritten whose change no journal knows, its region is made loose.
 */
#include "layer_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BLOCKS 64u

static int open_file(struct store_files *files, const char *folder, const char *name, enum store_open how,
		     struct store_file **file)
{
	char path[256];

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return files->open(files, path, how, file);
}

static void close_file(struct store_file *file)
{
	if (file)
		file->files->close(file);
}

int layer_create(struct store_files *files, const char *folder, enum layer_kind kind, uint64_t blocks,
		 uint32_t journal_bytes, const uint8_t key[LAYER_KEY_BYTES], struct problem *problem)
{
	struct store_file *data = NULL, *tags = NULL, *map = NULL;
	struct layer_keys keys;
	int error = layer_keys_derive(&keys, key);

	if (error)
		return problem_errno(problem, error, "%s: no keys", folder);
	error = files->make_directory(files, folder);
	if (!error)
		error = open_file(files, folder, "data", STORE_OPEN_CREATE, &data);
	if (!error)
		error = files->truncate(data, blocks * BLOCK_BYTES);
	if (!error)
		error = files->sync(data);
	if (!error && kind == LAYER_SEALED)
		error = open_file(files, folder, "tags", STORE_OPEN_CREATE, &tags);
	if (!error && tags)
		error = files->truncate(tags, blocks * TAG_BYTES);
	if (!error && tags)
		error = files->sync(tags);
	/* The map comes last, under another name until it is whole: a layer exists when its map does. */
	if (!error)
		error = open_file(files, folder, "map", STORE_OPEN_READ, &map) == 0 ? -EEXIST : 0;
	if (!error)
		error = open_file(files, folder, "map.part", STORE_OPEN_CREATE, &map);
	if (!error)
		error = layer_map_create(map, &keys, kind, blocks, journal_bytes);
	if (!error) {
		char from[256], to[256];

		snprintf(from, sizeof(from), "%s/map.part", folder);
		snprintf(to, sizeof(to), "%s/map", folder);
		error = files->sync_directory(files, folder);
		if (!error)
			error = files->rename(files, from, to);
		if (!error)
			error = files->sync_directory(files, folder);
		if (!error)
			error = files->sync_directory(files, "");
	}
	close_file(data);
	close_file(tags);
	close_file(map);
	layer_keys_forget(&keys);
	return error ? problem_errno(problem, error, "%s: the layer cannot be made", folder) : 0;
}

static void free_layer(struct layer *layer)
{
	close_file(layer->data);
	close_file(layer->tags);
	close_file(layer->snapshot);
	close_file(layer->map_file.file);
	blockmap_release(&layer->map);
	free(layer->snapshot_data);
	free(layer->snapshot_zero);
	free(layer->snapshot_aside);
	layer_keys_forget(&layer->keys);
	pthread_rwlock_destroy(&layer->gate);
	pthread_mutex_destroy(&layer->snapshot_lock);
	pthread_mutex_destroy(&layer->journal_lock);
	pthread_mutex_destroy(&layer->lock);
	free(layer);
}

int layer_open(struct store_files *files, const char *folder, const uint8_t key[LAYER_KEY_BYTES],
	       struct layer **opened, struct problem *problem)
{
	struct layer *layer = calloc(1, sizeof(*layer));
	int error;

	if (!layer)
		return problem_errno(problem, -ENOMEM, "%s", folder);
	layer->files = files;
	snprintf(layer->snapshot_path, sizeof(layer->snapshot_path), "%s/aside", folder);
	pthread_rwlock_init(&layer->gate, NULL);
	pthread_mutex_init(&layer->snapshot_lock, NULL);
	pthread_mutex_init(&layer->journal_lock, NULL);
	pthread_mutex_init(&layer->lock, NULL);
	error = layer_keys_derive(&layer->keys, key);
	if (!error)
		error = open_file(files, folder, "map", STORE_OPEN_WRITE, &layer->map_file.file);
	if (!error)
		error = files->lock(layer->map_file.file, 0, 1, STORE_LOCK_EXCLUSIVE);
	if (error == -EAGAIN)
		problem_set(problem, error, "%s: the disk is in use; stop the machine that has it", folder);
	if (!error)
		error = layer_map_open(&layer->map_file, &layer->keys, &layer->kind, &layer->map);
	if (error == -EBADMSG)
		problem_set(problem, error, "%s: the map is damaged or this is not its key; restore it from a backup",
			    folder);
	if (!error)
		error = open_file(files, folder, "data", STORE_OPEN_BLOCKS, &layer->data);
	if (!error && layer->kind == LAYER_SEALED)
		error = open_file(files, folder, "tags", STORE_OPEN_WRITE, &layer->tags);
	if (error) {
		free_layer(layer);
		return problem_errno(problem, error, "%s: the layer cannot be opened", folder);
	}
	*opened = layer;
	return 0;
}

uint64_t layer_blocks(const struct layer *layer)
{
	return layer->map.blocks;
}

uint64_t layer_run(struct layer *layer, uint64_t first, uint64_t limit, enum block_state *state)
{
	uint64_t count;

	pthread_mutex_lock(&layer->lock);
	*state = blockmap_state(&layer->map, first);
	count = blockmap_same(&layer->map, first, limit);
	pthread_mutex_unlock(&layer->lock);
	return count;
}

/** The blocks and, of a sealed layer, their tags: both at once. */
static int read_piece(struct layer *layer, uint64_t first, uint64_t count, uint8_t *bytes,
		      uint8_t tags[PIECE_BLOCKS][TAG_BYTES])
{
	struct store_io ios[] = {
		{STORE_IO_READ, layer->data, bytes, count * BLOCK_BYTES, first * BLOCK_BYTES, 0},
		{STORE_IO_READ, layer->tags, tags, count * TAG_BYTES, first * TAG_BYTES, 0}};

	return store_file_transfer(ios, layer->tags ? 2 : 1);
}

static int check_tags(struct layer_cipher *cipher, uint64_t first, uint64_t count, const uint8_t *bytes,
		      uint8_t tags[PIECE_BLOCKS][TAG_BYTES], uint64_t *bad)
{
	uint8_t tag[TAG_BYTES];
	int error = 0;

	for (uint64_t i = 0; !error && i < count; i++) {
		error = layer_tag(cipher, first + i, bytes + i * BLOCK_BYTES, tag);
		if (!error && CRYPTO_memcmp(tag, tags[i], TAG_BYTES) != 0) {
			*bad = first + i;
			error = -EBADMSG;
		}
	}
	return error;
}

int layer_read(struct layer *layer, uint64_t first, uint64_t count, void *buffer, uint64_t *bad)
{
	struct layer_cipher *cipher = layer_cipher_get(&layer->keys);
	/* The buffer may be a guest's memory: nothing is judged or decrypted where the guest can change it. */
	_Alignas(STORE_ALIGNMENT) uint8_t bytes[PIECE_BLOCKS * BLOCK_BYTES];
	uint8_t tags[PIECE_BLOCKS][TAG_BYTES], *to = buffer;
	int error = cipher ? 0 : -ENOMEM;

	while (!error && count) {
		uint64_t now = count < PIECE_BLOCKS ? count : PIECE_BLOCKS;

		error = read_piece(layer, first, now, bytes, tags);
		if (!error && layer->tags)
			error = check_tags(cipher, first, now, bytes, tags, bad);
		for (uint64_t i = 0; !error && i < now; i++)
			error = layer_decrypt(cipher, first + i, bytes + i * BLOCK_BYTES, to + i * BLOCK_BYTES);
		to += now * BLOCK_BYTES;
		first += now;
		count -= now;
	}
	if (cipher)
		layer_cipher_put(&layer->keys, cipher);
	return error;
}

/** Data and tags on disk, both at once: neither means anything before the journal says so. */
static int sync_contents(struct layer *layer)
{
	struct store_io ios[] = {{STORE_IO_SYNC, layer->data, NULL, 0, 0, 0},
				 {STORE_IO_SYNC, layer->tags, NULL, 0, 0, 0}};

	return store_file_transfer(ios, layer->tags ? 2 : 1);
}

int layer_checkpoint(struct layer *layer)
{
	uint8_t *packed = NULL;
	uint64_t at = 0;
	struct blockmap_run runs[64];
	int error;

	/* Under the lock no state is added, so that all states in the checkpoint have their data on disk. */
	pthread_mutex_lock(&layer->lock);
	error = sync_contents(layer);
	if (!error) {
		packed = layer_map_pack(&layer->map);
		error = packed ? 0 : -ENOMEM;
	}
	while (!error && blockmap_take_dirty(&layer->map, &at, runs, 64))
		;
	pthread_mutex_unlock(&layer->lock);
	if (!error)
		error = layer_map_checkpoint(&layer->map_file, &layer->keys, layer->kind, layer->map.blocks, packed);
	free(packed);
	if (error)
		layer->broken = error;
	return error;
}

/** Makes a region loose, on disk, before data in it is overwritten. */
static int make_loose(struct layer *layer, uint64_t region)
{
	struct blockmap_run run = {.first = region, .count = 1, .kind = BLOCKMAP_LOOSE};
	int error;

	pthread_mutex_lock(&layer->journal_lock);
	error = layer->broken;
	if (!error)
		error = layer_map_append(&layer->map_file, &layer->keys, &run, 1);
	if (error == -ENOSPC) {
		error = layer_checkpoint(layer);
		if (!error)
			error = layer_map_append(&layer->map_file, &layer->keys, &run, 1);
	}
	if (error)
		layer->broken = error;
	pthread_mutex_lock(&layer->lock);
	if (!error)
		error = blockmap_apply(&layer->map, &run);
	pthread_mutex_unlock(&layer->lock);
	pthread_mutex_unlock(&layer->journal_lock);
	return error;
}

/** What must be so before blocks change: within the layer, regions loose, a backup's view kept. With gate held. */
static int prepare_change(struct layer *layer, uint64_t first, uint64_t count)
{
	uint64_t region;
	bool needs;
	int error = layer->broken;

	if (first >= layer->map.blocks || count > layer->map.blocks - first)
		return -EINVAL;
	while (!error && layer->kind == LAYER_WRITABLE) {
		pthread_mutex_lock(&layer->lock);
		needs = blockmap_needs_loose(&layer->map, first, count, &region);
		pthread_mutex_unlock(&layer->lock);
		if (!needs)
			break;
		error = make_loose(layer, region);
	}
	return error ? error : layer_put_aside(layer, first, count);
}

static int write_piece(struct layer *layer, struct layer_cipher *cipher, uint64_t first, uint64_t count,
		       const uint8_t *from)
{
	_Alignas(STORE_ALIGNMENT) uint8_t bytes[PIECE_BLOCKS * BLOCK_BYTES];
	uint8_t tags[PIECE_BLOCKS][TAG_BYTES];
	struct store_io ios[] = {
		{STORE_IO_WRITE, layer->data, bytes, count * BLOCK_BYTES, first * BLOCK_BYTES, 0},
		{STORE_IO_WRITE, layer->tags, tags, count * TAG_BYTES, first * TAG_BYTES, 0}};
	int error = 0;

	for (uint64_t i = 0; !error && i < count; i++) {
		error = layer_encrypt(cipher, first + i, from + i * BLOCK_BYTES, bytes + i * BLOCK_BYTES);
		if (!error && layer->tags)
			error = layer_tag(cipher, first + i, bytes + i * BLOCK_BYTES, tags[i]);
	}
	return error ? error : store_file_transfer(ios, layer->tags ? 2 : 1);
}

int layer_write(struct layer *layer, uint64_t first, uint64_t count, const void *buffer)
{
	struct layer_cipher *cipher = layer_cipher_get(&layer->keys);
	const uint8_t *from = buffer;
	int error;

	if (!cipher)
		return -ENOMEM;
	pthread_rwlock_rdlock(&layer->gate);
	error = prepare_change(layer, first, count);
	while (!error && count) {
		uint64_t now = count < PIECE_BLOCKS ? count : PIECE_BLOCKS;

		error = write_piece(layer, cipher, first, now, from);
		if (error)
			break;
		pthread_mutex_lock(&layer->lock);
		blockmap_set(&layer->map, first, now, BLOCK_DATA);
		pthread_mutex_unlock(&layer->lock);
		from += now * BLOCK_BYTES;
		first += now;
		count -= now;
	}
	pthread_rwlock_unlock(&layer->gate);
	layer_cipher_put(&layer->keys, cipher);
	return error;
}

int layer_zero(struct layer *layer, uint64_t first, uint64_t count)
{
	int error;

	pthread_rwlock_rdlock(&layer->gate);
	error = prepare_change(layer, first, count);
	if (!error) {
		/* State first: whoever reads the hole before would decrypt zeros into noise. */
		pthread_mutex_lock(&layer->lock);
		blockmap_set(&layer->map, first, count, BLOCK_ZERO);
		pthread_mutex_unlock(&layer->lock);
	}
	pthread_rwlock_unlock(&layer->gate);
	return error;
}

/** All dirty runs; the caller frees *@runs. With the lock held. */
static int take_all(struct layer *layer, struct blockmap_run **runs, size_t *count)
{
	size_t room = 0, got;
	uint64_t at = 0;

	*runs = NULL;
	*count = 0;
	do {
		struct blockmap_run *more = reallocarray(*runs, room += RUNS_A_RECORD, sizeof(**runs));

		if (!more) {
			blockmap_return_dirty(&layer->map, *runs, *count);
			free(*runs);
			*runs = NULL;
			return -ENOMEM;
		}
		*runs = more;
		got = blockmap_take_dirty(&layer->map, &at, *runs + *count, RUNS_A_RECORD);
		*count += got;
	} while (got == RUNS_A_RECORD);
	return 0;
}

static int journal_runs(struct layer *layer, const struct blockmap_run *runs, size_t count)
{
	int error = 0;

	for (size_t at = 0; !error && at < count; at += RUNS_A_RECORD) {
		size_t now = count - at < RUNS_A_RECORD ? count - at : RUNS_A_RECORD;

		error = layer_map_append(&layer->map_file, &layer->keys, runs + at, now);
		/* The checkpoint has these runs and all that follow. */
		if (error == -ENOSPC)
			return layer_checkpoint(layer);
	}
	return error;
}

/** Gives back the space of blocks that the journal now knows to be zero. */
static void punch_zeros(struct layer *layer, const struct blockmap_run *runs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		enum block_state state;

		if (runs[i].kind != BLOCKMAP_ZERO)
			continue;
		pthread_rwlock_wrlock(&layer->gate);
		/* Written again since: leave it. Space is all that is lost. */
		if (layer_run(layer, runs[i].first, runs[i].count, &state) == runs[i].count && state == BLOCK_ZERO)
			(void)layer->files->punch(layer->data, runs[i].first * BLOCK_BYTES,
						  (uint64_t)runs[i].count * BLOCK_BYTES);
		pthread_rwlock_unlock(&layer->gate);
	}
}

int layer_flush(struct layer *layer)
{
	struct blockmap_run *runs;
	size_t count;
	int error;

	pthread_mutex_lock(&layer->journal_lock);
	error = layer->broken;
	if (error) {
		pthread_mutex_unlock(&layer->journal_lock);
		return error;
	}
	pthread_mutex_lock(&layer->lock);
	error = take_all(layer, &runs, &count);
	pthread_mutex_unlock(&layer->lock);
	if (!error)
		error = sync_contents(layer);
	if (!error)
		error = journal_runs(layer, runs, count);
	/* After a failed sync nobody knows what is on disk: this layer acknowledges nothing more until it is reopened. */
	if (error)
		layer->broken = error;
	pthread_mutex_unlock(&layer->journal_lock);
	if (!error)
		punch_zeros(layer, runs, count);
	free(runs);
	return error;
}

uint64_t layer_data_blocks(struct layer *layer)
{
	uint64_t first = 0, count, total = 0;

	pthread_mutex_lock(&layer->lock);
	for (uint64_t from = 0; blockmap_next(&layer->map, layer->map.data, from, &first, &count); from = first + count)
		total += count;
	pthread_mutex_unlock(&layer->lock);
	return total;
}

int layer_close(struct layer *layer)
{
	int error = layer_flush(layer);

	if (!error) {
		/* Nothing is in flight: the change map is exact, no region needs to be loose. */
		memset(layer->map.loose, 0, blockmap_region_bytes(&layer->map));
		pthread_mutex_lock(&layer->journal_lock);
		error = layer_checkpoint(layer);
		pthread_mutex_unlock(&layer->journal_lock);
	}
	free_layer(layer);
	return error;
}

void layer_abandon(struct layer *layer)
{
	free_layer(layer);
}
