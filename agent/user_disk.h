/**
 * A user disk's versions: its own domain of a store, manifests signed by a key that comes from the
 * disk's, so that who holds no key of the disk can neither read a backup nor make one that is
 * believed.
 */
#ifndef AGENT_USER_DISK_H
#define AGENT_USER_DISK_H

#include "agent.h"
#include "disk_reader.h"
#include "store/store.h"

struct user_disk {
	struct store *store;
	struct domain domain;
	struct signing_key signer;
};

/** Opens (or makes) the store of a guest's user disk on this PC under its key. Returns 0 or negative
 * errno with agent->error. */
int user_disk_open(struct agent *agent, const char *guest, const unsigned char key[32],
		   struct user_disk *disk);

/** The same of any folder; `make`: if there is none. */
int user_disk_open_at(struct agent *agent, const char *folder, bool make,
		      const unsigned char key[32], struct user_disk *disk);

/** Closes it and forgets the secrets. */
void user_disk_close(struct user_disk *disk);

/**
 * Makes a version of the frozen disk: only what changed since its base is read, or, where that is
 * not in this store any more, all of it. `version` gets the id. -ECANCELED: the agent stops, or the
 * guest of a resting disk starts.
 */
int user_disk_publish(struct agent *agent, struct user_disk *disk, struct disk_reader *reader,
		      int64_t now, char version[65]);

/**
 * A whole backup into the store: freezes, makes a version, counts the changes from it. A guest that is
 * started meanwhile goes first; then its running disk is read. `label` gets disk_reader.h's. Returns 0
 * or negative errno with agent->error.
 */
int user_disk_back_up(struct agent *agent, struct user_disk *disk, const char *guest,
		      const char *layer, const unsigned char key[32], char version[65],
		      const char **label);

/** 0 if this disk's key signed the envelope; for fetching. */
int user_disk_verify(void *context, const struct dsse_envelope *envelope);

#endif
