/*
 * Serving a version while it arrives; see version.h.
 *
 * A window is 64 blocks of the disk, as many as a frame has. Where a window's block is missing, the frame that has it is
 * decoded once and every block of the window that it holds is kept. Windows are filled one at a time by whoever comes
 * first; others who need the same wait for it.
 */
#include "version_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/** What one thread at a time reads the store with. */
struct reader {
	struct image *image;
	struct frame_codec *codec;
	uint8_t *scratch, *plain;
};

static void reader_free(struct reader *reader)
{
	image_close(reader->image);
	frame_codec_free(reader->codec);
	free(reader->scratch);
	free(reader->plain);
	free(reader);
}

static struct reader *reader_new(const struct version *version, int *error, struct problem *problem)
{
	struct reader *reader = calloc(1, sizeof(*reader));

	*error = -ENOMEM;
	if (!reader)
		return NULL;
	*error = image_open(version->options.store, version->options.domain, version->id, &reader->image, problem);
	if (*error) {
		free(reader);
		return NULL;
	}
	reader->codec = frame_codec_new();
	reader->scratch = malloc(FRAME_STORED_MAX);
	reader->plain = malloc(FRAME_PLAIN_MAX);
	if (reader->codec && reader->scratch && reader->plain)
		return reader;
	*error = -ENOMEM;
	reader_free(reader);
	return NULL;
}

static struct reader *reader_get(struct version *version, int *error)
{
	struct reader *reader = NULL;

	pthread_mutex_lock(&version->lock);
	if (version->idle_count)
		reader = version->idle[--version->idle_count];
	pthread_mutex_unlock(&version->lock);
	*error = 0;
	return reader ? reader : reader_new(version, error, NULL);
}

static void reader_put(struct version *version, struct reader *reader)
{
	pthread_mutex_lock(&version->lock);
	if (version->idle_count < READERS_IDLE) {
		version->idle[version->idle_count++] = reader;
		reader = NULL;
	}
	pthread_mutex_unlock(&version->lock);
	if (reader)
		reader_free(reader);
}

/** Has a missing frame fetched. */
static int fetch(struct version *version, const struct image_frame *frame, bool urgent)
{
	return version->options.fetch ? version->options.fetch(version->options.context, frame, urgent) : -ENODATA;
}

/** Where the blocks of a window come from; fetches pages of the map that are missing. */
static int locate(struct version *version, struct reader *reader, uint64_t first, uint32_t count,
		  struct block_ref *refs, bool urgent)
{
	struct image_frame missing;
	int error;

	/* A path through the map has at most MAP_LEVELS_MAX pages; a store that still lacks one then will not get it. */
	for (unsigned int i = 0; i <= 2 * MAP_LEVELS_MAX; i++) {
		error = image_locate(reader->image, first, count, refs, &missing);
		if (error != -ENODATA)
			return error;
		error = fetch(version, &missing, urgent);
		if (error)
			return error;
	}
	return -ENODATA;
}

/** Decodes the frame of @ref into the reader. Returns its length or a negative errno. */
static int load(struct version *version, struct reader *reader, struct block_ref ref, bool urgent)
{
	struct image_frame frame;
	int length, error;

	if (!image_has_frame(reader->image, ref)) {
		error = image_frame_at(reader->image, ref, &frame);
		if (!error)
			error = fetch(version, &frame, urgent);
		if (error)
			return error;
		if (!image_has_frame(reader->image, ref))
			return -ENODATA;
	}
	length = image_load_frame(reader->image, reader->codec, ref, reader->scratch, reader->plain);
	return length;
}

/** Keeps every block of the window that is in the frame just decoded. */
static int keep_frame(struct version *version, const struct reader *reader, const struct block_ref *refs,
		      uint64_t window, uint32_t count, struct block_ref ref, uint32_t plain_bytes)
{
	enum block_state state;
	int error = 0;

	for (uint32_t i = 0; !error && i < count; i++) {
		if (ref_is_zero(refs[i]) || refs[i].pack != ref.pack || refs[i].number != ref.number)
			continue;
		if (((uint32_t)refs[i].slot + 1) * BLOCK_BYTES > plain_bytes)
			return -EBADMSG;
		layer_run(version->layer, window + i, 1, &state);
		if (state == BLOCK_ABSENT || (version->repairing && state == BLOCK_DATA))
			error = layer_write(version->layer, window + i, 1,
					    reader->plain + (size_t)refs[i].slot * BLOCK_BYTES);
	}
	return error;
}

static int keep_zeros(struct version *version, const struct block_ref *refs, uint64_t window, uint32_t count)
{
	int error = 0;

	for (uint32_t i = 0, run; !error && i < count; i += run) {
		enum block_state state;

		for (run = 1; i + run < count && ref_is_zero(refs[i + run]) == ref_is_zero(refs[i]); run++)
			;
		if (!ref_is_zero(refs[i]))
			continue;
		/* All of a run or, where one of it is here already, block by block. */
		for (uint32_t at = 0, same; !error && at < run; at += same) {
			same = (uint32_t)layer_run(version->layer, window + i + at, run - at, &state);
			if (state == BLOCK_ABSENT)
				error = layer_zero(version->layer, window + i + at, same);
		}
	}
	return error;
}

/** Blocks first..last of a window that @state says are absent are brought. With the window held. */
static int fill_window(struct version *version, struct reader *reader, uint64_t window, uint64_t first, uint64_t last,
		       bool urgent)
{
	struct block_ref refs[WINDOW_BLOCKS];
	uint64_t left = version->blocks - window;
	uint32_t count = left < WINDOW_BLOCKS ? (uint32_t)left : WINDOW_BLOCKS;
	enum block_state state;
	int error = locate(version, reader, window, count, refs, urgent);

	if (!error)
		error = keep_zeros(version, refs, window, count);
	for (uint64_t block = first; !error && block <= last; block++) {
		struct block_ref ref = refs[block - window];
		int length;

		layer_run(version->layer, block, 1, &state);
		if (ref_is_zero(ref) || (state != BLOCK_ABSENT && !version->repairing))
			continue;
		length = load(version, reader, ref, urgent);
		error = length < 0 ? length
				   : keep_frame(version, reader, refs, window, count, ref, (uint32_t)length);
	}
	return error;
}

/** Takes a window for one thread. */
static void hold_window(struct version *version, uint64_t window)
{
	pthread_mutex_lock(&version->lock);
	for (unsigned int i = 0; i < WINDOWS_HELD; i++) {
		if (version->held[i] == window + 1) {
			pthread_cond_wait(&version->released, &version->lock);
			i = (unsigned int)-1; /* look at all of them again */
		}
	}
	for (;;) {
		for (unsigned int i = 0; i < WINDOWS_HELD; i++) {
			if (version->held[i] == 0) {
				version->held[i] = window + 1;
				pthread_mutex_unlock(&version->lock);
				return;
			}
		}
		pthread_cond_wait(&version->released, &version->lock);
	}
}

static void release_window(struct version *version, uint64_t window)
{
	pthread_mutex_lock(&version->lock);
	for (unsigned int i = 0; i < WINDOWS_HELD; i++)
		if (version->held[i] == window + 1)
			version->held[i] = 0;
	pthread_cond_broadcast(&version->released);
	pthread_mutex_unlock(&version->lock);
}

int version_bring(struct version *version, uint64_t first, uint64_t count, bool urgent)
{
	int error = 0;

	while (!error && count) {
		uint64_t window = first / WINDOW_BLOCKS * WINDOW_BLOCKS;
		uint64_t now = window + WINDOW_BLOCKS - first;
		enum block_state state;
		struct reader *reader;

		if (now > count)
			now = count;
		/* Bitmaps say at once that all is here: the usual case. */
		uint64_t at = first;

		while (at < first + now) {
			uint64_t same = layer_run(version->layer, at, first + now - at, &state);

			if (state == BLOCK_ABSENT)
				break;
			at += same;
		}
		if (at < first + now) {
			reader = reader_get(version, &error);
			if (!reader)
				return error;
			hold_window(version, window);
			error = fill_window(version, reader, window, at, first + now - 1, urgent);
			release_window(version, window);
			reader_put(version, reader);
		}
		first += now;
		count -= now;
	}
	return error;
}

/** A block of the layer does not have its tag: its frame is decoded again and the block written anew. */
static int repair_block(struct version *version, uint64_t block)
{
	uint64_t window = block / WINDOW_BLOCKS * WINDOW_BLOCKS;
	struct reader *reader;
	int error;

	reader = reader_get(version, &error);
	if (!reader)
		return error;
	pthread_mutex_lock(&version->repair_lock);
	version->repairing = true;
	hold_window(version, window);
	error = fill_window(version, reader, window, block, block, true);
	release_window(version, window);
	version->repairing = false;
	pthread_mutex_unlock(&version->repair_lock);
	reader_put(version, reader);
	return error;
}

static int read_run(struct version *version, uint64_t first, uint64_t count, uint8_t *to)
{
	uint64_t bad;
	int error;

	for (unsigned int tries = 0; tries < 3; tries++) {
		error = layer_read(version->layer, first, count, to, &bad);
		if (error != -EBADMSG)
			break;
		error = repair_block(version, bad);
		if (error)
			return error;
	}
	return error;
}

int version_read(struct version *version, uint64_t first, uint64_t count, void *buffer)
{
	uint8_t *to = buffer;
	int error;

	if (first >= version->blocks || count > version->blocks - first)
		return -EINVAL;
	if (__atomic_load_n(&version->seen, __ATOMIC_ACQUIRE))
		version_record_read(version, first, count);
	__atomic_add_fetch(&version->urgent, 1, __ATOMIC_RELAXED);
	error = version_bring(version, first, count, true);
	__atomic_sub_fetch(&version->urgent, 1, __ATOMIC_RELAXED);
	while (!error && count) {
		enum block_state state;
		uint64_t now = layer_run(version->layer, first, count, &state);

		if (state == BLOCK_ZERO)
			memset(to, 0, now * BLOCK_BYTES);
		else
			error = read_run(version, first, now, to);
		to += now * BLOCK_BYTES;
		first += now;
		count -= now;
	}
	return error;
}

static int open_layer(struct version *version, struct problem *problem)
{
	const struct version_options *options = &version->options;
	int error = layer_open(options->files, options->folder, options->key, &version->layer, NULL);

	if (error == -ENOENT) {
		error = layer_create(options->files, options->folder, LAYER_SEALED, version->blocks,
				     LAYER_JOURNAL_BYTES, options->key, problem);
		if (!error)
			error = layer_open(options->files, options->folder, options->key, &version->layer, problem);
	}
	if (error)
		return problem_errno(problem, error, "%s: the blocks of the version cannot be opened",
				     options->folder);
	if (layer_blocks(version->layer) == version->blocks)
		return 0;
	layer_abandon(version->layer);
	version->layer = NULL;
	return problem_set(problem, -EINVAL, "%s: holds another disk's blocks; give each version its own folder",
			   options->folder);
}

int version_open(const struct version_options *options, struct version **opened, struct problem *problem)
{
	struct version *version = calloc(1, sizeof(*version));
	struct reader *reader;
	int error;

	if (!version)
		return problem_errno(problem, -ENOMEM, "the version cannot be opened");
	version->options = *options;
	memcpy(version->id, options->id, VERSION_ID_BYTES);
	pthread_mutex_init(&version->lock, NULL);
	pthread_mutex_init(&version->repair_lock, NULL);
	pthread_cond_init(&version->released, NULL);
	reader = reader_new(version, &error, problem);
	if (reader) {
		version->disk_bytes = image_manifest(reader->image)->disk_bytes;
		version->blocks = manifest_blocks(image_manifest(reader->image));
		version->idle[version->idle_count++] = reader;
		error = open_layer(version, problem);
	}
	if (!error && options->background)
		error = version_start_background(version);
	if (error) {
		version_close(version);
		return problem_errno(problem, error, "the version cannot be opened");
	}
	*opened = version;
	return 0;
}

void version_close(struct version *version)
{
	version_stop_background(version);
	for (unsigned int i = 0; i < version->idle_count; i++)
		reader_free(version->idle[i]);
	if (version->layer)
		(void)layer_close(version->layer); /* what it lost can be fetched again */
	pthread_cond_destroy(&version->released);
	pthread_mutex_destroy(&version->repair_lock);
	pthread_mutex_destroy(&version->lock);
	free(version->seen);
	free(version->runs);
	free(version);
}

uint64_t version_disk_bytes(const struct version *version)
{
	return version->disk_bytes;
}
