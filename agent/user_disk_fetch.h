/** Bringing a backup's blocks back from the server. */
#ifndef AGENT_USER_DISK_FETCH_H
#define AGENT_USER_DISK_FETCH_H

#include "user_disk.h"

/**
 * Takes a backup's signed manifest (believed only if this disk's key signed it), fetches the frames
 * that are not here from the server's disk `name`, and writes the disk into `file`. `version` gets
 * its id. What has arrived stays, so a second try goes on. Returns 0 or negative errno with
 * agent->error.
 */
int user_disk_fetch(struct agent *agent, struct user_disk *disk, const char *name,
		    const char *envelope, int file, char version[65]);

#endif
