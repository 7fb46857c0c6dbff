/** One file out of a backup, without bringing the disk. */
#ifndef AGENT_FILE_RESTORE_H
#define AGENT_FILE_RESTORE_H

#include "user_disk.h"

/**
 * Writes the file at `path` (absolute, in the guest's user disk) of a backup to `file`. Fetches only
 * the frames that this takes; nothing of the disk is written in plain anywhere else.
 *
 * @name: the disk at the server. @envelope: the backup's signed manifest.
 *
 * Returns 0 or negative errno with agent->error.
 */
int file_restore(struct agent *agent, struct user_disk *disk, const char *name,
		 const char *envelope, const char *path, int file);

#endif
