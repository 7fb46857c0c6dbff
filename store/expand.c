/*
 * expand.c: see expand.h. The map is read in windows; a window's runs are sorted by frame, and
 * threads take frame after frame, decode it and write its runs where they belong.
 */
#include "store/expand.h"
#include "store/image.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW_RUNS  (1u << 18)
#define THREADS_MAX  16u
#define ZERO_BYTES   (1u << 20)

struct disk_run {
	struct block_ref ref;
	uint64_t block;
	uint32_t count;
	uint32_t repeat; /* the same slot @count times */
};

struct expansion {
	struct image *image;
	const struct expand_options *options;
	struct expand_result *result;
	int fd;
	uint64_t disk_bytes, done_blocks;
	struct disk_run *runs;
	uint32_t run_count, next;
	pthread_mutex_t lock;
	int error;
	struct image_frame at_fault;
};

static int by_place(const void *a, const void *b)
{
	const struct disk_run *x = a, *y = b;

	if (x->ref.pack != y->ref.pack)
		return x->ref.pack < y->ref.pack ? -1 : 1;
	if (x->ref.number != y->ref.number)
		return x->ref.number < y->ref.number ? -1 : 1;
	return x->block < y->block ? -1 : x->block > y->block;
}

static int write_all(int fd, const uint8_t *data, uint64_t bytes, uint64_t offset)
{
	while (bytes) {
		ssize_t put = pwrite(fd, data, bytes, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		data += put;
		bytes -= (uint64_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

/* Writes blocks, cut at the end of the disk. */
static int write_blocks(struct expansion *work, const uint8_t *data, uint64_t block, uint32_t count)
{
	uint64_t offset = block * BLOCK_BYTES, bytes = (uint64_t)count * BLOCK_BYTES;

	if (offset + bytes > work->disk_bytes)
		bytes = work->disk_bytes - offset;
	return write_all(work->fd, data, bytes, offset);
}

static int write_run(struct expansion *work, const struct disk_run *run, const uint8_t *plain,
		     int plain_bytes)
{
	uint32_t last = run->ref.slot + (run->repeat ? 1 : run->count);
	int error = 0;

	if (last * BLOCK_BYTES > (uint32_t)plain_bytes)
		return -EBADMSG;
	if (!run->repeat)
		return write_blocks(work, plain + run->ref.slot * BLOCK_BYTES, run->block,
				    run->count);
	for (uint32_t i = 0; i < run->count && !error; i++)
		error = write_blocks(work, plain + run->ref.slot * BLOCK_BYTES, run->block + i, 1);
	return error;
}

/* Takes all runs of the next frame; false when there are none left. */
static bool take_frame(struct expansion *work, uint32_t *first, uint32_t *count)
{
	pthread_mutex_lock(&work->lock);
	*first = work->next;
	while (!work->error && work->next < work->run_count &&
	       work->runs[work->next].ref.pack == work->runs[*first].ref.pack &&
	       work->runs[work->next].ref.number == work->runs[*first].ref.number)
		work->next++;
	*count = work->next - *first;
	pthread_mutex_unlock(&work->lock);
	return *count;
}

static void finish_frame(struct expansion *work, const struct disk_run *run, uint64_t blocks,
			 int error)
{
	const struct progress *progress = &work->options->progress;

	pthread_mutex_lock(&work->lock);
	work->done_blocks += blocks;
	work->result->written_bytes += blocks * BLOCK_BYTES;
	work->result->frames++;
	if (!error && progress->report &&
	    progress->report(progress->context, work->done_blocks * BLOCK_BYTES,
			     image_manifest(work->image)->data_blocks * BLOCK_BYTES))
		error = -ECANCELED;
	if (error && !work->error) {
		work->error = error;
		image_frame_at(work->image, run->ref, &work->at_fault);
	}
	pthread_mutex_unlock(&work->lock);
}

static void *worker(void *context)
{
	struct expansion *work = context;
	struct frame_codec *codec = frame_codec_new();
	uint8_t *scratch = malloc(FRAME_STORED_MAX), *plain = malloc(FRAME_PLAIN_MAX);
	uint32_t first, count;
	bool ready = codec && scratch && plain;

	while (take_frame(work, &first, &count)) {
		const struct disk_run *run = &work->runs[first];
		uint64_t blocks = 0;
		int bytes = -ENOMEM, error = 0;

		if (ready)
			bytes = image_load_frame(work->image, codec, run->ref, scratch, plain);
		if (bytes < 0)
			error = bytes;
		for (uint32_t i = 0; i < count && !error; i++) {
			error = write_run(work, &run[i], plain, bytes);
			blocks += run[i].count;
		}
		finish_frame(work, run, blocks, error);
	}
	frame_codec_free(codec);
	free(scratch);
	free(plain);
	return NULL;
}

static int run_window(struct expansion *work)
{
	pthread_t threads[THREADS_MAX];
	unsigned int count = work->options->threads, started = 0;

	if (!count)
		count = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	if (count > THREADS_MAX)
		count = THREADS_MAX;
	qsort(work->runs, work->run_count, sizeof(*work->runs), by_place);
	work->next = 0;
	while (started + 1 < count && !pthread_create(&threads[started], NULL, worker, work))
		started++;
	worker(work);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	work->run_count = 0;
	return work->error;
}

static int write_zeros(struct expansion *work, uint64_t block, uint32_t count)
{
	static const uint8_t zeros[ZERO_BYTES];
	int error = 0;

	while (count && !error) {
		uint32_t now = count > ZERO_BYTES / BLOCK_BYTES ? ZERO_BYTES / BLOCK_BYTES : count;

		error = write_blocks(work, zeros, block, now);
		block += now;
		count -= now;
	}
	return error;
}

/* Splits a leaf's references into runs. */
static int add_leaf(struct expansion *work, const struct block_ref *refs, uint32_t count,
		    uint64_t block)
{
	for (uint32_t i = 0; i < count;) {
		uint32_t length = 1;
		bool repeat = i + 1 < count && ref_same(refs[i], refs[i + 1]);
		struct block_ref next = refs[i];

		for (; i + length < count; length++) {
			if (!repeat)
				next.slot++;
			if (!ref_same(refs[i + length], next))
				break;
		}
		if (ref_is_zero(refs[i])) {
			int error = work->options->keep_old
					? write_zeros(work, block + i, length)
					: 0;

			if (error)
				return error;
		} else {
			work->runs[work->run_count++] =
			    (struct disk_run){refs[i], block + i, length, repeat};
		}
		i += length;
	}
	return 0;
}

static int expand_all(struct expansion *work, struct block_ref *refs)
{
	uint64_t blocks = manifest_blocks(image_manifest(work->image));
	int error = 0;

	for (uint64_t leaf = 0; leaf * MAP_LEAF_BLOCKS < blocks && !error; leaf++) {
		int count = image_leaf(work->image, leaf, refs, &work->at_fault);

		if (count < 0)
			return count;
		if (work->run_count + (uint32_t)count > WINDOW_RUNS)
			error = run_window(work);
		if (!error)
			error = add_leaf(work, refs, (uint32_t)count, leaf * MAP_LEAF_BLOCKS);
	}
	return error ? error : run_window(work);
}

static int prepare_target(struct expansion *work)
{
	struct stat status;

	if (work->options->keep_old)
		return 0;
	if (fstat(work->fd, &status))
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	return ftruncate(work->fd, 0) || ftruncate(work->fd, (off_t)work->disk_bytes) ? -errno : 0;
}

static int explain(struct expansion *work, int error, struct problem *problem)
{
	char salt[2 * SALT_BYTES + 1];

	store_hex(work->at_fault.address.salt, SALT_BYTES, salt);
	if (error == -ENODATA)
		return problem_set(problem, error, "frame %u of pack %s is not here; fetch the "
						   "version first",
				   work->at_fault.address.number, salt);
	if (error == -EBADMSG)
		return problem_set(problem, error, "frame %u of pack %s is damaged; repair the store "
						   "(bulkhead store check --repair)",
				   work->at_fault.address.number, salt);
	if (error == -EINVAL)
		return problem_set(problem, error, "the target is no regular file; it must be "
						   "overwritten whole (keep_old)");
	return problem_errno(problem, error, "cannot write the disk out");
}

int expand_version(struct store *store, const struct domain *domain,
		   const uint8_t version[VERSION_ID_BYTES], int fd,
		   const struct expand_options *options, struct expand_result *result,
		   struct problem *problem)
{
	static const struct expand_options defaults;
	struct expand_result unused;
	struct expansion work = {
	    .options = options ? options : &defaults,
	    .result = result ? result : &unused,
	    .fd = fd,
	};
	struct block_ref *refs;
	int error = image_open(store, domain, version, &work.image, problem);

	if (error)
		return error;
	memset(work.result, 0, sizeof(*work.result));
	pthread_mutex_init(&work.lock, NULL);
	work.disk_bytes = image_manifest(work.image)->disk_bytes;
	work.runs = calloc(WINDOW_RUNS, sizeof(*work.runs));
	refs = calloc(MAP_LEAF_BLOCKS, sizeof(*refs));
	error = work.runs && refs ? prepare_target(&work) : -ENOMEM;
	if (!error)
		error = expand_all(&work, refs);
	if (!error && !work.options->no_sync && fdatasync(fd))
		error = -errno;
	if (error)
		explain(&work, error, problem);
	free(refs);
	free(work.runs);
	pthread_mutex_destroy(&work.lock);
	image_close(work.image);
	return error;
}
