/**
 * The disks of guests, over store/: installing a release, the user's disk, their keys. Paths are
 * below the agent's data directory: images/IMAGE/RELEASE/ for system disks, guests/GUEST/ for what
 * belongs to this PC's guest.
 */
#ifndef AGENT_DISKS_H
#define AGENT_DISKS_H

#include "agent.h"
#include "trust/catalogue.h"

/** True when every block of the release is here. */
bool agent_disks_installed(const struct agent *agent, const char *image, uint64_t release);

/**
 * Installs a release: its manifest (checked against the signed catalogue's hash), then its blocks,
 * going on where an earlier try stopped. Works on agent->http; shows itself in agent->progress.
 * Returns 0, -ECANCELED or negative errno with agent->error; what has arrived stays.
 */
int agent_disks_install(struct agent *agent, const char *image,
			const struct catalogue_release *release);

/** Removes a release from this PC, and its overlay. Returns 0 or negative errno. */
int agent_disks_remove(struct agent *agent, const char *image, uint64_t release);

/**
 * The row of a guest's user disk; made at first asking, named USER.GUEST (or DEVICE.GUEST where
 * nobody is assigned). Returns 0 or negative errno with one line in `error`.
 */
int agent_disks_user_row(struct agent *agent, const char *guest, struct agent_disk_row *row,
			 char error[AGENT_ERROR_MAX]);

/** Path of a guest's user disk. */
void agent_disks_user_path(const struct agent *agent, const char *guest, char path[AGENT_PATH_MAX]);

/** The name of the user disk's key in the vault: GUEST/DISK. */
void agent_disks_user_key(const struct agent_disk_row *row, char name[2 * AGENT_DISK_MAX]);

/** What a start needs to know of one disk. */
struct agent_disk {
	const char *kind; /* "system" or "user" */
	char path[AGENT_PATH_MAX];
	char overlay[AGENT_PATH_MAX]; /* system: what this start writes; empty for the user's */
	unsigned char key[32];
};

/**
 * Prepares a guest's two disks for a start: takes their keys out of the vault (the first charges
 * the start), makes the user's disk when there is none. Overwrite with agent_disks_forget().
 */
int agent_disks_open(struct agent *agent, const struct agent_guest_row *guest,
		     struct agent_disk disks[2], unsigned char identity[32],
		     char error[AGENT_ERROR_MAX]);

void agent_disks_forget(struct agent_disk disks[2], unsigned char identity[32]);

/** Drops what a release's run wrote to its system disk, where policy says "discard". */
void agent_disks_discard_overlay(struct agent *agent, const char *guest, uint64_t release);

/** Bytes the company's guests use on this PC. */
uint64_t agent_disks_used(const struct agent *agent);

#endif
