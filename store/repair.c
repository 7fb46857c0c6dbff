/* repair.c: checking and mending; see repair.h. */
#include "store/repair.h"
#include "store/bytes.h"
#include "store/pack_check.h"
#include "store/store_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct inspection {
	struct store *store;
	int (*each)(void *context, const struct fault *fault);
	void *context;
	struct check_result *result;
};

static int found(struct inspection *work, const struct fault *fault)
{
	work->result->faults++;
	return work->each ? work->each(work->context, fault) : 0;
}

static int pack_fault(struct inspection *work, const struct pack_row *row, enum fault_kind kind,
		      uint32_t number, uint64_t offset, uint64_t bytes)
{
	struct fault fault = {.kind = kind, .number = number, .offset = offset, .bytes = bytes};

	memcpy(fault.salt, row->salt, SALT_BYTES);
	return found(work, &fault);
}

static int check_header(struct inspection *work, struct store_file *file, const struct pack_row *row)
{
	uint8_t data[PACK_HEADER_BYTES];
	struct pack_header header;

	if (!store_file_read_all(file, data, sizeof(data), 0) && !pack_header_read(data, &header) &&
	    !memcmp(header.salt, row->salt, SALT_BYTES) &&
	    !memcmp(header.domain_id, row->domain, DOMAIN_ID_BYTES))
		return 0;
	return pack_fault(work, row, FAULT_PACK_HEADER, 0, 0, PACK_HEADER_BYTES);
}

static int check_trailer(struct inspection *work, struct store_file *file, const struct pack_row *row)
{
	uint64_t at = row->table_offset + pack_table_bytes(row->frame_count);
	uint8_t data[PACK_TRAILER_BYTES], wanted[PACK_TRAILER_BYTES];

	pack_trailer_write(row->frame_count, wanted);
	if (!store_file_read_all(file, data, sizeof(data), at) &&
	    !memcmp(data, wanted, sizeof(wanted)))
		return 0;
	return pack_fault(work, row, FAULT_PACK_TRAILER, 0, at, PACK_TRAILER_BYTES);
}

static int check_frames(struct inspection *work, struct store_file *file, const struct pack_row *row,
			const struct pack_table *table)
{
	uint8_t *good = calloc(1, bitmap_bytes(row->frame_count) + 1);
	int error = good ? pack_check_frames(file, table, row->present, good) : -ENOMEM;

	for (uint32_t i = 0; i < row->frame_count && !error; i++) {
		if (!bitmap_get(row->present, i))
			continue;
		work->result->frames++;
		work->result->bytes += table->entries[i].stored_bytes;
		if (!bitmap_get(good, i))
			error = pack_fault(work, row, FAULT_FRAME, i, table->entries[i].offset,
					   table->entries[i].stored_bytes);
	}
	free(good);
	return error;
}

static int check_pack(struct inspection *work, const struct pack_row *row)
{
	struct pack_table table;
	struct store_file *file;
	char path[PACK_PATH_BYTES];
	int error;

	work->result->packs++;
	pack_path(row->salt, "pack", path);
	error = work->store->files->open(work->store->files, path, STORE_OPEN_READ, &file);
	if (error == -ENOENT)
		return pack_fault(work, row, FAULT_PACK_MISSING, 0, 0,
				  pack_bytes(row->table_offset, row->frame_count));
	if (error)
		return error;
	error = check_header(work, file, row);
	if (!error)
		error = check_trailer(work, file, row);
	if (!error) {
		error = store_read_table(work->store, row, &table);
		if (error == -EBADMSG) {
			error = pack_fault(work, row, FAULT_PACK_TABLE, 0, row->table_offset,
					   pack_table_bytes(row->frame_count));
		} else if (!error) {
			error = check_frames(work, file, row, &table);
			pack_table_release(&table);
		}
	}
	work->store->files->close(file);
	return error;
}

/* Whether everything that an arrived version uses is marked as being here. */
static int frames_here(struct inspection *work, const struct manifest *manifest, bool *here)
{
	*here = true;
	for (uint32_t p = 0; p < manifest->pack_count && *here; p++) {
		const struct manifest_pack *listed = &manifest->packs[p];
		struct pack_row row;
		int error = catalogue_find_pack(work->store->catalogue, listed->salt, &row);

		if (error && error != -ENOENT)
			return error;
		*here = !error && row.frame_count == listed->frame_count;
		for (size_t i = 0; *here && i < bitmap_bytes(row.frame_count); i++)
			*here = row.remote || !(listed->used[i] & (uint8_t)~row.present[i]);
		if (!error)
			pack_row_release(&row);
	}
	return 0;
}

static int check_version(void *context, const struct version_row *row)
{
	struct inspection *work = context;
	struct fault fault = {.kind = FAULT_VERSION_FILE};
	struct manifest manifest;
	bool here;
	int error;

	work->result->versions++;
	memcpy(fault.version, row->id, VERSION_ID_BYTES);
	if (store_read_manifest(work->store, row->id, &manifest, NULL))
		return found(work, &fault);
	error = row->arrived ? frames_here(work, &manifest, &here) : 0;
	if (!error && row->arrived && !here) {
		fault.kind = FAULT_VERSION_FRAMES;
		error = found(work, &fault);
	}
	manifest_release(&manifest);
	return error;
}

static uint64_t total_bytes(struct store *store)
{
	struct pack_row row;
	uint64_t bytes = 0;
	uint32_t after = 0;

	while (!catalogue_next_pack(store->catalogue, NULL, after, &row)) {
		after = row.id;
		bytes += pack_bytes(row.table_offset, row.frame_count);
		pack_row_release(&row);
	}
	return bytes;
}

int repair_check(struct store *store, int (*each)(void *context, const struct fault *fault),
		 void *context, const struct progress *progress, struct check_result *result,
		 struct problem *problem)
{
	struct check_result unused;
	struct inspection work = {store, each, context, result ? result : &unused};
	uint64_t total = progress && progress->report ? total_bytes(store) : 0, done = 0;
	struct pack_row row;
	uint32_t after = 0;
	int error;

	memset(work.result, 0, sizeof(*work.result));
	while (!(error = catalogue_next_pack(store->catalogue, NULL, after, &row))) {
		after = row.id;
		if (row.state == PACK_SETTLED)
			error = check_pack(&work, &row);
		done += pack_bytes(row.table_offset, row.frame_count);
		pack_row_release(&row);
		if (!error && total && progress->report(progress->context, done, total))
			error = -ECANCELED;
		if (error)
			break;
	}
	if (error == -ENOENT)
		error = catalogue_each_version(store->catalogue, check_version, &work);
	return error < 0 ? problem_errno(problem, error, "cannot finish the check") : error;
}

void repair_describe(const struct fault *fault, char *line, size_t line_bytes)
{
	static const char *const what[] = {
	    [FAULT_PACK_MISSING] = "its file is missing",
	    [FAULT_PACK_HEADER] = "the header is damaged",
	    [FAULT_PACK_TABLE] = "the table is damaged; its frames could not be checked",
	    [FAULT_PACK_TRAILER] = "the trailer is damaged",
	};
	char salt[2 * SALT_BYTES + 1], version[2 * VERSION_ID_BYTES + 1];

	store_hex(fault->salt, SALT_BYTES, salt);
	store_hex(fault->version, VERSION_ID_BYTES, version);
	if (fault->kind == FAULT_FRAME)
		snprintf(line, line_bytes, "pack %s: frame %u is damaged (%llu bytes at %llu)", salt,
			 fault->number, (unsigned long long)fault->bytes,
			 (unsigned long long)fault->offset);
	else if (fault->kind == FAULT_VERSION_FILE)
		snprintf(line, line_bytes, "version %.16s: its signed manifest is missing or damaged",
			 version);
	else if (fault->kind == FAULT_VERSION_FRAMES)
		snprintf(line, line_bytes, "version %.16s: frames that it needs are not here", version);
	else
		snprintf(line, line_bytes, "pack %s: %s", salt, what[fault->kind]);
}

/* Whether bytes from elsewhere are what this part of the pack must be. */
static int verify_part(struct store *store, const struct fault *fault, const struct pack_row *row,
		       const uint8_t *data)
{
	struct pack_header header;
	struct pack_table table;
	uint8_t name[NAME_BYTES];
	int error;

	if (fault->kind == FAULT_PACK_HEADER) {
		error = pack_header_read(data, &header);
		if (!error && (memcmp(header.salt, row->salt, SALT_BYTES) ||
			       memcmp(header.domain_id, row->domain, DOMAIN_ID_BYTES)))
			error = -EBADMSG;
		return error;
	}
	if (fault->kind == FAULT_PACK_TABLE) {
		error = store_sha256(data, fault->bytes, name);
		return error ? error : memcmp(name, row->table_name, NAME_BYTES) ? -EBADMSG : 0;
	}
	error = store_read_table(store, row, &table);
	if (error)
		return error;
	if (fault->number >= table.frame_count ||
	    table.entries[fault->number].offset != fault->offset ||
	    table.entries[fault->number].stored_bytes != fault->bytes)
		error = -EINVAL;
	if (!error)
		error = store_sha256(data, fault->bytes, name);
	if (!error && memcmp(name, table.entries[fault->number].name, NAME_BYTES))
		error = -EBADMSG;
	pack_table_release(&table);
	return error;
}

static int write_part(struct store *store, const struct fault *fault, const uint8_t *data)
{
	struct store_file *file;
	char path[PACK_PATH_BYTES];
	int error;

	pack_path(fault->salt, "pack", path);
	error = store->files->open(store->files, path, STORE_OPEN_WRITE, &file);
	if (error)
		return error;
	error = store->files->write(file, data, fault->bytes, fault->offset);
	if (!error)
		error = store->files->sync(file);
	store->files->close(file);
	return error;
}

/* Header and table from the source, each checked, then the trailer: a pack without frames. */
static int write_ends(struct store *store, const struct pack_row *row,
		      const struct fetch_source *source, struct store_file *file)
{
	uint32_t bytes = pack_table_bytes(row->frame_count);
	uint8_t *data = malloc(bytes + PACK_TRAILER_BYTES);
	struct fault part = {.kind = FAULT_PACK_HEADER, .bytes = PACK_HEADER_BYTES};
	int error = data ? 0 : -ENOMEM;

	if (!error)
		error = source->read(source->context, row->salt, 0, PACK_HEADER_BYTES, data);
	if (!error)
		error = verify_part(store, &part, row, data);
	if (!error)
		error = store->files->write(file, data, PACK_HEADER_BYTES, 0);
	part = (struct fault){.kind = FAULT_PACK_TABLE, .bytes = bytes};
	if (!error)
		error = source->read(source->context, row->salt, row->table_offset, bytes, data);
	if (!error)
		error = verify_part(store, &part, row, data);
	if (!error) {
		pack_trailer_write(row->frame_count, data + bytes);
		error = store->files->write(file, data, bytes + PACK_TRAILER_BYTES,
					    row->table_offset);
	}
	free(data);
	return error ? error : store->files->sync(file);
}

/* The row says that nothing is here; in the transaction that gives the new file its name. */
static int adopt_empty(struct store *store, const struct fault *fault, const char *part)
{
	struct pack_row row;
	char path[PACK_PATH_BYTES];
	int error = catalogue_begin(store->catalogue);

	if (error)
		return error;
	pack_path(fault->salt, "pack", path);
	pack_files_forget(&store->packs, fault->salt);
	error = store->files->rename(store->files, part, path);
	if (!error)
		error = store->files->sync_directory(store->files, "packs");
	if (!error)
		error = catalogue_find_pack(store->catalogue, fault->salt, &row);
	if (!error) {
		size_t bytes = bitmap_bytes(row.frame_count);

		memset(row.present, 0, bytes);
		memset(row.dead, 0, bytes);
		memset(row.leaving, 0, bytes);
		error = catalogue_update_pack(store->catalogue, &row);
		if (!error)
			error = catalogue_clear_arrived(store->catalogue, row.id);
		pack_row_release(&row);
	}
	if (!error)
		return catalogue_commit(store->catalogue);
	catalogue_rollback(store->catalogue);
	return error;
}

/* A pack whose file is gone becomes one of which nothing is here; fetching its versions fills it. */
static int start_again(struct store *store, const struct fault *fault,
		       const struct fetch_source *source, const struct pack_row *row)
{
	struct store_file *file;
	char part[PACK_PATH_BYTES];
	int error;

	pack_path(row->salt, "0.part", part);
	error = store->files->unlink(store->files, part);
	if (!error || error == -ENOENT)
		error = store->files->open(store->files, part, STORE_OPEN_EXCLUSIVE, &file);
	if (error)
		return error;
	error = write_ends(store, row, source, file);
	store->files->close(file);
	if (!error)
		error = adopt_empty(store, fault, part);
	if (error)
		(void)store->files->unlink(store->files, part);
	return error;
}

static int mend(struct store *store, const struct fault *fault, const struct fetch_source *source,
		const struct pack_row *row)
{
	uint8_t *data;
	int error;

	if (fault->kind == FAULT_PACK_MISSING)
		return start_again(store, fault, source, row);
	if (fault->bytes > PACK_BYTES_MAX)
		return -EINVAL;
	data = malloc(fault->bytes);
	if (!data)
		return -ENOMEM;
	if (fault->kind == FAULT_PACK_TRAILER) {
		pack_trailer_write(row->frame_count, data);
		error = 0;
	} else {
		error = source->read(source->context, fault->salt, fault->offset, fault->bytes, data);
		if (!error)
			error = verify_part(store, fault, row, data);
	}
	if (!error)
		error = write_part(store, fault, data);
	free(data);
	return error;
}

int repair_fault(struct store *store, const struct fault *fault, const struct fetch_source *source,
		 struct problem *problem)
{
	struct pack_row row;
	char line[160];
	int error;

	repair_describe(fault, line, sizeof(line));
	if (fault->kind == FAULT_VERSION_FILE || fault->kind == FAULT_VERSION_FRAMES)
		return problem_set(problem, -EOPNOTSUPP, "%s; fetch that version again", line);
	error = catalogue_find_pack(store->catalogue, fault->salt, &row);
	if (!error) {
		error = mend(store, fault, source, &row);
		pack_row_release(&row);
	}
	if (error == -EBADMSG)
		return problem_set(problem, error, "%s, and so is what the source gave", line);
	return error ? problem_errno(problem, error, "%s; it could not be repaired", line) : 0;
}
