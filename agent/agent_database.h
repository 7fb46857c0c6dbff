/**
 * What the agent must remember about guests, releases, wrapped keys and disks: SQLite, fully
 * synchronous, strict tables. Every statement stands in agent_database.c. Calls may come from any
 * thread.
 */
#ifndef AGENT_DATABASE_H
#define AGENT_DATABASE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent_keys.h"

#define AGENT_NAME_MAX 65
#define AGENT_DISK_MAX 140

struct agent_database;

/** A guest on this PC. Releases: 0 is none. */
struct agent_guest_row {
	char name[AGENT_NAME_MAX];
	uint64_t current;  /* what a start runs */
	uint64_t previous; /* what going back would run; 0 when not offered any more */
	uint64_t wanted;   /* what the server's state names */
	bool assigned;	   /* false: kept, not started */
	bool held_back;	   /* the user or an officer went back: stay until a newer release is wanted
			      than this one */
	uint64_t held_release;
	int64_t switched; /* when current last changed */
};

struct agent_disk_row {
	char disk[AGENT_DISK_MAX]; /* name at the server */
	char guest[AGENT_NAME_MAX];
	uint64_t epoch;	 /* as writer, 0: not registered yet */
	uint64_t newest; /* number of the backup that the next one builds on */
	int64_t last_backup;
	char label[20];	  /* of the last backup */
	char version[65]; /* its version in this PC's store, hexadecimal; empty: none */
	bool copies_sent; /* the key's sealed copies are at the server */
};

/** Opens or makes the file. Returns 0 or negative errno; `error` gets one line. */
int agent_database_open(const char *path, struct agent_database **database, char error[256]);
void agent_database_close(struct agent_database *database);

/** All return 0, -ENOENT, or -EIO (text by agent_database_error()). */
const char *agent_database_error(const struct agent_database *database);

int agent_database_guest_get(struct agent_database *database, const char *name,
			     struct agent_guest_row *row);
int agent_database_guest_put(struct agent_database *database, const struct agent_guest_row *row);
int agent_database_guest_delete(struct agent_database *database, const char *name);
/** Calls `each` for every guest in order of names; a return other than 0 ends and is returned. */
int agent_database_guests(struct agent_database *database,
			  int (*each)(void *context, const struct agent_guest_row *row),
			  void *context);

int agent_database_key_get(struct agent_database *database, const char *name,
			   struct agent_blob *blob);
int agent_database_key_put(struct agent_database *database, const char *name,
			   const struct agent_blob *blob);
int agent_database_key_delete(struct agent_database *database, const char *guest);

int agent_database_disk_get(struct agent_database *database, const char *guest,
			    struct agent_disk_row *row);
int agent_database_disk_put(struct agent_database *database, const struct agent_disk_row *row);
int agent_database_disk_delete(struct agent_database *database, const char *guest);

#endif
