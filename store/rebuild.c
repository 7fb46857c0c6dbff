/*
 * rebuild.c: the catalogue from packs and signed manifests, the block index from packs; see repair.h.
 */
#include "store/bytes.h"
#include "store/frame.h"
#include "store/hash.h"
#include "store/index.h"
#include "store/pack_check.h"
#include "store/repair.h"
#include "store/store_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Names of a folder, read before anything in it changes. */
struct names {
	char (*list)[160];
	size_t count, room;
};

static int add_name(void *context, const char *name)
{
	struct names *names = context;

	if (strlen(name) >= sizeof(names->list[0]))
		return 0;
	if (names->count == names->room) {
		size_t room = names->room ? 2 * names->room : 64;
		void *list = realloc(names->list, room * sizeof(names->list[0]));

		if (!list)
			return -ENOMEM;
		names->list = list;
		names->room = room;
	}
	snprintf(names->list[names->count++], sizeof(names->list[0]), "%s", name);
	return 0;
}

/* The table of a pack: by its trailer, or where manifests say that it is. */
static int find_table(struct store *store, struct store_file *file, const uint8_t *salt,
		      const struct manifest *manifests, size_t manifest_count,
		      struct pack_table *table)
{
	int error = pack_check_find_table(file, table);

	if (!error && !memcmp(table->salt, salt, SALT_BYTES))
		return 0;
	if (!error)
		pack_table_release(table);
	for (size_t m = 0; m < manifest_count; m++) {
		for (uint32_t p = 0; p < manifests[m].pack_count; p++) {
			const struct manifest_pack *listed = &manifests[m].packs[p];
			struct pack_row row = {.table_offset = listed->table_offset,
					       .frame_count = listed->frame_count};

			if (memcmp(listed->salt, salt, SALT_BYTES))
				continue;
			memcpy(row.salt, salt, SALT_BYTES);
			memcpy(row.table_name, listed->table_name, NAME_BYTES);
			return store_read_table(store, &row, table);
		}
	}
	return -EBADMSG;
}

static bool pack_domain(struct store_file *file, const uint8_t *salt,
			const struct manifest *manifests, size_t manifest_count, uint8_t *domain)
{
	uint8_t data[PACK_HEADER_BYTES];
	struct pack_header header;

	if (!store_file_read_all(file, data, sizeof(data), 0) && !pack_header_read(data, &header) &&
	    !memcmp(header.salt, salt, SALT_BYTES)) {
		memcpy(domain, header.domain_id, DOMAIN_ID_BYTES);
		return true;
	}
	for (size_t m = 0; m < manifest_count; m++)
		for (uint32_t p = 0; p < manifests[m].pack_count; p++)
			if (!memcmp(manifests[m].packs[p].salt, salt, SALT_BYTES)) {
				memcpy(domain, manifests[m].domain_id, DOMAIN_ID_BYTES);
				return true;
			}
	return false;
}

static int add_pack(struct store *store, const char *name, const struct manifest *manifests,
		    size_t manifest_count, struct check_result *result)
{
	struct pack_row row = {.state = PACK_SETTLED};
	struct pack_table table;
	struct store_file *file;
	char path[PACK_PATH_BYTES], text[2 * SALT_BYTES + 1];
	int error;

	if (strlen(name) != 2 * SALT_BYTES + 5 || strcmp(name + 2 * SALT_BYTES, ".pack"))
		return 0;
	memcpy(text, name, 2 * SALT_BYTES);
	text[2 * SALT_BYTES] = '\0';
	if (store_unhex(text, row.salt, SALT_BYTES))
		return 0;
	pack_path(row.salt, "pack", path);
	error = store->files->open(store->files, path, STORE_OPEN_READ, &file);
	if (error)
		return error;
	error = find_table(store, file, row.salt, manifests, manifest_count, &table);
	if (error || !pack_domain(file, row.salt, manifests, manifest_count, row.domain)) {
		if (!error)
			pack_table_release(&table);
		store->files->close(file);
		result->faults++;
		/* A pack that says nothing about itself stays where it is, unused. */
		return error == -ENOMEM || error == -EIO ? error : 0;
	}
	memcpy(row.table_name, table.name, NAME_BYTES);
	row.table_offset = table.table_offset;
	row.frame_count = table.frame_count;
	error = pack_row_make(&row);
	if (!error)
		error = pack_check_frames(file, &table, NULL, row.present);
	if (!error)
		error = catalogue_add_pack(store->catalogue, &row);
	for (uint32_t i = 0; i < row.frame_count && !error; i++) {
		result->frames += bitmap_get(row.present, i);
		result->bytes += bitmap_get(row.present, i) ? table.entries[i].stored_bytes : 0;
	}
	result->packs++;
	pack_row_release(&row);
	pack_table_release(&table);
	store->files->close(file);
	return error;
}

/* Adds a version as arrived if everything is here, as arriving if its packs are known. */
static int add_version(struct store *store, const struct manifest *manifest, const uint8_t *id,
		       const char *envelope, struct check_result *result)
{
	int error = store_add_version(store, id, manifest, envelope, true, NULL);

	if (error == -ESTALE) {
		error = catalogue_remove_version(store->catalogue, id);
		if (!error)
			error = store_add_version(store, id, manifest, envelope, false, NULL);
	}
	if (error == -ESTALE) {
		/* Its packs are gone; the file stays, and fetching it again completes it. */
		result->faults++;
		return catalogue_remove_version(store->catalogue, id);
	}
	result->versions += !error;
	return error;
}

struct found_version {
	uint8_t id[VERSION_ID_BYTES];
	char *envelope;
};

static int read_versions(struct store *store, const struct version_trust *trust,
			 const struct names *names, struct manifest *manifests,
			 struct found_version *versions, size_t *count, struct check_result *result)
{
	for (size_t i = 0; i < names->count; i++) {
		size_t length = strlen(names->list[i]), bytes;
		char path[200];
		int error;

		if (length < 5 || strcmp(names->list[i] + length - 5, ".json"))
			continue;
		snprintf(path, sizeof(path), "versions/%s", names->list[i]);
		error = store_file_load(store->files, path, DSSE_TEXT_MAX,
					&versions[*count].envelope, &bytes);
		if (error)
			return error;
		error = store_check_envelope(versions[*count].envelope, bytes, trust,
					     &manifests[*count], versions[*count].id, NULL);
		if (!error) {
			(*count)++;
			continue;
		}
		free(versions[*count].envelope);
		versions[*count].envelope = NULL;
		if (error == -ENOMEM)
			return error;
		result->faults++;
	}
	return 0;
}

static int rebuild(struct store *store, const struct version_trust *trust,
		   struct check_result *result)
{
	struct names packs = {NULL, 0, 0}, files = {NULL, 0, 0};
	struct manifest *manifests = NULL;
	struct found_version *versions = NULL;
	size_t count = 0;
	int error = store->files->list(store->files, "versions", add_name, &files);

	if (!error)
		error = store->files->list(store->files, "packs", add_name, &packs);
	if (!error) {
		manifests = calloc(files.count + 1, sizeof(*manifests));
		versions = calloc(files.count + 1, sizeof(*versions));
		error = manifests && versions ? 0 : -ENOMEM;
	}
	if (!error)
		error = read_versions(store, trust, &files, manifests, versions, &count, result);
	if (!error)
		error = catalogue_begin(store->catalogue);
	if (!error) {
		for (size_t i = 0; i < packs.count && !error; i++)
			error = add_pack(store, packs.list[i], manifests, count, result);
		for (size_t i = 0; i < count && !error; i++)
			error = add_version(store, &manifests[i], versions[i].id,
					    versions[i].envelope, result);
		if (!error)
			error = catalogue_commit(store->catalogue);
		else
			catalogue_rollback(store->catalogue);
	}
	for (size_t i = 0; i < count; i++) {
		manifest_release(&manifests[i]);
		free(versions[i].envelope);
	}
	free(manifests);
	free(versions);
	free(packs.list);
	free(files.list);
	return error;
}

int repair_rebuild_files(struct store_files *files, const struct version_trust *trust,
			 struct check_result *result, struct problem *problem)
{
	struct check_result unused;
	struct store *store;
	int error = files->rename(files, "catalogue.db", "catalogue.old");

	if (error && error != -ENOENT) {
		files->release(files);
		return problem_errno(problem, error, "cannot put the old catalogue aside");
	}
	/* A journal belongs to the database that it would roll back, not to a new one. */
	error = files->unlink(files, "catalogue.db-journal");
	if (!error || error == -ENOENT)
		error = store_open_files(files, &store, problem);
	if (error)
		return error;
	if (!result)
		result = &unused;
	memset(result, 0, sizeof(*result));
	error = rebuild(store, trust, result);
	store_close(store);
	return error ? problem_errno(problem, error, "cannot rebuild the catalogue") : 0;
}

int repair_rebuild(const char *directory, const struct version_trust *trust,
		   struct check_result *result, struct problem *problem)
{
	struct store_files *files;
	int error = store_files_open(directory, false, &files);

	if (error)
		return problem_errno(problem, error, "cannot open the store %s", directory);
	return repair_rebuild_files(files, trust, result, problem);
}

/* What decoding frames for the index needs. */
struct indexing {
	struct store *store;
	const struct domain *domain;
	struct index *index;
	struct frame_codec *codec;
	struct hasher *hasher;
	uint8_t *stored, *plain;
	uint64_t *blocks;
};

static int index_frame(struct indexing *work, const struct pack_row *row, uint32_t number, int bytes)
{
	const uint8_t *blocks[FRAME_BLOCKS_MAX] = {NULL};
	uint8_t plains[FRAME_BLOCKS_MAX][NAME_BYTES], names[FRAME_BLOCKS_MAX][NAME_BYTES];
	uint32_t count = (uint32_t)bytes / BLOCK_BYTES;
	int error;

	for (uint32_t i = 0; i < count; i++)
		blocks[i] = work->plain + (size_t)i * BLOCK_BYTES;
	error = hasher_run(work->hasher, blocks, count, plains, names);
	for (uint32_t i = 0; i < count && !error; i++) {
		struct block_ref ref = {row->id, (uint16_t)number, (uint16_t)i};

		error = index_add(work->index, names[i], ref);
	}
	*work->blocks += count;
	return error;
}

static int index_pack(struct indexing *work, const struct pack_row *row)
{
	struct pack_table table;
	struct store_file *file;
	char path[PACK_PATH_BYTES];
	uint8_t key[32];
	int error = store_read_table(work->store, row, &table);

	if (error)
		return error;
	pack_path(row->salt, "pack", path);
	error = work->store->files->open(work->store->files, path, STORE_OPEN_READ, &file);
	if (error) {
		pack_table_release(&table);
		return error;
	}
	error = domain_pack_key(work->domain, row->salt, key);
	for (uint32_t i = 0; i < row->frame_count && !error; i++) {
		const struct pack_entry *entry = &table.entries[i];
		struct frame_header header;

		if (entry->kind != FRAME_DATA || !bitmap_get(row->present, i))
			continue;
		error = store_file_read_all(file, work->stored, entry->stored_bytes, entry->offset);
		if (!error)
			error = frame_open(work->codec, key, work->stored, entry->stored_bytes,
					   &header, work->plain, FRAME_PLAIN_MAX);
		/* A damaged frame has no blocks to find; a check names it. */
		if (!error && header.number == i)
			error = index_frame(work, row, i, (int)header.plain_bytes);
		else if (error == -EBADMSG)
			error = 0;
	}
	work->store->files->close(file);
	pack_table_release(&table);
	return error;
}

static int drop_runs(struct store *store, const struct domain *domain)
{
	struct run_row row;
	int error = catalogue_begin(store->catalogue);

	if (error)
		return error;
	while (!error && !(error = catalogue_next_run(store->catalogue, domain->id, UINT64_MAX, &row)))
		error = catalogue_remove_run(store->catalogue, row.id);
	if (error == -ENOENT)
		return catalogue_commit(store->catalogue);
	catalogue_rollback(store->catalogue);
	return error;
}

static int index_all(struct indexing *work)
{
	struct catalogue *catalogue = work->store->catalogue;
	struct pack_row row;
	uint32_t after = 0;
	int error;

	while (!(error = catalogue_next_pack(catalogue, work->domain->id, after, &row))) {
		after = row.id;
		if (row.state == PACK_SETTLED && row.frame_count)
			error = index_pack(work, &row);
		pack_row_release(&row);
		if (error && error != -EBADMSG && error != -ENOENT)
			return error;
	}
	error = index_flush(work->index);
	if (!error)
		error = catalogue_begin(catalogue);
	if (error)
		return error;
	error = index_commit(work->index);
	if (!error)
		return catalogue_commit(catalogue);
	catalogue_rollback(catalogue);
	return error;
}

int repair_index(struct store *store, const struct domain *domain, uint64_t *blocks,
		 struct problem *problem)
{
	uint64_t unused = 0;
	struct indexing work = {
	    .store = store,
	    .domain = domain,
	    .codec = frame_codec_new(),
	    .hasher = hasher_new(domain),
	    .stored = malloc(FRAME_STORED_MAX),
	    .plain = malloc(FRAME_PLAIN_MAX),
	    .blocks = blocks ? blocks : &unused,
	};
	int error = work.codec && work.hasher && work.stored && work.plain ? 0 : -ENOMEM;

	*work.blocks = 0;
	if (!error)
		error = drop_runs(store, domain);
	if (!error)
		error = index_open(store->files, store->catalogue, domain->id, &work.index, problem);
	if (!error)
		error = index_all(&work);
	index_close(work.index);
	frame_codec_free(work.codec);
	hasher_free(work.hasher);
	free(work.stored);
	free(work.plain);
	return error ? problem_errno(problem, error, "cannot rebuild the block index") : 0;
}
