/** Bringing a backup's blocks back from the server. */
#ifndef AGENT_USER_DISK_FETCH_H
#define AGENT_USER_DISK_FETCH_H

#include "user_disk.h"

/** Where a restored disk goes. */
struct user_disk_target {
	int file;	    /* a plain copy, or -1 */
	const char *folder; /* a layer: the guest's state folder */
	const char *layer;  /* and its folder there, which must not exist */
	const char *label;  /* what its key is made from: the layer's name at last */
	const unsigned char *key;
};

/** Writes a version that is here whole into a layer. Returns 0 or negative errno with the problem. */
int user_disk_fill(struct agent *agent, struct user_disk *disk, const uint8_t id[VERSION_ID_BYTES],
		   const struct user_disk_target *target, struct problem *problem);

/**
 * Takes a backup's signed manifest (believed only if this disk's key signed it), fetches the frames
 * that are not here from the server's disk `name`, and writes the disk. `version` gets its id; a
 * layer's changes are counted from it. What has arrived stays, so a second try goes on. Returns 0
 * or negative errno with agent->error.
 */
int user_disk_fetch(struct agent *agent, struct user_disk *disk, const char *name,
		    const char *envelope, const struct user_disk_target *target, char version[65]);

#endif
