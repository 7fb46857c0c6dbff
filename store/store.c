/* store.c: opening a store and its versions; see store.h. */
#include "store/store.h"
#include "store/bytes.h"
#include "store/store_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t wall_clock(void)
{
	return (uint64_t)time(NULL);
}

static int make_folders(struct store_files *files)
{
	static const char *const folders[] = {"packs", "index", "versions"};
	int error = 0;

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && !error; i++)
		error = files->make_directory(files, folders[i]);
	return error ? error : files->sync_directory(files, "");
}

int store_open_files(struct store_files *files, struct store **opened, struct problem *problem)
{
	struct store *store = calloc(1, sizeof(*store));
	int error;

	if (!store) {
		files->release(files);
		return -ENOMEM;
	}
	store->files = files;
	pack_files_init(&store->packs, files);
	store->now = wall_clock;
	error = make_folders(files);
	if (error)
		problem_errno(problem, error, "cannot make the store's folders");
	else
		error = catalogue_open(files, &store->catalogue, problem);
	if (error) {
		store_close(store);
		return error;
	}
	*opened = store;
	return 0;
}

int store_open(const char *directory, bool create, struct store **store, struct problem *problem)
{
	struct store_files *files;
	struct store_file *file;
	int error = store_files_open(directory, create, &files);

	if (error)
		return problem_errno(problem, error, "cannot open the store %s", directory);
	if (!create) {
		/* A mistyped path must not become an empty store. */
		error = files->open(files, "catalogue.db", STORE_OPEN_READ, &file);
		if (error) {
			files->release(files);
			return problem_set(problem, error, "%s is not a store: it has no catalogue.db",
					   directory);
		}
		files->close(file);
	}
	return store_open_files(files, store, problem);
}

void store_close(struct store *store)
{
	if (!store)
		return;
	catalogue_close(store->catalogue);
	pack_files_release(&store->packs);
	store->files->release(store->files);
	free(store);
}

void store_set_clock(struct store *store, uint64_t (*now)(void))
{
	store->now = now;
}

void store_version_path(const uint8_t id[VERSION_ID_BYTES], char path[VERSION_PATH_BYTES])
{
	char text[2 * VERSION_ID_BYTES + 1];

	store_hex(id, VERSION_ID_BYTES, text);
	snprintf(path, VERSION_PATH_BYTES, "versions/%s.json", text);
}

void store_pack_path(const uint8_t salt[SALT_BYTES], char path[72])
{
	pack_path(salt, "pack", path);
}

int store_each_version(struct store *store,
		       int (*each)(void *context, const struct version_row *row), void *context)
{
	return catalogue_each_version(store->catalogue, each, context);
}

struct search {
	const char *text;
	size_t length;
	struct version_row *row;
	int by_id, by_label;
};

static int match(void *context, const struct version_row *row)
{
	struct search *search = context;
	char id[2 * VERSION_ID_BYTES + 1];

	store_hex(row->id, VERSION_ID_BYTES, id);
	if (search->length >= 8 && !strncmp(id, search->text, search->length)) {
		search->by_id++;
		*search->row = *row;
	} else if (!search->by_id && !strcmp(row->label, search->text)) {
		search->by_label++;
		*search->row = *row;
	}
	return 0;
}

int store_find_version(struct store *store, const char *text, struct version_row *row,
		       struct problem *problem)
{
	struct search search = {.text = text, .length = strlen(text), .row = row};
	int error = catalogue_each_version(store->catalogue, match, &search);

	if (error)
		return problem_errno(problem, error, "cannot list the versions");
	if (search.by_id > 1)
		return problem_set(problem, -ENOTUNIQ,
				   "several versions begin with %s; give more of the id", text);
	if (!search.by_id && !search.by_label)
		return problem_set(problem, -ENOENT, "the store has no version %s", text);
	return 0;
}

int store_check_envelope(const char *text, size_t bytes, const struct version_trust *trust,
			 struct manifest *manifest, uint8_t id[VERSION_ID_BYTES],
			 struct problem *problem)
{
	struct dsse_envelope envelope;
	int error = dsse_parse(text, bytes, &envelope);

	if (error)
		return problem_set(problem, error, "the version's envelope is malformed");
	if (strcmp(envelope.type, DSSE_TYPE_MANIFEST)) {
		error = problem_set(problem, -EPROTOTYPE, "the envelope holds no version but %s",
				    envelope.type);
	} else if (trust && (error = trust->verify(trust->context, &envelope))) {
		problem_set(problem, error, "the version's signature is not accepted");
	} else {
		error = manifest_read(envelope.payload, envelope.payload_bytes, manifest);
		if (error)
			problem_set(problem, error, "the version's manifest is malformed");
		else
			error = store_sha256(envelope.payload, envelope.payload_bytes, id);
	}
	dsse_release(&envelope);
	return error;
}

int store_version_envelope(struct store *store, const uint8_t id[VERSION_ID_BYTES], char **text,
			   struct problem *problem)
{
	char path[VERSION_PATH_BYTES];
	size_t bytes;
	int error;

	store_version_path(id, path);
	error = store_file_load(store->files, path, DSSE_TEXT_MAX, text, &bytes);
	if (error)
		return problem_errno(problem, error, "cannot read the version %.20s", path + 9);
	return 0;
}

int store_read_manifest(struct store *store, const uint8_t id[VERSION_ID_BYTES],
			struct manifest *manifest, struct problem *problem)
{
	uint8_t found[VERSION_ID_BYTES];
	char *text;
	int error = store_version_envelope(store, id, &text, problem);

	if (error)
		return error;
	error = store_check_envelope(text, strlen(text), NULL, manifest, found, problem);
	free(text);
	if (error)
		return error;
	if (memcmp(found, id, VERSION_ID_BYTES)) {
		manifest_release(manifest);
		return problem_set(problem, -EBADMSG, "the file of a version holds another one; "
						      "fetch that version again");
	}
	return 0;
}

int store_remove_version(struct store *store, const uint8_t id[VERSION_ID_BYTES],
			 struct problem *problem)
{
	struct version_row row;
	char path[VERSION_PATH_BYTES];
	int error = catalogue_begin(store->catalogue);

	if (error)
		return problem_errno(problem, error, "cannot change the store's catalogue");
	error = catalogue_get_version(store->catalogue, id, &row);
	if (!error)
		error = catalogue_remove_version(store->catalogue, id);
	if (error) {
		catalogue_rollback(store->catalogue);
		return problem_errno(problem, error, "cannot remove the version");
	}
	error = catalogue_commit(store->catalogue);
	if (error)
		return problem_errno(problem, error, "cannot remove the version");
	/* If power fails before this, a collection finds the file without a row. */
	store_version_path(id, path);
	error = store->files->unlink(store->files, path);
	if (!error || error == -ENOENT)
		error = store->files->sync_directory(store->files, "versions");
	return error ? problem_errno(problem, error, "cannot remove the version's file") : 0;
}

/* One pack of a version that comes in: known, the same pack, and its frames there. */
static int use_pack(struct store *store, const uint8_t id[VERSION_ID_BYTES],
		    const struct manifest_pack *pack, bool arrived)
{
	struct pack_row row;
	bool revived = false;
	int error = catalogue_find_pack(store->catalogue, pack->salt, &row);

	if (error)
		return error == -ENOENT ? -ESTALE : error;
	if (row.state != PACK_SETTLED || row.frame_count != pack->frame_count ||
	    row.table_offset != pack->table_offset ||
	    memcmp(row.table_name, pack->table_name, NAME_BYTES))
		error = -ESTALE;
	for (size_t i = 0; !error && i < bitmap_bytes(row.frame_count); i++) {
		uint8_t there = row.present[i] & (uint8_t)~row.leaving[i];

		if (arrived && !row.remote && (pack->used[i] & ~there))
			error = -ESTALE;
		/* A collection in progress finds them used again. */
		revived |= row.dead[i] & pack->used[i];
		row.dead[i] &= (uint8_t)~pack->used[i];
	}
	if (!error && revived)
		error = catalogue_update_pack(store->catalogue, &row);
	if (!error)
		error = catalogue_add_use(store->catalogue, id, row.id, pack->used,
					  pack->frame_count);
	pack_row_release(&row);
	return error;
}

int store_add_version(struct store *store, const uint8_t id[VERSION_ID_BYTES],
		      const struct manifest *manifest, const char *envelope, bool arrived,
		      struct problem *problem)
{
	struct version_row row = {
	    .created = manifest->created,
	    .disk_bytes = manifest->disk_bytes,
	    .stored_bytes = manifest->stored_bytes,
	    .arrived = arrived,
	};
	char path[VERSION_PATH_BYTES];
	int error;

	memcpy(row.id, id, VERSION_ID_BYTES);
	memcpy(row.domain, manifest->domain_id, DOMAIN_ID_BYTES);
	memcpy(row.label, manifest->label, sizeof(row.label));
	error = catalogue_add_version(store->catalogue, &row);
	if (error == -EEXIST)
		return problem_set(problem, error, "the store has this version already");
	for (uint32_t i = 0; i < manifest->pack_count && !error; i++)
		error = use_pack(store, id, &manifest->packs[i], arrived);
	if (error == -ESTALE)
		return problem_set(problem, error, "the store lacks frames that the version %s needs;"
						   " send its packs first, then the version again",
				   manifest->label);
	store_version_path(id, path);
	if (!error)
		error = store_file_replace(store->files, "versions", path, envelope,
					   strlen(envelope));
	return error ? problem_errno(problem, error, "cannot record the version %s", manifest->label)
		     : 0;
}

int store_read_table(struct store *store, const struct pack_row *row, struct pack_table *table)
{
	uint32_t bytes = pack_table_bytes(row->frame_count);
	struct store_file *file;
	char path[PACK_PATH_BYTES];
	uint8_t *data;
	int error;

	pack_path(row->salt, "pack", path);
	error = store->files->open(store->files, path, STORE_OPEN_READ, &file);
	if (error)
		return error;
	data = malloc(bytes);
	error = data ? store_file_read_all(file, data, bytes, row->table_offset) : -ENOMEM;
	store->files->close(file);
	if (!error)
		error = pack_table_read(data, bytes, row->table_offset, table);
	free(data);
	if (error)
		return error == -ENODATA ? -EBADMSG : error;
	if (memcmp(table->name, row->table_name, NAME_BYTES) ||
	    memcmp(table->salt, row->salt, SALT_BYTES)) {
		pack_table_release(table);
		return -EBADMSG;
	}
	return 0;
}
