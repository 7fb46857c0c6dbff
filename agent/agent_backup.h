/** The user's disk: its key, its backups, its return on this or another PC. All by the working
 * thread. */
#ifndef AGENT_BACKUP_H
#define AGENT_BACKUP_H

#include "agent.h"

/** Backs up every guest's disk whose time has come by policy; with `guest`, that one now. */
int agent_backup_run(struct agent *agent, const char *guest);

/** Sends the sealed copies of a guest's disk key, with one for `phrase` unless NULL. */
int agent_backup_send_copies(struct agent *agent, const char *guest, const char *phrase);

/**
 * Obeys an officers' order to release a disk's key: seals it to whom the order names, or, if that
 * is this PC's vault, takes the released copy in. The vault checks the order.
 */
int agent_backup_obey_release(struct agent *agent, const char *order);

/** What a restore brings. */
struct agent_restore {
	const char *guest;
	const char *disk;   /* at the server; NULL: the guest's own */
	uint64_t number;    /* backup; 0: the newest of the main branch */
	const char *phrase; /* NULL: the vault has the key already */
	bool is_copy;	  /* written to `file`; else it replaces the guest's disk, and this PC becomes its writer */
	const char *path; /* of a copy. NULL: the whole disk; else this file in it */
	int file;	  /* that whoever asks has opened to read and write, with their own rights; -1: none */
};

int agent_backup_restore(struct agent *agent, const struct agent_restore *restore);

#endif
