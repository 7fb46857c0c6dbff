/*
 * catalogue.h: the signed list of an image's releases, with the security floor.
 *
 * A release points at a manifest by its SHA-256, so the catalogue's signature covers the whole
 * system disk. Releases below the floor must not be started again, whoever asks.
 */
#ifndef TRUST_CATALOGUE_H
#define TRUST_CATALOGUE_H

#include <stddef.h>
#include <stdint.h>

#define CATALOGUE_RELEASES_MAX 512
#define CATALOGUE_NAME_MAX     65

struct catalogue_release {
	uint64_t release; /* ordinal, ascending */
	char name[CATALOGUE_NAME_MAX];
	uint8_t manifest[32]; /* SHA-256 of the manifest's bytes */
	uint64_t manifest_bytes;
	int64_t created;
};

/** Plain data, about 75 KiB. */
struct catalogue {
	char image[CATALOGUE_NAME_MAX];
	uint64_t version; /* of this document */
	int64_t expires;
	uint64_t floor;
	size_t release_count;
	struct catalogue_release releases[CATALOGUE_RELEASES_MAX];
};

/** Reads a payload: ascending releases, a floor not above the newest. Returns 0, -EBADMSG or
 * -EMSGSIZE. */
int catalogue_read(const void *payload, size_t payload_bytes, struct catalogue *catalogue);

/** Writes the canonical payload; the caller frees @text. Returns 0 or -ENOMEM. */
int catalogue_write(const struct catalogue *catalogue, char **text);

/** The release numbered @release, or NULL. */
const struct catalogue_release *catalogue_find(const struct catalogue *catalogue, uint64_t release);

/** Appends a release numbered one above the newest. Returns its number, or 0 if the catalogue is
 * full. */
uint64_t catalogue_append(struct catalogue *catalogue, const char *name, const uint8_t manifest[32],
			  uint64_t manifest_bytes, int64_t created);

#endif
