/*
 * release.h: putting a new release of an image into its catalogue and onto the server: the end of
 * `bulkhead image publish`. Packs are uploaded before, by remote_upload() to /api/v1/packs/NAME;
 * the catalogue's signature is what makes the release exist.
 */
#ifndef BULKHEAD_CLI_RELEASE_H
#define BULKHEAD_CLI_RELEASE_H

#include "remote.h"

struct release_request {
	const char *image;	   /* made on the server if it does not exist */
	const char *name;	   /* what people call the version */
	const char *manifest_file; /* the manifest's bytes */
	uint8_t manifest_sha256[32];
	uint64_t manifest_bytes;
	const char *key_option; /* option of the command that names the images-role key files */
	const char *stage;	/* "draft", "test", "staged", "deployed"; NULL = draft */
	int64_t life_days;	/* of the catalogue's freshness; 0 = 90 */
};

/**
 * Uploads the manifest, appends the release to the catalogue that this administrator trusts, signs
 * and publishes it.
 *
 * @release: receives its number.
 *
 * Returns CLI_OK, or CLI_FAILED after saying why. Asked again for a manifest that is the newest
 * release already, it only sets the stage.
 */
int release_publish(struct remote *remote, const struct cli_context *context,
		    const struct release_request *request, uint64_t *release);

/** Makes the image on the server if need be, and sets (or checks) its family key of @key_bytes
 * bytes. */
int release_image(struct remote *remote, const char *image, const uint8_t *key, size_t key_bytes);

/**
 * Fetches and verifies the catalogue of @image. An image without one gives version 0.
 * Returns CLI_OK or CLI_FAILED.
 */
int release_catalogue(struct remote *remote, const char *image, struct catalogue *catalogue);

/** Signs @catalogue with version + 1 and a new expiry, and publishes it. */
int release_catalogue_put(struct remote *remote, const struct cli_context *context,
			  const char *key_option, int64_t life_days, struct catalogue *catalogue);

/** Sets the stage of a release. */
int release_stage(struct remote *remote, const char *image, uint64_t release, const char *stage);

#endif
