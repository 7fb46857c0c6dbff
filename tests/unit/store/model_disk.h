/*
 * model_disk.h: a disk in memory under the store, whose power can be cut after every operation.
 *
 * It records every write, truncation, sync and change of a name. model_disk_after_cut() gives what a
 * real disk may hold when power fails after the first @operations of them: what was synced is there;
 * of everything since, each write and each name may have happened, not happened, or (writes) happened
 * in sectors. Which, a seed decides; seed 0 keeps all, seed 1 keeps nothing that was not synced.
 */
#ifndef MODEL_DISK_H
#define MODEL_DISK_H

#include "store/file.h"

#include <stdbool.h>

struct model_disk;

struct model_disk *model_disk_new(void);
void model_disk_free(struct model_disk *disk);

/** Files over the disk; releasing them leaves the disk. */
struct store_files *model_disk_files(struct model_disk *disk);

/** Operations recorded so far. */
size_t model_disk_operations(const struct model_disk *disk);

/** A new disk as it may be found after the cut. */
struct model_disk *model_disk_after_cut(const struct model_disk *disk, size_t operations,
					uint32_t seed);

/** Files cannot grow by more than @bytes from now on: @error; UINT64_MAX: no limit. */
void model_disk_limit(struct model_disk *disk, uint64_t bytes, int error);

/** Flips one bit of a file. */
void model_disk_flip(struct model_disk *disk, const char *path, uint64_t offset, int bit);

/** Calls @each for every file. */
void model_disk_each(struct model_disk *disk,
		     void (*each)(void *context, const char *path, uint64_t bytes), void *context);

#endif
