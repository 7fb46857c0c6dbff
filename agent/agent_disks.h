/**
 * The disks of guests: their keys, where they lie, what a start needs of them. Paths are below the
 * agent's data directory: images/IMAGE/store for the frames of an image's releases,
 * images/IMAGE/RELEASE/ for what is known of one, guests/GUEST/ for the layers of this PC's guest
 * (backends/served.h), all of them encrypted.
 */
#ifndef AGENT_DISKS_H
#define AGENT_DISKS_H

#include "agent.h"
#include "agent_keys.h"
#include "trust/catalogue.h"

#define AGENT_VERSION_TEXT 65 /* a version's id in hexadecimal */

/**
 * True when a guest can start on the release: its manifest was checked, any block can be found, and
 * the vault has its key. Blocks may still be on their way. `version` gets its id, unless NULL.
 */
bool agent_disks_ready(const struct agent *agent, const char *image, uint64_t release,
		       char version[AGENT_VERSION_TEXT]);

/** True when every block of the release is here. */
bool agent_disks_complete(const struct agent *agent, const char *image, uint64_t release);

/**
 * Brings a release here, or goes on: makes it ready (its manifest is checked against the signed
 * catalogue's hash) and has the rest arrive in the background (arrival.h). Returns 0 (on its way or
 * complete) or negative errno with agent->error. The working thread's alone.
 */
int agent_disks_install(struct agent *agent, const char *image,
			const struct catalogue_release *release);

/** Goes on with a release that is ready but not complete, without asking the server anything. */
int agent_disks_resume(struct agent *agent, const char *image, uint64_t release);

/** Ends arrivals that nobody needs any more. The working thread's alone. */
void agent_disks_settle(struct agent *agent);

/** Removes a release from this PC, its overlay, and what no other release uses of its blocks.
 * Returns 0 or negative errno. The working thread's alone. */
int agent_disks_remove(struct agent *agent, const char *image, uint64_t release);

/**
 * The same for a release that somebody names (0: the one that going back would run), unless it is in
 * use or wanted; it is not offered for going back any more. Returns 0 or negative errno with one
 * line in `error`.
 */
int agent_disks_remove_release(struct agent *agent, const char *guest, uint64_t release,
			       char error[AGENT_ERROR_MAX]);

/**
 * The row of a guest's user disk; made at first asking, named USER.GUEST (or DEVICE.GUEST where
 * nobody is assigned). Returns 0 or negative errno with one line in `error`.
 */
int agent_disks_user_row(struct agent *agent, const char *guest, struct agent_disk_row *row,
			 char error[AGENT_ERROR_MAX]);

/** Path of a guest's layers. */
void agent_disks_state(const struct agent *agent, const char *guest, char path[AGENT_PATH_MAX]);

/** Path of a file of a release: images/IMAGE/RELEASE/NAME. */
void agent_disks_release_path(const struct agent *agent, const char *image, uint64_t release,
			      const char *name, char path[AGENT_PATH_MAX]);

/** Path of the socket at which missing frames of a release are asked for. */
int agent_disks_feed(const struct agent *agent, const char *image, uint64_t release,
		     char path[AGENT_PATH_MAX]);

/** Whether the guest has a user disk on this PC. */
bool agent_disks_has_user(const struct agent *agent, const char *guest);

/** The name of the user disk's key in the vault: GUEST/DISK. */
void agent_disks_user_key(const struct agent_disk_row *row, char name[2 * AGENT_DISK_MAX]);

/** What a start needs to know of one disk. Texts that do not apply are empty. */
struct agent_disk {
	const char *kind;	    /* "system" or "user" */
	char state[AGENT_PATH_MAX]; /* folder of its layers */
	unsigned char key[32];	    /* of its layers */
	const char *layer;	    /* a disk of one layer: its folder */
	const char *size;	    /* of that layer, if it has to be made */
	char size_text[24];
	char store[AGENT_PATH_MAX]; /* a version: where its frames are */
	unsigned char domain_key[32];
	char version[AGENT_VERSION_TEXT];
	char feed[AGENT_PATH_MAX];  /* empty when all of it is here */
	char trace[AGENT_PATH_MAX]; /* boot trace to follow */
	char record[AGENT_PATH_MAX]; /* where to record one */
};

/**
 * Prepares a guest's two disks for a start: takes their keys out of the vault (the last charges
 * the start), for the guest that was `sealed` (NULL: it runs by some other monitor, which seals none).
 * Overwrite with agent_disks_forget().
 */
int agent_disks_open(struct agent *agent, const struct agent_guest_row *guest,
		     const struct agent_keys_guest *sealed, struct agent_disk disks[2], unsigned char identity[32],
		     char error[AGENT_ERROR_MAX]);

void agent_disks_forget(struct agent_disk disks[2], unsigned char identity[32]);

/** Drops what a release's runs wrote to its system disk, where policy says "discard". */
void agent_disks_discard_overlay(struct agent *agent, const char *guest, uint64_t release);

/** Removes a layer's folder, its map first: a crash leaves no layer. Absent is well. */
int agent_disks_remove_layer(const char *path);

/** Bytes the company's guests use on this PC. */
uint64_t agent_disks_used(const struct agent *agent);

#endif
