/*
 * A layer's backup: its contents and changes as they were at one moment, read while the guest goes on writing. What the
 * guest is about to overwrite is first copied, as ciphertext, into the sparse file "aside" at its own offset.
 */
#include "layer_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t *copy_bits(const uint64_t *bits, size_t bytes)
{
	uint64_t *copy = malloc(bytes);

	if (copy)
		memcpy(copy, bits, bytes);
	return copy;
}

static void drop_snapshot(struct layer *layer)
{
	free(layer->snapshot_data);
	free(layer->snapshot_zero);
	free(layer->snapshot_aside);
	layer->snapshot_data = layer->snapshot_zero = layer->snapshot_aside = NULL;
	if (layer->snapshot)
		layer->files->close(layer->snapshot);
	layer->snapshot = NULL;
	(void)layer->files->unlink(layer->files, layer->snapshot_path);
}

/** Copies states and changes. With gate held for writing and the lock. */
static int freeze(struct layer *layer)
{
	size_t bytes = blockmap_bytes(&layer->map);

	layer->snapshot_data = copy_bits(layer->map.data, bytes);
	layer->snapshot_zero = copy_bits(layer->map.zero, bytes);
	layer->snapshot_aside = calloc(1, bytes);
	if (!layer->snapshot_data || !layer->snapshot_zero || !layer->snapshot_aside)
		return -ENOMEM;
	memcpy(layer->map.sent, layer->map.changed, bytes);
	memset(layer->map.changed, 0, bytes);
	return 0;
}

int layer_backup_begin(struct layer *layer, struct problem *problem)
{
	int error = layer_flush(layer);

	if (error)
		return problem_errno(problem, error, "the disk cannot be flushed before its backup");
	pthread_rwlock_wrlock(&layer->gate);
	pthread_mutex_lock(&layer->journal_lock);
	pthread_mutex_lock(&layer->lock);
	if (layer->snapshot_data)
		error = problem_set(problem, -EBUSY, "a backup of this disk runs already; wait for its end");
	if (!error)
		error = layer->files->open(layer->files, layer->snapshot_path, STORE_OPEN_CREATE, &layer->snapshot);
	if (!error)
		error = layer->files->truncate(layer->snapshot, 0);
	if (!error)
		error = layer->files->truncate(layer->snapshot, layer->map.blocks * BLOCK_BYTES);
	if (!error)
		error = freeze(layer);
	if (error && error != -EBUSY)
		drop_snapshot(layer);
	pthread_mutex_unlock(&layer->lock);
	pthread_mutex_unlock(&layer->journal_lock);
	pthread_rwlock_unlock(&layer->gate);
	return error ? problem_errno(problem, error, "the backup cannot begin") : 0;
}

int layer_put_aside(struct layer *layer, uint64_t first, uint64_t count)
{
	_Alignas(STORE_ALIGNMENT) uint8_t bytes[BLOCK_BYTES];
	int error = 0;

	if (!layer->snapshot_data) /* changes only while gate is held for writing */
		return 0;
	pthread_mutex_lock(&layer->snapshot_lock);
	for (uint64_t block = first; !error && block < first + count; block++) {
		if (!blockmap_bit(layer->snapshot_data, block) || blockmap_bit(layer->snapshot_aside, block))
			continue;
		error = store_file_read_all(layer->data, bytes, BLOCK_BYTES, block * BLOCK_BYTES);
		if (!error)
			error = layer->files->write(layer->snapshot, bytes, BLOCK_BYTES, block * BLOCK_BYTES);
		if (!error)
			layer->snapshot_aside[block / 64] |= 1ull << (block % 64);
	}
	pthread_mutex_unlock(&layer->snapshot_lock);
	return error;
}

bool layer_backup_next(struct layer *layer, uint64_t from, uint64_t *first, uint64_t *count, enum block_state *state)
{
	uint64_t run;

	if (!layer->snapshot_data || !blockmap_next(&layer->map, layer->map.sent, from, first, &run))
		return false;
	*state = blockmap_bit(layer->snapshot_data, *first) ? BLOCK_DATA : BLOCK_ZERO;
	for (*count = 1; *count < run; ++*count)
		if (blockmap_bit(layer->snapshot_data, *first + *count) != (*state == BLOCK_DATA))
			break;
	return true;
}

bool layer_backup_next_data(struct layer *layer, uint64_t from, uint64_t *first, uint64_t *count)
{
	return layer->snapshot_data && blockmap_next(&layer->map, layer->snapshot_data, from, first, count);
}

int layer_backup_read(struct layer *layer, uint64_t first, uint64_t count, void *buffer)
{
	_Alignas(STORE_ALIGNMENT) uint8_t stored[BLOCK_BYTES];
	struct layer_cipher *cipher;
	uint8_t *bytes = buffer;
	int error = 0;

	if (!layer->snapshot_data || first >= layer->map.blocks || count > layer->map.blocks - first)
		return -EINVAL;
	cipher = layer_cipher_get(&layer->keys);
	if (!cipher)
		return -ENOMEM;
	for (uint64_t block = first; !error && block < first + count; block++, bytes += BLOCK_BYTES) {
		if (!blockmap_bit(layer->snapshot_data, block)) {
			memset(bytes, 0, BLOCK_BYTES);
			continue;
		}
		/* Under the lock a block that is not aside cannot be overwritten before it is read. */
		pthread_mutex_lock(&layer->snapshot_lock);
		error = store_file_read_all(blockmap_bit(layer->snapshot_aside, block) ? layer->snapshot : layer->data,
					    stored, BLOCK_BYTES, block * BLOCK_BYTES);
		pthread_mutex_unlock(&layer->snapshot_lock);
		if (!error)
			error = layer_decrypt(cipher, block, stored, bytes);
	}
	layer_cipher_put(&layer->keys, cipher);
	return error;
}

int layer_backup_end(struct layer *layer, bool acknowledged)
{
	size_t words = blockmap_bytes(&layer->map) / 8;
	int error = 0;

	pthread_rwlock_wrlock(&layer->gate);
	pthread_mutex_lock(&layer->journal_lock);
	if (layer->snapshot_data) {
		pthread_mutex_lock(&layer->lock);
		for (size_t i = 0; !acknowledged && i < words; i++)
			layer->map.changed[i] |= layer->map.sent[i];
		memset(layer->map.sent, 0, words * 8);
		drop_snapshot(layer);
		pthread_mutex_unlock(&layer->lock);
		if (acknowledged)
			error = layer->broken ? layer->broken : layer_checkpoint(layer);
	}
	pthread_mutex_unlock(&layer->journal_lock);
	pthread_rwlock_unlock(&layer->gate);
	return error;
}
