/*
 * store.h: a directory that holds packs, signed versions and a catalogue of both.
 *
 * The same on a PC, a server and an administrator's machine. One store may hold several domains.
 * Who publishes or reads blocks needs a domain's key (domain.h); who fetches, accepts, checks,
 * collects or serves needs none. Several processes may use one store at the same time.
 *
 * Start here: publish.h (make a version), fetch.h (get one from elsewhere), image.h (read blocks),
 * expand.h (write a disk out), accept.h (the server's side), collect.h, repair.h.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "store/catalogue.h"
#include "store/domain.h"
#include "store/file.h"
#include "store/manifest.h"
#include "store/problem.h"
#include "trust/dsse.h"

struct store;

/** Seconds a session may be silent before a collection forgets it. */
#define STORE_SESSION_SECONDS 86400u

/**
 * Opens a store, or makes one.
 *
 * @directory: its path; only its last part is created, and only with @create.
 * @problem: may be NULL; says what failed.
 *
 * Returns 0 or a negative errno. Close with store_close().
 */
int store_open(const char *directory, bool create, struct store **store, struct problem *problem);

/** As store_open() over any files, which the store then owns, also if this fails. */
int store_open_files(struct store_files *files, struct store **store, struct problem *problem);

void store_close(struct store *store);

/** Replaces time(2), for tests. */
void store_set_clock(struct store *store, uint64_t (*now)(void));

/** Who may sign a version is not the store's to know: this is asked. 0 accepts. */
struct version_trust {
	int (*verify)(void *context, const struct dsse_envelope *envelope);
	void *context;
};

/** Lists the versions, oldest first; stops when @each returns non-zero and returns that. */
int store_each_version(struct store *store,
		       int (*each)(void *context, const struct version_row *row), void *context);

/**
 * Finds a version by its id in hexadecimal, a unique beginning of it (8 digits or more), or its
 * label (the newest of that label).
 *
 * Returns 0, -ENOENT, -ENOTUNIQ or another error; @problem says which.
 */
int store_find_version(struct store *store, const char *text, struct version_row *row,
		       struct problem *problem);

/**
 * Reads a version's manifest as it is kept; its id is checked against the bytes, its signature was
 * checked when it came in (store_version_envelope() gives it again).
 */
int store_read_manifest(struct store *store, const uint8_t id[VERSION_ID_BYTES],
			struct manifest *manifest, struct problem *problem);

/** The signed envelope of a version, as JSON; the caller frees @text. Returns 0 or an errno. */
int store_version_envelope(struct store *store, const uint8_t id[VERSION_ID_BYTES], char **text,
			   struct problem *problem);

/** Forgets a version; a collection gives its space back. -ENOENT if there is none. */
int store_remove_version(struct store *store, const uint8_t id[VERSION_ID_BYTES],
			 struct problem *problem);

/** The path of a pack relative to the store's directory, for who serves it as it is. */
void store_pack_path(const uint8_t salt[SALT_BYTES], char path[72]);

#endif
