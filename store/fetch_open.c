/*
 * fetch_open.c: what is here already, and the tables of what is not.
 *
 * A pack that is new here becomes a file with holes: header, table and trailer are written at once,
 * frames follow at the offsets that they have everywhere.
 */
#include "store/bytes.h"
#include "store/collect.h"
#include "store/fetch_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 4

static int store_read(void *context, const uint8_t salt[SALT_BYTES], uint64_t offset, size_t bytes,
		      void *buffer)
{
	struct store *other = context;
	struct store_file *file;
	char path[PACK_PATH_BYTES];
	int error;

	pack_path(salt, "pack", path);
	error = other->files->open(other->files, path, STORE_OPEN_READ, &file);
	if (error)
		return error;
	error = store_file_read_all(file, buffer, bytes, offset);
	other->files->close(file);
	return error;
}

struct fetch_source fetch_source_store(struct store *other)
{
	return (struct fetch_source){.read = store_read, .context = other};
}

/* Asks for header and table of a pack and checks them against the manifest. */
static int ask_ends(struct fetch *fetch, const struct manifest_pack *listed, uint8_t *header,
		    uint8_t *table_data, struct pack_table *table)
{
	uint32_t bytes = pack_table_bytes(listed->frame_count);
	struct pack_header parsed;
	int error = fetch_ask(fetch, listed->salt, 0, PACK_HEADER_BYTES, header);

	if (!error)
		error = pack_header_read(header, &parsed);
	if (!error && (memcmp(parsed.salt, listed->salt, SALT_BYTES) ||
		       memcmp(parsed.domain_id, fetch->manifest.domain_id, DOMAIN_ID_BYTES)))
		error = -EBADMSG;
	if (!error)
		error = fetch_ask(fetch, listed->salt, listed->table_offset, bytes, table_data);
	if (!error)
		error = pack_table_read(table_data, bytes, listed->table_offset, table);
	if (error)
		return error;
	if (memcmp(table->name, listed->table_name, NAME_BYTES) ||
	    memcmp(table->salt, listed->salt, SALT_BYTES)) {
		pack_table_release(table);
		return -EBADMSG;
	}
	return 0;
}

static void part_path(const struct fetch *fetch, const uint8_t *salt, char path[PACK_PATH_BYTES])
{
	char suffix[32];

	snprintf(suffix, sizeof(suffix), "%llu.part", (unsigned long long)fetch->session);
	pack_path(salt, suffix, path);
}

/* Writes the file with holes under a name of this session. */
static int make_file(struct fetch *fetch, const struct manifest_pack *listed, const uint8_t *header,
		     uint8_t *table_data)
{
	struct store_files *files = fetch->store->files;
	uint32_t bytes = pack_table_bytes(listed->frame_count);
	struct store_file *file;
	char path[PACK_PATH_BYTES];
	int error;

	part_path(fetch, listed->salt, path);
	error = files->unlink(files, path);
	if (error && error != -ENOENT)
		return error;
	error = files->open(files, path, STORE_OPEN_EXCLUSIVE, &file);
	if (error)
		return error;
	pack_trailer_write(listed->frame_count, table_data + bytes);
	error = files->write(file, header, PACK_HEADER_BYTES, 0);
	if (!error)
		error = files->write(file, table_data, bytes + PACK_TRAILER_BYTES,
				     listed->table_offset);
	if (!error)
		error = files->sync(file);
	files->close(file);
	if (error)
		(void)files->unlink(files, path);
	return error;
}

/* A pack that the catalogue does not know: fetches its ends. */
static int prepare_new(struct fetch *fetch, uint32_t p)
{
	const struct manifest_pack *listed = &fetch->manifest.packs[p];
	uint8_t header[PACK_HEADER_BYTES];
	uint8_t *data = malloc(pack_table_bytes(listed->frame_count) + PACK_TRAILER_BYTES);
	int error;

	if (!data)
		return -ENOMEM;
	error = ask_ends(fetch, listed, header, data, &fetch->packs[p].table);
	if (!error)
		error = make_file(fetch, listed, header, data);
	free(data);
	return error;
}

static bool same_pack(const struct pack_row *row, const struct manifest_pack *listed)
{
	return row->state == PACK_SETTLED && row->frame_count == listed->frame_count &&
	       row->table_offset == listed->table_offset &&
	       !memcmp(row->table_name, listed->table_name, NAME_BYTES);
}

/* Makes the packs that are not known yet ready, outside of any transaction. */
static int prepare_packs(struct fetch *fetch)
{
	int error = 0;

	for (uint32_t p = 0; p < fetch->manifest.pack_count && !error; p++) {
		const struct manifest_pack *listed = &fetch->manifest.packs[p];
		struct pack_row row;

		pack_table_release(&fetch->packs[p].table);
		error = catalogue_find_pack(fetch->store->catalogue, listed->salt, &row);
		if (error == -ENOENT) {
			error = prepare_new(fetch, p);
			continue;
		}
		if (error)
			return error;
		if (row.state != PACK_SETTLED)
			error = -EBUSY;
		else if (!same_pack(&row, listed))
			error = -EBADMSG;
		/* Space that is being given back must be gone before it is written again. */
		for (size_t i = 0; !error && i < bitmap_bytes(row.frame_count); i++) {
			if (!(row.leaving[i] & listed->used[i]))
				continue;
			error = collect_reclaim(fetch->store, row.id, NULL);
			break;
		}
		pack_row_release(&row);
	}
	return error;
}

/* In the transaction: adds a pack, unless someone else has in the meantime. */
static int adopt_pack(struct fetch *fetch, uint32_t p, bool *renamed)
{
	struct store_files *files = fetch->store->files;
	const struct manifest_pack *listed = &fetch->manifest.packs[p];
	struct pack_row row = {.id = 0};
	char part[PACK_PATH_BYTES], path[PACK_PATH_BYTES];
	int error = catalogue_find_pack(fetch->store->catalogue, listed->salt, &row);

	if (!error) {
		error = same_pack(&row, listed) ? 0 : -EBUSY;
		for (size_t i = 0; !error && i < bitmap_bytes(row.frame_count); i++)
			if (row.leaving[i] & listed->used[i])
				error = -EAGAIN;
		pack_row_release(&row);
		return error;
	}
	if (error != -ENOENT)
		return error;
	/* Known a moment ago and collected since. */
	if (!fetch->packs[p].table.entries)
		return -EAGAIN;
	part_path(fetch, listed->salt, part);
	pack_path(listed->salt, "pack", path);
	pack_files_forget(&fetch->store->packs, listed->salt);
	error = files->rename(files, part, path);
	if (error)
		return error;
	*renamed = true;
	memcpy(row.salt, listed->salt, SALT_BYTES);
	memcpy(row.domain, fetch->manifest.domain_id, DOMAIN_ID_BYTES);
	memcpy(row.table_name, listed->table_name, NAME_BYTES);
	row.table_offset = listed->table_offset;
	row.frame_count = listed->frame_count;
	row.state = PACK_SETTLED;
	error = pack_row_make(&row);
	if (!error)
		error = catalogue_add_pack(fetch->store->catalogue, &row);
	pack_row_release(&row);
	return error;
}

/* The transaction after which the version is known as arriving. */
static int commit_arriving(struct fetch *fetch, const char *envelope, struct problem *problem)
{
	struct catalogue *catalogue = fetch->store->catalogue;
	struct version_row row;
	bool renamed = false;
	int error = catalogue_begin(catalogue);

	if (error)
		return error;
	for (uint32_t p = 0; p < fetch->manifest.pack_count && !error; p++)
		error = adopt_pack(fetch, p, &renamed);
	if (!error && renamed)
		error = fetch->store->files->sync_directory(fetch->store->files, "packs");
	if (!error) {
		error = catalogue_get_version(catalogue, fetch->id, &row);
		if (error == -ENOENT)
			error = store_add_version(fetch->store, fetch->id, &fetch->manifest, envelope,
						  false, problem);
	}
	if (!error)
		return catalogue_commit(catalogue);
	catalogue_rollback(catalogue);
	return error;
}

/* What is here; the rest can be written. */
static int open_pack(struct fetch *fetch, uint32_t p)
{
	struct fetch_pack *pack = &fetch->packs[p];
	struct pack_file *use;
	struct pack_row row;
	int error = catalogue_find_pack(fetch->store->catalogue, fetch->manifest.packs[p].salt, &row);

	if (error)
		return error;
	if (!pack->table.entries)
		error = store_read_table(fetch->store, &row, &pack->table);
	if (!error)
		error = pack_files_take(&fetch->store->packs, row.salt, STORE_OPEN_WRITE, &use);
	if (!error)
		pack_files_give_back(&fetch->store->packs, use);
	if (!error && !(pack->fresh = calloc(1, bitmap_bytes(row.frame_count) + 1)))
		error = -ENOMEM;
	if (!error) {
		pack->present = row.present;
		row.present = NULL;
	}
	pack_row_release(&row);
	return error;
}

static void release(struct fetch *fetch)
{
	struct store_files *files = fetch->store->files;
	char path[PACK_PATH_BYTES];

	for (uint32_t p = 0; fetch->packs && p < fetch->manifest.pack_count; p++) {
		struct fetch_pack *pack = &fetch->packs[p];

		/* A file that was not adopted is nobody's. */
		part_path(fetch, fetch->manifest.packs[p].salt, path);
		(void)files->unlink(files, path);
		pack_table_release(&pack->table);
		free(pack->present);
		free(pack->fresh);
	}
	free(fetch->packs);
	if (fetch->session)
		(void)catalogue_remove_session(fetch->store->catalogue, fetch->session);
	manifest_release(&fetch->manifest);
	pthread_mutex_destroy(&fetch->lock);
	pthread_mutex_destroy(&fetch->checkpoint_lock);
	free(fetch);
}

static int begin(struct fetch *fetch, const char *envelope, struct problem *problem)
{
	int error;

	fetch->packs = calloc(fetch->manifest.pack_count, sizeof(*fetch->packs));
	if (!fetch->packs)
		return -ENOMEM;
	error = catalogue_add_session(fetch->store->catalogue,
				      fetch->store->now() + STORE_SESSION_SECONDS,
				      &fetch->session);
	/* A collection may come between the two; not many times in a row. */
	for (int round = 0; !error && round < ROUNDS; round++) {
		error = prepare_packs(fetch);
		if (!error)
			error = commit_arriving(fetch, envelope, problem);
		if (error != -EAGAIN)
			break;
		if (round + 1 < ROUNDS)
			error = 0;
	}
	for (uint32_t p = 0; p < fetch->manifest.pack_count && !error; p++)
		error = open_pack(fetch, p);
	return error;
}

int fetch_open(struct store *store, const struct fetch_source *source, const char *envelope,
	       size_t bytes, const struct version_trust *trust, struct fetch **opened,
	       struct problem *problem)
{
	struct fetch *fetch = calloc(1, sizeof(*fetch));
	int error;

	if (!fetch)
		return -ENOMEM;
	fetch->store = store;
	fetch->source = source;
	pthread_mutex_init(&fetch->lock, NULL);
	pthread_mutex_init(&fetch->checkpoint_lock, NULL);
	error = store_check_envelope(envelope, bytes, trust, &fetch->manifest, fetch->id, problem);
	if (!error)
		error = begin(fetch, envelope, problem);
	if (!error) {
		*opened = fetch;
		return 0;
	}
	if (error == -EBUSY)
		problem_set(problem, error, "another process is writing a pack of %s; try again later",
			    fetch->manifest.label);
	if (error == -EBADMSG)
		problem_set(problem, error, "the source gave a pack table that is not what was signed; "
					    "fetch from another source");
	problem_errno(problem, error, "cannot begin to fetch %s", fetch->manifest.label);
	release(fetch);
	return error;
}

int fetch_close(struct fetch *fetch)
{
	int error;

	if (!fetch)
		return 0;
	error = fetch_checkpoint(fetch);
	release(fetch);
	return error;
}
