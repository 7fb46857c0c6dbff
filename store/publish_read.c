/*
 * publish_read.c: reads a disk and finds what is new.
 *
 * Each thread reads and hashes a segment, waits for its turn to look its blocks up in disk order, and
 * then compresses the frames that became full on its turn. Nobody waits long: a turn is short.
 */
#include "store/bytes.h"
#include "store/publish_private.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct segment {
	uint64_t first;
	uint32_t count;
	bool unread[SEGMENT_BLOCKS]; /* not in the change map */
	bool zero[SEGMENT_BLOCKS];
	uint8_t *data;
	uint8_t plains[SEGMENT_BLOCKS][NAME_BYTES];
	uint8_t names[SEGMENT_BLOCKS][NAME_BYTES];
};

struct thread {
	struct publication *work;
	struct hasher *hasher;
	struct frame_codec *codec;
	uint8_t *scratch;
	struct segment segment;
};

static bool failed(struct publication *work)
{
	bool error;

	pthread_mutex_lock(&work->lock);
	error = work->error;
	pthread_mutex_unlock(&work->lock);
	return error;
}

static bool is_zero(const uint8_t *block)
{
	/* memcmp of a block with itself, shifted, is the fastest portable test. */
	return !block[0] && !memcmp(block, block + 1, BLOCK_BYTES - 1);
}

/* The first change that ends after @block; changes ascend. */
static size_t first_change(const struct publication *work, uint64_t block)
{
	size_t low = 0, high = work->options->change_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct block_range *range = &work->options->changes[middle];

		if (range->first + range->count <= block)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void mark_unread(const struct publication *work, struct segment *segment)
{
	size_t change = first_change(work, segment->first);

	memset(segment->unread, 1, sizeof(segment->unread));
	for (; change < work->options->change_count; change++) {
		const struct block_range *range = &work->options->changes[change];
		uint64_t from = range->first > segment->first ? range->first : segment->first;
		uint64_t to = range->first + range->count;

		if (from >= segment->first + segment->count)
			return;
		if (to > segment->first + segment->count)
			to = segment->first + segment->count;
		memset(segment->unread + (from - segment->first), 0, to - from);
	}
}

/* Reads blocks [from, to) of a segment, the last one filled up with zeros. */
static int read_blocks(struct publication *work, struct segment *segment, uint32_t from, uint32_t to)
{
	uint64_t offset = (segment->first + from) * BLOCK_BYTES;
	uint64_t bytes = (uint64_t)(to - from) * BLOCK_BYTES;
	uint8_t *data = segment->data + (size_t)from * BLOCK_BYTES;

	if (offset + bytes > work->source->bytes) {
		memset(data, 0, bytes);
		bytes = work->source->bytes - offset;
	}
	pthread_mutex_lock(&work->lock);
	work->result->read_bytes += bytes;
	pthread_mutex_unlock(&work->lock);
	return work->source->read(work->source->context, data, bytes, offset);
}

static int read_segment(struct publication *work, struct segment *segment)
{
	uint64_t start = segment->first * BLOCK_BYTES;
	int error = 0;

	memset(segment->unread, 0, sizeof(segment->unread));
	if (work->incremental)
		mark_unread(work, segment);
	if (!work->incremental && work->source->next_data &&
	    work->source->next_data(work->source->context, start) >=
		start + (uint64_t)segment->count * BLOCK_BYTES) {
		memset(segment->zero, 1, sizeof(segment->zero));
		return 0;
	}
	for (uint32_t i = 0; i < segment->count && !error;) {
		uint32_t end = i + 1;

		while (end < segment->count && segment->unread[end] == segment->unread[i])
			end++;
		if (!segment->unread[i])
			error = read_blocks(work, segment, i, end);
		i = end;
	}
	for (uint32_t i = 0; i < segment->count && !error; i++)
		segment->zero[i] =
		    !segment->unread[i] && is_zero(segment->data + (size_t)i * BLOCK_BYTES);
	return error;
}

static int hash_segment(struct thread *thread)
{
	struct segment *segment = &thread->segment;
	const uint8_t *blocks[SEGMENT_BLOCKS];
	uint8_t plains[SEGMENT_BLOCKS][NAME_BYTES], names[SEGMENT_BLOCKS][NAME_BYTES];
	uint32_t where[SEGMENT_BLOCKS], count = 0;
	int error;

	for (uint32_t i = 0; i < segment->count; i++) {
		if (segment->zero[i] || segment->unread[i])
			continue;
		where[count] = i;
		blocks[count++] = segment->data + (size_t)i * BLOCK_BYTES;
	}
	if (!count)
		return 0;
	error = hasher_run(thread->hasher, blocks, count, plains, names);
	for (uint32_t i = 0; i < count; i++) {
		memcpy(segment->plains[where[i]], plains[i], NAME_BYTES);
		memcpy(segment->names[where[i]], names[i], NAME_BYTES);
	}
	return error;
}

/* On its turn: where one block is, or goes. */
static int place_block(struct publication *work, struct segment *segment, uint32_t i,
		       struct block_ref *ref, struct open_frame **full)
{
	int error = 0;

	if (segment->zero[i]) {
		*ref = (struct block_ref){REF_ZERO_PACK, 0, 0};
		work->result->zero_blocks++;
		return work->incremental ? 0 : tree_add_zeros(&work->tree, 1);
	}
	if (!work->incremental)
		error = tree_add(&work->tree, segment->plains[i]);
	if (error)
		return error;
	error = index_find(work->index, segment->names[i], publish_alive, work, ref);
	if (!error) {
		work->result->known_blocks++;
		publish_mark(work, *ref);
		return 0;
	}
	if (error != -ENOENT)
		return error;
	error = publish_store_block(work, segment->data + (size_t)i * BLOCK_BYTES, ref, full);
	return error ? error : index_add(work->index, segment->names[i], *ref);
}

static int report(struct publication *work, uint64_t blocks)
{
	const struct progress *progress = &work->options->progress;
	uint64_t done = blocks * BLOCK_BYTES;

	if (done > work->source->bytes)
		done = work->source->bytes;
	if (progress->report && progress->report(progress->context, done, work->source->bytes))
		return -ECANCELED;
	return 0;
}

/* On its turn: places a segment's blocks; a leaf that is complete goes to the spill. */
static int place_segment(struct publication *work, struct segment *segment,
			 struct open_frame **full)
{
	uint64_t leaf = segment->first / MAP_LEAF_BLOCKS;
	uint32_t at = (uint32_t)(segment->first % MAP_LEAF_BLOCKS);
	uint64_t end = segment->first + segment->count;
	bool checkpoint;
	int error = 0;

	if (work->incremental && !at)
		error = publish_base_leaf(work, leaf, work->leaf);
	for (uint32_t i = 0; i < segment->count && !error; i++) {
		if (segment->unread[i])
			publish_mark(work, work->leaf[at + i]);
		else
			error = place_block(work, segment, i, &work->leaf[at + i], full);
	}
	if (!error && (end % MAP_LEAF_BLOCKS == 0 || end == work->blocks))
		error = publish_spill_leaf(work->spill, work->leaf, at + segment->count);
	if (error)
		return error;
	pthread_mutex_lock(&work->lock);
	checkpoint = work->sealed >= CHECKPOINT_PACKS;
	if (checkpoint)
		work->sealed = 0;
	pthread_mutex_unlock(&work->lock);
	if (checkpoint)
		error = publish_checkpoint(work);
	return error ? error : report(work, end);
}

/* Waits for this segment's turn, takes it and passes it on whatever happened. */
static int take_turn(struct thread *thread, uint64_t number, struct open_frame **full)
{
	struct publication *work = thread->work;
	int error = 0;

	pthread_mutex_lock(&work->order);
	while (work->turn_segment != number)
		pthread_cond_wait(&work->turn, &work->order);
	if (failed(work))
		error = -ECANCELED;
	else
		error = place_segment(work, &thread->segment, full);
	work->turn_segment++;
	pthread_cond_broadcast(&work->turn);
	pthread_mutex_unlock(&work->order);
	return error;
}

static bool next_segment(struct thread *thread, uint64_t *number)
{
	struct publication *work = thread->work;
	struct segment *segment = &thread->segment;

	pthread_mutex_lock(&work->lock);
	*number = work->next_segment;
	segment->first = *number * SEGMENT_BLOCKS;
	if (segment->first < work->blocks && !work->error)
		work->next_segment++;
	else
		segment->first = work->blocks;
	pthread_mutex_unlock(&work->lock);
	if (segment->first >= work->blocks)
		return false;
	segment->count = work->blocks - segment->first < SEGMENT_BLOCKS
			     ? (uint32_t)(work->blocks - segment->first)
			     : SEGMENT_BLOCKS;
	return true;
}

static void *worker(void *context)
{
	struct thread *thread = context;
	struct publication *work = thread->work;
	uint64_t number;

	while (next_segment(thread, &number)) {
		struct open_frame *full = NULL;
		int error = read_segment(work, &thread->segment);

		if (!error)
			error = hash_segment(thread);
		if (error)
			publish_fail(work, error);
		error = take_turn(thread, number, &full);
		if (error)
			publish_fail(work, error);
		publish_seal_frames(work, thread->codec, thread->scratch, full);
	}
	return NULL;
}

static void thread_release(struct thread *thread)
{
	if (!thread)
		return;
	hasher_free(thread->hasher);
	frame_codec_free(thread->codec);
	free(thread->scratch);
	free(thread->segment.data);
	free(thread);
}

static struct thread *thread_new(struct publication *work)
{
	struct thread *thread = calloc(1, sizeof(*thread));

	if (!thread)
		return NULL;
	thread->work = work;
	thread->hasher = hasher_new(work->domain);
	thread->codec = frame_codec_new();
	thread->scratch = malloc(FRAME_STORED_MAX);
	thread->segment.data = malloc(SEGMENT_BLOCKS * BLOCK_BYTES);
	if (thread->hasher && thread->codec && thread->scratch && thread->segment.data)
		return thread;
	thread_release(thread);
	return NULL;
}

int publish_read_disk(struct publication *work)
{
	struct thread *threads[PUBLISH_THREADS_MAX] = {NULL};
	pthread_t handles[PUBLISH_THREADS_MAX];
	unsigned int count = work->options->threads, started = 0;

	if (!count)
		count = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	if (count > PUBLISH_THREADS_MAX)
		count = PUBLISH_THREADS_MAX;
	for (unsigned int i = 0; i < count && !work->error; i++)
		if (!(threads[i] = thread_new(work)))
			work->error = -ENOMEM;
	if (!work->error) {
		while (started + 1 < count &&
		       !pthread_create(&handles[started], NULL, worker, threads[started + 1]))
			started++;
		worker(threads[0]);
	}
	for (unsigned int i = 0; i < started; i++)
		pthread_join(handles[i], NULL);
	for (unsigned int i = 0; i < count; i++)
		thread_release(threads[i]);
	return work->error;
}
