/* remote_private.h: what remote.c, remote_login.c and remote_trust.c share. */
#ifndef BULKHEAD_CLI_REMOTE_PRIVATE_H
#define BULKHEAD_CLI_REMOTE_PRIVATE_H

#include "remote.h"

#include <curl/curl.h>

struct remote {
	const struct cli_context *context;
	json_t *session; /* url, ca (PEM), ca_sha256, name, token */
	CURL *curl;
	struct memory *memory; /* what was accepted; NULL until remote_trust() */
	uint8_t pin[32];
	uint64_t pin_version;
	char error[CURL_ERROR_SIZE];
};

struct remote_answer {
	long status;
	char *bytes; /* NUL-terminated */
	size_t byte_count;
};

/** A session that is not kept yet; takes @session over. */
struct remote *remote_new(const struct cli_context *context, json_t *session);

/** One exchange; the caller frees answer->bytes. Says what failed below HTTP. */
int remote_perform(struct remote *remote, const char *method, const char *path, const char *text,
		   const char *type, struct remote_answer *answer);

size_t remote_take(char *data, size_t size, size_t count, void *context);

#endif
