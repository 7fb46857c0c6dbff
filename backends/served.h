/*
 * What a disk backend serves, put together from paths: a version with its overlay out of a store, or a user disk. The
 * layers of a guest live in one folder, its state:
 *
 *   arrived-<version>   blocks of that version that have arrived (sealed)
 *   overlay-<version>   what the guest wrote above that version
 *   user                the user disk (or another layer that stands alone)
 *
 * A plain file, read-only, is served too: the configuration disk that an agent makes for a start.
 *
 * A new version so starts with an empty overlay, and the old one is there if the guest goes back.
 */
#ifndef BULKHEAD_BACKENDS_SERVED_H
#define BULKHEAD_BACKENDS_SERVED_H

#include "guestdisk.h"

#define SERVED_KEY_BYTES 32u

struct served_options {
	const char *file;	   /**< a disk that is this plain file, read-only; nothing else applies then */
	const char *state;	   /**< folder of the layers */
	const uint8_t *key;	   /**< SERVED_KEY_BYTES from which the layers' keys are made */
	const char *store;	   /**< folder of a store; NULL: a disk that is one layer */
	const uint8_t *domain_key; /**< DOMAIN_KEY_BYTES: of the version's domain */
	const char *version;	   /**< id, unique beginning of one, or label */
	const char *feed;	   /**< socket at which missing frames are asked for (feed.h), or NULL */
	int stop_fd;		   /**< readable: nobody waits for frames any more; -1: none */
	const char *trace;	   /**< file of a boot trace to follow, or NULL */
	const char *record;	   /**< file to record a boot trace into, or NULL */
	const char *layer;	   /**< a disk that is one layer: its folder; NULL: "user" */
	const char *layer_label;   /**< what its key is made from; NULL: the folder's name */
	uint64_t layer_bytes;	   /**< its size if it does not exist yet; 0: it must exist */
	const char *control;	   /**< socket to answer at (control.h), or NULL */
	bool drop_overlay;	   /**< start with an empty overlay */
	bool read_only;		   /**< no overlay */
	bool no_background;	   /**< bring only what is asked for */
	bool direct;		   /**< layers' data past this machine's page cache, where the file system can */
};

/** Reads a key file, which has exactly 32 bytes. Returns 0 or a negative errno with the problem. */
int served_read_key(const char *path, uint8_t key[SERVED_KEY_BYTES], struct problem *problem);

struct served;

/** Opens everything. Returns 0 or a negative errno with the problem. */
int served_open(const struct served_options *options, struct served **served, struct problem *problem);

/** Flushes and closes. Returns the error of what could not be written, with the problem. */
int served_close(struct served *served, struct problem *problem);

struct guestdisk *served_disk(struct served *served);

/** The layer that takes writes, or NULL. */
struct layer *served_layer(struct served *served);

/** The version below, or NULL. */
struct version *served_version(struct served *served);

#endif
