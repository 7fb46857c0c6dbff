/* publish.c: one publication from opening the session to the commit; see publish.h. */
#include "store/publish.h"
#include "store/bytes.h"
#include "store/publish_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

static int fd_read(void *context, void *buffer, size_t bytes, uint64_t offset)
{
	int fd = (int)(intptr_t)context;

	while (bytes) {
		ssize_t got = pread(fd, buffer, bytes, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -ESTALE;
		buffer = (char *)buffer + got;
		bytes -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

static uint64_t fd_next_data(void *context, uint64_t offset)
{
	off_t data = lseek((int)(intptr_t)context, (off_t)offset, SEEK_DATA);

	if (data < 0)
		return errno == ENXIO ? UINT64_MAX : offset;
	return (uint64_t)data;
}

int publish_source_fd(int fd, struct publish_source *source)
{
	struct stat status;

	if (fstat(fd, &status))
		return -errno;
	*source = (struct publish_source){
	    .bytes = (uint64_t)status.st_size,
	    .read = fd_read,
	    .next_data = fd_next_data,
	    .context = (void *)(intptr_t)fd,
	};
	if (S_ISBLK(status.st_mode)) {
		source->next_data = NULL;
		if (ioctl(fd, BLKGETSIZE64, &source->bytes))
			return -errno;
	} else if (!S_ISREG(status.st_mode)) {
		return -EINVAL;
	}
	return 0;
}

static int check_options(const struct publication *work)
{
	const struct publish_options *options = work->options;
	uint64_t before = 0;

	if (!options->label || !manifest_label_ok(options->label))
		return problem_set(work->problem, -EINVAL,
				   "a label is 1 to 255 characters without control characters");
	if (options->description_bytes > MANIFEST_DESCRIPTION_MAX)
		return problem_set(work->problem, -EINVAL,
				   "the machine's description is larger than 256 KiB");
	if (!work->source->bytes || work->source->bytes > DISK_BYTES_MAX)
		return problem_set(work->problem, -EINVAL,
				   "the disk is empty or larger than 16 TiB");
	if (options->level < 0 || options->level > 19)
		return problem_set(work->problem, -EINVAL, "the zstd level must be 1 to 19");
	if (options->changes && !options->base)
		return problem_set(work->problem, -EINVAL,
				   "a change map needs the version that it starts from");
	for (size_t i = 0; i < options->change_count; i++) {
		const struct block_range *range = &options->changes[i];

		if (!range->count || range->first < before || range->first >= work->blocks ||
		    range->count > work->blocks - range->first)
			return problem_set(work->problem, -EINVAL,
					   "the change map does not fit the disk; back up in full");
		before = range->first + range->count;
	}
	return 0;
}

static int open_base(struct publication *work)
{
	const struct manifest *manifest;
	int error;

	if (!work->options->base)
		return 0;
	error = image_open(work->store, work->domain, work->options->base, &work->base,
			   work->problem);
	if (error)
		return error;
	manifest = image_manifest(work->base);
	work->base_ids = calloc(manifest->pack_count, sizeof(*work->base_ids));
	if (!work->base_ids)
		return -ENOMEM;
	for (uint32_t i = 0; i < manifest->pack_count && !error; i++) {
		struct pack_row row;

		error = catalogue_find_pack(work->store->catalogue, manifest->packs[i].salt, &row);
		if (!error) {
			work->base_ids[i] = row.id;
			pack_row_release(&row);
		}
	}
	return error;
}

/* A scratch file without a name; it holds places of blocks, never their contents. */
static FILE *open_spill(void)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	FILE *file;

	if (fd < 0)
		return tmpfile();
	file = fdopen(fd, "w+");
	if (!file)
		close(fd);
	return file;
}

static int prepare(struct publication *work)
{
	int error = check_options(work);

	if (!error)
		error = catalogue_add_session(work->store->catalogue,
					      work->store->now() + STORE_SESSION_SECONDS,
					      &work->session);
	if (!error)
		error = publish_load_packs(work);
	if (!error)
		error = index_open(work->store->files, work->store->catalogue, work->domain->id,
				   &work->index, work->problem);
	if (!error)
		error = open_base(work);
	if (!error)
		error = tree_start(&work->tree);
	if (error)
		return error;
	work->incremental = work->options->changes;
	work->codec = frame_codec_new();
	work->spill = open_spill();
	if (!work->spill)
		return errno ? -errno : -EIO;
	return work->codec ? 0 : -ENOMEM;
}

/* The frames of one old pack that the version uses; counts their bytes. */
static int used_of_old(struct publication *work, const struct known_pack *known, uint8_t *used,
		       bool *any)
{
	struct pack_row row = {.frame_count = known->frame_count,
			       .table_offset = known->table_offset};
	struct pack_table table;
	int error;

	*any = false;
	for (uint32_t i = 0; i < known->frame_count; i++) {
		if (!known->slots[i] || bitmap_get(known->rejected, i))
			continue;
		bitmap_set(used, i);
		*any = true;
	}
	if (!*any)
		return 0;
	memcpy(row.salt, known->salt, SALT_BYTES);
	memcpy(row.table_name, known->table_name, NAME_BYTES);
	error = store_read_table(work->store, &row, &table);
	if (error)
		return error;
	for (uint32_t i = 0; i < known->frame_count; i++)
		if (bitmap_get(used, i))
			work->used_bytes += table.entries[i].stored_bytes;
	pack_table_release(&table);
	return 0;
}

static int add_used(struct publication *work, const struct known_pack *known,
		    struct manifest *manifest)
{
	struct manifest_pack *pack = &manifest->packs[manifest->pack_count];
	struct pack_writer *writer = work->writers;
	bool any = true;
	int error = 0;

	memcpy(pack->salt, known->salt, SALT_BYTES);
	memcpy(pack->table_name, known->table_name, NAME_BYTES);
	pack->table_offset = known->table_offset;
	pack->frame_count = known->frame_count;
	if (known->fresh) {
		while (writer && writer->id != known->id)
			writer = writer->next;
		if (!writer || !pack_writer_sealed(writer))
			return -EIO;
		memcpy(pack->table_name, writer->table.name, NAME_BYTES);
		pack->table_offset = writer->table.table_offset;
		pack->frame_count = writer->table.frame_count;
	}
	pack->used = calloc(1, bitmap_bytes(pack->frame_count) + 1);
	if (!pack->used)
		return -ENOMEM;
	if (known->fresh) {
		for (uint32_t i = 0; i < pack->frame_count; i++) {
			bitmap_set(pack->used, i);
			work->used_bytes += writer->table.entries[i].stored_bytes;
		}
	} else {
		error = used_of_old(work, known, pack->used, &any);
	}
	if (any && !error) {
		manifest->pack_count++;
		return 0;
	}
	free(pack->used);
	pack->used = NULL;
	return error;
}

static int by_salt(const void *a, const void *b)
{
	return memcmp(((const struct manifest_pack *)a)->salt,
		      ((const struct manifest_pack *)b)->salt, SALT_BYTES);
}

static int fill_manifest(struct publication *work, const struct frame_address *root,
			 struct manifest *manifest)
{
	const struct publish_options *options = work->options;
	int error = 0;

	memset(manifest, 0, sizeof(*manifest));
	memcpy(manifest->domain_id, work->domain->id, DOMAIN_ID_BYTES);
	manifest->disk_bytes = work->source->bytes;
	manifest->created = options->created;
	if (options->base)
		memcpy(manifest->base, options->base, VERSION_ID_BYTES);
	manifest->map_root = *root;
	manifest->map_levels = manifest_map_levels(work->blocks);
	manifest->data_blocks = work->data_blocks;
	strncpy(manifest->label, options->label, MANIFEST_LABEL_MAX);
	manifest->packs = calloc(work->pack_count, sizeof(*manifest->packs));
	manifest->description = malloc(options->description_bytes + 1);
	if (!manifest->packs || !manifest->description)
		return -ENOMEM;
	manifest->description_bytes = (uint32_t)options->description_bytes;
	if (options->description_bytes)
		memcpy(manifest->description, options->description, options->description_bytes);
	for (uint32_t i = 0; i < work->pack_count && !error; i++)
		error = add_used(work, &work->packs[i], manifest);
	qsort(manifest->packs, manifest->pack_count, sizeof(*manifest->packs), by_salt);
	manifest->stored_bytes = work->used_bytes;
	if (!error && !work->incremental) {
		manifest->has_tree_root = true;
		error = tree_root(&work->tree, manifest->tree_root);
	}
	return error;
}

static int sign(struct publication *work, const struct manifest *manifest, char **text)
{
	struct dsse_envelope envelope;
	uint8_t *data;
	size_t bytes;
	int error = manifest_write(manifest, &data, &bytes);

	if (error)
		return error;
	error = store_sha256(data, bytes, work->result->version);
	if (!error)
		error = dsse_new(&envelope, DSSE_TYPE_MANIFEST, data, bytes);
	free(data);
	if (error)
		return error;
	error = work->options->signer.sign(work->options->signer.context, &envelope);
	if (error)
		problem_set(work->problem, error, "the version could not be signed");
	else
		error = dsse_write(&envelope, text);
	dsse_release(&envelope);
	if (!error)
		work->result->envelope_bytes = strlen(*text);
	return error;
}

/* The transaction that makes the version and its packs exist. */
static int commit(struct publication *work, const struct manifest *manifest, const char *envelope)
{
	struct catalogue *catalogue = work->store->catalogue;
	int error = index_flush(work->index);

	if (!error)
		error = catalogue_begin(catalogue);
	if (error)
		return error;
	error = catalogue_renew_session(catalogue, work->session,
					work->store->now() + STORE_SESSION_SECONDS);
	if (error == -ENOENT)
		error = problem_set(work->problem, -ESTALE, "the publication took longer than its "
							    "session; publish again");
	if (!error)
		error = publish_settle(work);
	if (!error)
		error = index_commit(work->index);
	if (!error)
		error = store_add_version(work->store, work->result->version, manifest, envelope,
					  true, work->problem);
	if (!error)
		error = catalogue_remove_session(catalogue, work->session);
	if (error) {
		catalogue_rollback(catalogue);
		return error;
	}
	error = catalogue_commit(catalogue);
	if (!error)
		work->session = 0;
	return error;
}

static int finish(struct publication *work)
{
	struct frame_address root;
	struct manifest manifest = {.pack_count = 0};
	char *envelope = NULL;
	int error = publish_write_map(work, &root);

	if (!error)
		error = publish_close_writers(work);
	if (!error)
		error = fill_manifest(work, &root, &manifest);
	if (!error)
		error = sign(work, &manifest, &envelope);
	if (!error)
		error = commit(work, &manifest, envelope);
	free(envelope);
	manifest_release(&manifest);
	return error;
}

static bool pack_exists(void *context, uint32_t id)
{
	return publish_pack(context, id);
}

/* Takes back what no commit made known. */
static void abandon(struct publication *work)
{
	struct catalogue *catalogue = work->store->catalogue;
	char path[PACK_PATH_BYTES];

	for (struct pack_writer *writer = work->writers; writer; writer = writer->next) {
		const struct known_pack *known = publish_pack(work, writer->id);

		if (known && known->frame_count)
			continue;
		if (pack_writer_sealed(writer)) {
			pack_path(writer->table.salt, "pack", path);
			(void)work->store->files->unlink(work->store->files, path);
		}
		(void)catalogue_remove_pack(catalogue, writer->id);
	}
	(void)catalogue_remove_session(catalogue, work->session);
}

static void release(struct publication *work)
{
	if (work->session)
		abandon(work);
	publish_release_packs(work);
	index_close(work->index);
	image_close(work->base);
	free(work->base_ids);
	frame_codec_free(work->codec);
	if (work->spill)
		fclose(work->spill);
	pthread_mutex_destroy(&work->lock);
	pthread_mutex_destroy(&work->order);
	pthread_cond_destroy(&work->turn);
	free(work);
}

int publish_version(struct store *store, const struct domain *domain,
		    const struct publish_source *source, const struct publish_options *options,
		    struct publish_result *result, struct problem *problem)
{
	struct publication *work = calloc(1, sizeof(*work));
	struct publish_result unused;
	int error;

	if (!work)
		return -ENOMEM;
	work->store = store;
	work->domain = domain;
	work->source = source;
	work->options = options;
	work->result = result ? result : &unused;
	work->problem = problem;
	work->blocks = (source->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
	memset(work->result, 0, sizeof(*work->result));
	pthread_mutex_init(&work->lock, NULL);
	pthread_mutex_init(&work->order, NULL);
	pthread_cond_init(&work->turn, NULL);
	error = prepare(work);
	if (!error)
		error = publish_read_disk(work);
	if (!error)
		error = finish(work);
	/* A failed merge costs speed, nothing else. */
	if (!error)
		(void)index_merge(work->index, pack_exists, work);
	if (error == -ENODATA)
		problem_set(problem, error, "frames of the version before it are missing; fetch it");
	if (error == -EUCLEAN)
		problem_set(problem, error, "the store's block index is damaged; rebuild it from the "
					    "packs (bulkhead store rebuild)");
	if (error == -ECANCELED)
		problem_set(problem, error, "cancelled; nothing was published");
	if (error)
		problem_errno(problem, error, "cannot publish %s", options->label);
	release(work);
	return error;
}
