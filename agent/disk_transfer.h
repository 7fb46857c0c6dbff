/** A user disk at the server: registering it, sending its packs and backups, finding and fetching
 * them. */
#ifndef AGENT_DISK_TRANSFER_H
#define AGENT_DISK_TRANSFER_H

#include "agent.h"
#include "user_disk.h"

/** Registers the disk that the row names for this device's user and fills in the row's epoch. */
int disk_transfer_register(struct agent *agent, struct agent_disk_row *row);

/**
 * Sends the version `version` (hexadecimal): the packs that the server lacks, each from where it
 * stopped, then the backup itself. `number` and `*side` say what the server made of it.
 */
int disk_transfer_send(struct agent *agent, struct user_disk *disk,
		       const struct agent_disk_row *row, const char *version, const char *label,
		       uint64_t *number, bool *side);

/** The number of a disk's newest backup on the main branch, and the disk's epoch. -ENOENT: there is
 * none. */
int disk_transfer_newest(struct agent *agent, const char *disk, uint64_t *number, uint64_t *epoch);

/** A backup's signed manifest; the caller frees `*envelope`. */
int disk_transfer_manifest(struct agent *agent, const char *disk, uint64_t number, char **envelope);

/** This PC becomes the writer; `*epoch` is the one known and then the new one. */
int disk_transfer_become_writer(struct agent *agent, const char *disk, uint64_t *epoch);

/** Keeps sealed copies of the disk's key; data is base64, NULL entries are left out. */
int disk_transfer_put_copies(struct agent *agent, const char *disk, const char *phrase_copy,
			     const char *company_copy);

/** Keeps a copy that was sealed by an officers' order, beside those that are there. */
int disk_transfer_put_released(struct agent *agent, const char *disk, const char *copy);

/** The newest sealed copy of a kind ("phrase", "company", "released"), decoded. */
int disk_transfer_get_copy(struct agent *agent, const char *disk, const char *kind,
			   struct key_copy *copy);

#endif
