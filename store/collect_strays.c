/*
 * collect_strays.c: files that an interrupted writer left: without a row that owns them and without
 * a session that may still be writing them.
 */
#include "store/collect_private.h"
#include "store/store_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sweep {
	struct store *store;
	const char *folder;
	bool (*is_stray)(struct sweep *sweep, const char *name);
	uint64_t *removed;
	char names[64][160];
	size_t count;
};

static bool session_open(struct sweep *sweep, uint64_t session)
{
	return catalogue_has_session(sweep->store->catalogue, session);
}

static bool any_session(struct sweep *sweep)
{
	uint64_t oldest;

	return catalogue_oldest_session(sweep->store->catalogue, &oldest) || oldest != UINT64_MAX;
}

/* "<salt>.pack", "<salt>.part" (a publisher's) or "<salt>.<session>.part". */
static bool stray_pack(struct sweep *sweep, const char *name)
{
	char text[2 * SALT_BYTES + 1], end[8];
	uint8_t salt[SALT_BYTES];
	unsigned long long session;
	struct pack_row row;
	int error;

	if (strlen(name) < sizeof(text) || name[sizeof(text) - 1] != '.')
		return false;
	memcpy(text, name, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	if (store_unhex(text, salt, SALT_BYTES))
		return false;
	name += sizeof(text);
	if (sscanf(name, "%llu.%7s", &session, end) == 2 && !strcmp(end, "part"))
		return !session_open(sweep, session);
	if (strcmp(name, "pack") && strcmp(name, "part"))
		return false;
	error = catalogue_find_pack(sweep->store->catalogue, salt, &row);
	if (!error)
		pack_row_release(&row);
	return error == -ENOENT;
}

static bool has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name), end = strlen(suffix);

	return length > end && !strcmp(name + length - end, suffix);
}

static bool stray_run(struct sweep *sweep, const char *name)
{
	if (has_suffix(name, ".part"))
		return !any_session(sweep);
	return has_suffix(name, ".run") && 
	       !catalogue_has_run(sweep->store->catalogue, strtoull(name, NULL, 16));
}

static bool stray_version(struct sweep *sweep, const char *name)
{
	uint8_t id[VERSION_ID_BYTES];
	char text[2 * VERSION_ID_BYTES + 1];
	struct version_row row;

	if (has_suffix(name, ".new"))
		return true;
	if (strlen(name) != sizeof(text) + 4 || !has_suffix(name, ".json"))
		return false;
	memcpy(text, name, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	return !store_unhex(text, id, VERSION_ID_BYTES) &&
	       catalogue_get_version(sweep->store->catalogue, id, &row) == -ENOENT;
}

static int look_at(void *context, const char *name)
{
	struct sweep *sweep = context;

	if (strlen(name) >= sizeof(sweep->names[0]) || !sweep->is_stray(sweep, name))
		return 0;
	snprintf(sweep->names[sweep->count++], sizeof(sweep->names[0]), "%s", name);
	/* A full list is worked off before looking on. */
	return sweep->count == sizeof(sweep->names) / sizeof(sweep->names[0]);
}

static int sweep_folder(struct sweep *sweep)
{
	struct store_files *files = sweep->store->files;
	int more;

	do {
		sweep->count = 0;
		more = files->list(files, sweep->folder, look_at, sweep);
		if (more < 0)
			return more;
		for (size_t i = 0; i < sweep->count; i++) {
			char path[200];
			int error;

			snprintf(path, sizeof(path), "%s/%s", sweep->folder, sweep->names[i]);
			error = files->unlink(files, path);
			if (error && error != -ENOENT)
				return error;
			(*sweep->removed)++;
		}
	} while (more);
	return 0;
}

int collect_strays(struct store *store, uint64_t *removed)
{
	static const struct {
		const char *folder;
		bool (*is_stray)(struct sweep *sweep, const char *name);
	} folders[] = {
	    {"packs", stray_pack},
	    {"index", stray_run},
	    {"versions", stray_version},
	};
	int error = 0;

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && !error; i++) {
		struct sweep *sweep = calloc(1, sizeof(*sweep));

		if (!sweep)
			return -ENOMEM;
		sweep->store = store;
		sweep->folder = folders[i].folder;
		sweep->is_stray = folders[i].is_stray;
		sweep->removed = removed;
		error = sweep_folder(sweep);
		free(sweep);
	}
	return error;
}
