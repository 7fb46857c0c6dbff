/* What the files of the user's own guests share; see agent_personal.h. */
#ifndef AGENT_PERSONAL_PRIVATE_H
#define AGENT_PERSONAL_PRIVATE_H

#include "agent.h"

/** One request about one guest. */
struct personal {
	struct agent *agent;
	const char *guest;
	const char *phrase; /* NULL: none was given */
	const char *folder; /* of the owner's backups, opened by who asks: as a path that is good while the request lasts; NULL: none */
	const json_t *settings; /* of the machine (own_machine.h); NULL: as it is, or as usual */
	int file;
	void (*say)(void *context, const char *line); /* how far it is */
	void *say_context;
	char directory[AGENT_PATH_MAX]; /* where it lies */
	char aside[AGENT_PATH_MAX];	/* where it is put together */
	char *error;
};

/** Puts "GUEST: text" into the error; returns `result`. */
int personal_complain(struct personal *personal, int result, const char *text);

/** Makes the place aside for a guest that does not exist yet. All: 0 or negative errno with the error. */
int personal_must_not_exist(struct personal *personal);

/** Removes a guest's folder; maps first, so that a crash leaves no disk. */
void personal_remove_directory(const char *path);

/** One of the guest's keys ("system", "user", "identity"), out of the vault. */
int personal_take_key(struct personal *personal, const char *name, unsigned char key[32]);

/**
 * What goes with the guest's disks wherever they go: its keys, in plain, so for what is encrypted only, and what machine it
 * is. `*description` is the caller's, also after an error.
 */
int personal_describe(struct personal *personal, json_t **description);

/**
 * Ends a guest's coming from elsewhere: its keys go into the vault and what lies aside becomes the guest, or none of it stays.
 * @result: how it went so far; anything but 0 only clears away
 * @description: what came with it; taken
 */
int personal_settle(struct personal *personal, int result, json_t *description);

/* own_backup.c */
int personal_back_up(struct personal *personal, json_t **answer);
int personal_bring_back(struct personal *personal, json_t **answer);

#endif
