/* accept.c: see accept.h. */
#include "store/accept.h"
#include "store/bytes.h"
#include "store/pack_check.h"
#include "store/store_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct accept {
	struct store *store;
	struct store_file *file;
	uint64_t session;
	uint8_t salt[SALT_BYTES];
	uint64_t bytes;
	char path[PACK_PATH_BYTES];
};

int accept_begin(struct store *store, uint64_t seconds, uint64_t *session)
{
	return catalogue_add_session(store->catalogue, store->now() + seconds, session);
}

int accept_renew(struct store *store, uint64_t session, uint64_t seconds)
{
	int error = catalogue_renew_session(store->catalogue, session, store->now() + seconds);

	return error == -ENOENT ? -ESTALE : error;
}

int accept_end(struct store *store, uint64_t session)
{
	return catalogue_remove_session(store->catalogue, session);
}

static int check_session(struct store *store, uint64_t session)
{
	int found = catalogue_has_session(store->catalogue, session);

	return found < 0 ? found : found ? 0 : -ESTALE;
}

/* Whether a pack is here whole, as far as who starts now may count on it. */
static int has_whole(struct store *store, const uint8_t salt[SALT_BYTES], bool *have)
{
	struct pack_row row;
	int error = catalogue_find_pack(store->catalogue, salt, &row);

	*have = false;
	if (error)
		return error == -ENOENT ? 0 : error;
	*have = row.state == PACK_SETTLED;
	for (uint32_t i = 0; i < row.frame_count && *have; i++)
		*have = bitmap_get(row.present, i) && !bitmap_get(row.dead, i);
	pack_row_release(&row);
	return 0;
}

int accept_query(struct store *store, uint64_t session, const uint8_t (*salts)[SALT_BYTES],
		 size_t count, bool *have)
{
	int error = check_session(store, session);

	for (size_t i = 0; i < count && !error; i++)
		error = has_whole(store, salts[i], &have[i]);
	return error;
}

int accept_pack_start(struct store *store, uint64_t session, const uint8_t salt[SALT_BYTES],
		      struct accept **started)
{
	struct accept *accept;
	char suffix[32];
	bool have;
	int error = check_session(store, session);

	if (!error)
		error = has_whole(store, salt, &have);
	if (error)
		return error;
	if (have)
		return -EEXIST;
	accept = calloc(1, sizeof(*accept));
	if (!accept)
		return -ENOMEM;
	accept->store = store;
	accept->session = session;
	memcpy(accept->salt, salt, SALT_BYTES);
	snprintf(suffix, sizeof(suffix), "%llu.part", (unsigned long long)session);
	pack_path(salt, suffix, accept->path);
	error = store->files->unlink(store->files, accept->path);
	if (!error || error == -ENOENT)
		error = store->files->open(store->files, accept->path, STORE_OPEN_EXCLUSIVE,
					   &accept->file);
	if (error) {
		free(accept);
		return error;
	}
	*started = accept;
	return 0;
}

int accept_pack_write(struct accept *accept, const void *data, size_t bytes)
{
	int error;

	if (bytes > PACK_BYTES_MAX - accept->bytes)
		return -EFBIG;
	error = accept->file->files->write(accept->file, data, bytes, accept->bytes);
	if (!error)
		accept->bytes += bytes;
	return error;
}

void accept_pack_cancel(struct accept *accept)
{
	struct store_files *files = accept->store->files;

	files->close(accept->file);
	(void)files->unlink(files, accept->path);
	free(accept);
}

/* Everything that can be checked without keys. */
static int check(struct accept *accept, const uint8_t *domain_id, struct pack_row *row,
		 struct problem *problem)
{
	uint8_t data[PACK_HEADER_BYTES];
	struct pack_header header;
	struct pack_table table;
	int error = store_file_read_all(accept->file, data, sizeof(data), 0);

	if (!error)
		error = pack_header_read(data, &header);
	if (!error && memcmp(header.salt, accept->salt, SALT_BYTES))
		error = -EBADMSG;
	if (!error && domain_id && memcmp(header.domain_id, domain_id, DOMAIN_ID_BYTES))
		return problem_set(problem, -EPERM, "the pack belongs to another domain");
	if (!error)
		error = pack_check_find_table(accept->file, &table);
	if (error)
		return error == -ENODATA ? -EBADMSG : error;
	memcpy(row->salt, accept->salt, SALT_BYTES);
	memcpy(row->domain, header.domain_id, DOMAIN_ID_BYTES);
	memcpy(row->table_name, table.name, NAME_BYTES);
	row->table_offset = table.table_offset;
	row->frame_count = table.frame_count;
	row->state = PACK_SETTLED;
	error = pack_row_make(row);
	if (!error && memcmp(table.salt, accept->salt, SALT_BYTES))
		error = -EBADMSG;
	if (!error)
		error = pack_check_frames(accept->file, &table, NULL, row->present);
	for (uint32_t i = 0; i < row->frame_count && !error; i++)
		if (!bitmap_get(row->present, i))
			error = problem_set(problem, -EBADMSG,
					    "frame %u of the pack was damaged on its way; send it again",
					    i);
	pack_table_release(&table);
	return error;
}

/* The transaction in which the pack gets its name and its row. */
static int commit(struct accept *accept, struct pack_row *row)
{
	struct store *store = accept->store;
	struct pack_row old;
	char path[PACK_PATH_BYTES];
	bool known;
	int error = catalogue_begin(store->catalogue);

	if (error)
		return error;
	error = check_session(store, accept->session);
	if (!error)
		error = catalogue_find_pack(store->catalogue, accept->salt, &old);
	known = !error;
	if (known) {
		/* Here in part, or dying: the same bytes, whole, take its place. */
		row->id = old.id;
		if (old.state == PACK_WRITING || old.frame_count != row->frame_count ||
		    memcmp(old.table_name, row->table_name, NAME_BYTES))
			error = -EBADMSG;
		pack_row_release(&old);
	} else if (error == -ENOENT) {
		error = 0;
	}
	pack_path(accept->salt, "pack", path);
	pack_files_forget(&store->packs, accept->salt);
	if (!error)
		error = store->files->rename(store->files, accept->path, path);
	if (!error)
		error = store->files->sync_directory(store->files, "packs");
	if (!error)
		error = known ? catalogue_update_pack(store->catalogue, row)
			      : catalogue_add_pack(store->catalogue, row);
	if (!error)
		return catalogue_commit(store->catalogue);
	catalogue_rollback(store->catalogue);
	return error;
}

int accept_pack_finish(struct accept *accept, const uint8_t *domain_id, struct problem *problem)
{
	struct pack_row row = {.id = 0};
	int error = check(accept, domain_id, &row, problem);

	if (!error)
		error = accept->file->files->sync(accept->file);
	if (!error)
		error = commit(accept, &row);
	pack_row_release(&row);
	accept_pack_cancel(accept);
	if (error == -EBADMSG)
		problem_set(problem, error, "what was sent is not a whole pack of that name");
	return error ? problem_errno(problem, error, "cannot take the pack") : 0;
}

int accept_version(struct store *store, const char *envelope, size_t bytes,
		   const struct version_trust *trust, uint8_t id[VERSION_ID_BYTES],
		   struct problem *problem)
{
	struct manifest manifest;
	struct version_row row;
	char *text;
	int error = store_check_envelope(envelope, bytes, trust, &manifest, id, problem);

	if (error)
		return error;
	text = strndup(envelope, bytes);
	error = text ? catalogue_begin(store->catalogue) : -ENOMEM;
	if (!error) {
		error = catalogue_get_version(store->catalogue, id, &row);
		if (!error)
			error = -EEXIST;
		else if (error == -ENOENT)
			error = store_add_version(store, id, &manifest, text, true, problem);
		if (!error)
			error = catalogue_commit(store->catalogue);
		else
			catalogue_rollback(store->catalogue);
	}
	free(text);
	if (error == -EEXIST)
		problem_set(problem, error, "the store has this version already");
	if (error)
		problem_errno(problem, error, "cannot take the version %s", manifest.label);
	manifest_release(&manifest);
	return error;
}

int accept_mark_remote(struct store *store, const uint8_t version[VERSION_ID_BYTES])
{
	struct manifest manifest;
	int error = store_read_manifest(store, version, &manifest, NULL);

	if (error)
		return error;
	error = catalogue_begin(store->catalogue);
	if (!error) {
		for (uint32_t i = 0; i < manifest.pack_count && !error; i++) {
			struct pack_row row;

			error = catalogue_find_pack(store->catalogue, manifest.packs[i].salt, &row);
			if (error)
				break;
			row.remote = true;
			error = catalogue_update_pack(store->catalogue, &row);
			pack_row_release(&row);
		}
		if (!error)
			error = catalogue_commit(store->catalogue);
		else
			catalogue_rollback(store->catalogue);
	}
	manifest_release(&manifest);
	return error;
}
