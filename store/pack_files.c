/* pack_files.c: see pack_files.h. Few enough places to look through them all. */
#include "store/pack_files.h"
#include "store/pack.h"

#include <string.h>

/* No pack has this number of uses behind it: the place is closed as soon as nobody uses it. */
#define FORGOTTEN UINT64_MAX

void pack_files_init(struct pack_files *packs, struct store_files *files)
{
	memset(packs, 0, sizeof(*packs));
	packs->files = files;
	pthread_mutex_init(&packs->lock, NULL);
	pthread_cond_init(&packs->given_back, NULL);
}

static void close_one(struct pack_files *packs, struct pack_file *pack)
{
	packs->files->close(pack->file);
	pack->file = NULL;
}

void pack_files_release(struct pack_files *packs)
{
	for (size_t i = 0; i < PACK_FILES_MAX; i++)
		if (packs->open[i].file)
			close_one(packs, &packs->open[i]);
	pthread_cond_destroy(&packs->given_back);
	pthread_mutex_destroy(&packs->lock);
}

static struct pack_file *find(struct pack_files *packs, const uint8_t salt[SALT_BYTES],
			      enum store_open how)
{
	for (size_t i = 0; i < PACK_FILES_MAX; i++) {
		struct pack_file *pack = &packs->open[i];

		if (pack->file && pack->how == how && pack->used != FORGOTTEN &&
		    !memcmp(pack->salt, salt, SALT_BYTES))
			return pack;
	}
	return NULL;
}

/* A free place, or that of the pack that was not used for longest; NULL: all are in use. */
static struct pack_file *make_room(struct pack_files *packs)
{
	struct pack_file *oldest = NULL;

	for (size_t i = 0; i < PACK_FILES_MAX; i++) {
		struct pack_file *pack = &packs->open[i];

		if (!pack->file)
			return pack;
		if (!pack->users && (!oldest || pack->used < oldest->used))
			oldest = pack;
	}
	if (oldest)
		close_one(packs, oldest);
	return oldest;
}

int pack_files_take(struct pack_files *packs, const uint8_t salt[SALT_BYTES], enum store_open how,
		    struct pack_file **taken)
{
	char path[PACK_PATH_BYTES];
	struct pack_file *pack;
	int error = 0;

	pthread_mutex_lock(&packs->lock);
	while (!(pack = find(packs, salt, how)) && !(pack = make_room(packs)))
		pthread_cond_wait(&packs->given_back, &packs->lock);
	if (!pack->file) {
		pack_path(salt, "pack", path);
		error = packs->files->open(packs->files, path, how, &pack->file);
		if (error)
			pack->file = NULL;
		memcpy(pack->salt, salt, SALT_BYTES);
		pack->how = how;
		pack->users = 0;
	}
	if (!error) {
		pack->users++;
		pack->used = packs->clock++;
		*taken = pack;
	}
	pthread_mutex_unlock(&packs->lock);
	return error;
}

void pack_files_give_back(struct pack_files *packs, struct pack_file *taken)
{
	pthread_mutex_lock(&packs->lock);
	taken->users--;
	if (!taken->users && taken->used == FORGOTTEN)
		close_one(packs, taken);
	pthread_cond_signal(&packs->given_back);
	pthread_mutex_unlock(&packs->lock);
}

void pack_files_forget(struct pack_files *packs, const uint8_t salt[SALT_BYTES])
{
	pthread_mutex_lock(&packs->lock);
	for (size_t i = 0; i < PACK_FILES_MAX; i++) {
		struct pack_file *pack = &packs->open[i];

		if (!pack->file || memcmp(pack->salt, salt, SALT_BYTES))
			continue;
		if (pack->users)
			pack->used = FORGOTTEN;
		else
			close_one(packs, pack);
	}
	pthread_mutex_unlock(&packs->lock);
}
