/*
 * repair.h: finds what a disk has damaged, fetches exactly that again, and rebuilds what can be
 * computed.
 */
#ifndef STORE_REPAIR_H
#define STORE_REPAIR_H

#include "store/fetch.h"
#include "store/store.h"

enum fault_kind {
	FAULT_PACK_MISSING,
	FAULT_PACK_HEADER,
	FAULT_PACK_TABLE,   /* nothing in the pack can be checked before it is repaired */
	FAULT_PACK_TRAILER,
	FAULT_FRAME,
	FAULT_VERSION_FILE,   /* the signed manifest is missing or damaged */
	FAULT_VERSION_FRAMES, /* a version that has arrived lacks frames */
};

struct fault {
	enum fault_kind kind;
	uint8_t salt[SALT_BYTES];
	uint32_t number;	       /* of a frame */
	uint8_t version[VERSION_ID_BYTES]; /* of the last two kinds */
	uint64_t offset;	       /* where in the pack, and how much is in doubt */
	uint64_t bytes;
};

struct check_result {
	uint64_t packs, frames, bytes, versions, faults;
};

/**
 * Reads everything and compares it with its names.
 *
 * @each: called for every fault; non-zero stops and is returned.
 *
 * Returns 0 (see @result->faults) or an errno.
 */
int repair_check(struct store *store, int (*each)(void *context, const struct fault *fault),
		 void *context, const struct progress *progress, struct check_result *result,
		 struct problem *problem);

/** One line for a person. */
void repair_describe(const struct fault *fault, char *line, size_t line_bytes);

/**
 * Gets the damaged part, and nothing else, from @source again. A pack whose file is missing becomes one
 * without frames: fetch the versions that use it (fetch.h).
 *
 * Returns 0, -EBADMSG (the source's bytes are wrong too), -EOPNOTSUPP (a version's file: fetch the
 * version) or what the source said.
 */
int repair_fault(struct store *store, const struct fault *fault, const struct fetch_source *source,
		 struct problem *problem);

/**
 * Makes the catalogue anew from packs and signed manifests alone. The old one is renamed to
 * "catalogue.old". The store must not be open anywhere.
 *
 * @trust: manifests that it does not accept are left out.
 */
int repair_rebuild(const char *directory, const struct version_trust *trust,
		   struct check_result *result, struct problem *problem);

/** As repair_rebuild() over any files, which are released. */
int repair_rebuild_files(struct store_files *files, const struct version_trust *trust,
			 struct check_result *result, struct problem *problem);

/** Makes a domain's block index anew from the packs that are here. */
int repair_index(struct store *store, const struct domain *domain, uint64_t *blocks,
		 struct problem *problem);

#endif
