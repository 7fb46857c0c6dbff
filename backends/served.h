/*
 * What a disk backend serves, put together from paths: a version with its overlay out of a store, or a user disk. The
 * layers of a guest live in one folder, its state:
 *
 *   arrived-<version>   blocks of that version that have arrived (sealed)
 *   overlay-<version>   what the guest wrote above that version
 *   user                the user disk
 *
 * A new version so starts with an empty overlay, and the old one is there if the guest goes back.
 */
#ifndef BULKHEAD_BACKENDS_SERVED_H
#define BULKHEAD_BACKENDS_SERVED_H

#include "guestdisk.h"

struct served_options {
	const char *state;	/**< folder of the layers */
	const char *key;	/**< file of 32 random bytes, from which the layers' keys are made */
	const char *store;	/**< folder of a store; NULL: a user disk */
	const char *domain_key; /**< file of the domain's 32 bytes */
	const char *version;	/**< id, unique beginning of one, or label */
	const char *feed;	/**< socket at which missing frames are asked for (feed.h), or NULL */
	const char *trace;	/**< file of a boot trace to follow, or NULL */
	const char *record;	/**< file to record a boot trace into, or NULL */
	uint64_t user_bytes;	/**< size of a user disk that does not exist yet; 0: it must exist */
	bool drop_overlay;	/**< start with an empty overlay */
	bool read_only;		/**< no overlay */
	bool no_background;	/**< bring only what is asked for */
};

struct served;

/** Opens everything. Returns 0 or a negative errno with the problem. */
int served_open(const struct served_options *options, struct served **served, struct problem *problem);

/** Flushes and closes. Returns the error of what could not be written, with the problem. */
int served_close(struct served *served, struct problem *problem);

struct guestdisk *served_disk(struct served *served);

#endif
