/* What the commands on images that use a store share: options, and how a store, a domain and a disk are opened. */
#ifndef BULKHEAD_CLI_IMAGE_STORE_H
#define BULKHEAD_CLI_IMAGE_STORE_H

#include "command.h"

#include "store/store.h"

/** Rows that every command with a store has. */
#define IMAGE_STORE_OPTIONS                                                                                            \
	{"store", "DIR", "folder of the store", 's', true}, {"domain-key", "FILE", "32 bytes: key of the image family", 'd', true}

/** A store and the domain of an image family, opened by the options. */
struct image_store {
	struct store *store;
	struct domain domain;
};

/**
 * Opens the store and the domain's key.
 * @create  make either if it is missing (the key is random).
 * Returns CLI_OK, or CLI_FAILED after saying why.
 */
int image_store_open(const struct cli_context *context, bool create, struct image_store *opened);
void image_store_close(struct image_store *opened);

/**
 * Opens a disk in any format as a raw file descriptor: a raw file as it is, others converted into an unnamed file in
 * the folder @work. Returns CLI_OK and *@fd, or CLI_FAILED after saying why.
 */
int image_open_raw(const struct cli_context *context, const char *path, const char *work, int *fd);

#endif
