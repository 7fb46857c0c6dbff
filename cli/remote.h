/*
 * remote.h: the server as commands see it: one call is one function, and what the server refuses is
 * said in its words.
 *
 * The session (server, CA, token) and what this administrator has accepted so far (roles document,
 * audit head) lie in $BULKHEAD_CONFIG, or $XDG_CONFIG_HOME/bulkhead, or ~/.config/bulkhead. The
 * second part is what makes a hacked server visible from here: it is never taken from the server.
 */
#ifndef BULKHEAD_CLI_REMOTE_H
#define BULKHEAD_CLI_REMOTE_H

#include "command.h"
#include "trust/dsse.h"
#include "trust/memory.h"

#include <jansson.h>

struct remote;

/** Opens the session that `bulkhead server login` made. Returns CLI_OK or CLI_FAILED after saying
 * why. */
int remote_open(const struct cli_context *context, struct remote **remote);

/** Closes it. NULL is allowed. */
void remote_close(struct remote *remote);

/** The server's URL and the session's other values (borrowed). */
const char *remote_url(const struct remote *remote);
const char *remote_value(const struct remote *remote, const char *key);

/**
 * Makes a call.
 *
 * @body: sent as JSON (borrowed), or NULL.
 * @reply: receives the answer (a new reference, or NULL if there is none); may be NULL.
 *
 * Returns CLI_OK, or CLI_FAILED after saying what the server said.
 */
int remote_call(struct remote *remote, const char *method, const char *path, const json_t *body,
		json_t **reply);

/** As remote_call, with a text of @type as body. */
int remote_send(struct remote *remote, const char *method, const char *path, const char *text,
		const char *type, json_t **reply);

/** As remote_call with GET, but 404 is no failure: *@reply is NULL then. */
int remote_look(struct remote *remote, const char *path, json_t **reply);

/** Fetches every page of a list into one new array. */
int remote_list(struct remote *remote, const char *path, json_t **items);

/**
 * Uploads a file as an immutable object; what the server has already stays as it is.
 *
 * @path: of the call, for instance /api/v1/packs/NAME.
 * @sha256: lower-case hexadecimal SHA-256 of the file.
 * @progress: called with the bytes sent so far; may be NULL.
 */
int remote_upload(struct remote *remote, const char *path, const char *file, const char *sha256,
		  void (*progress)(void *context, uint64_t done_bytes), void *progress_context);

/** Downloads bytes; the caller frees *@bytes. */
int remote_download(struct remote *remote, const char *path, uint8_t **bytes, size_t *byte_count);

/** Says what went wrong as the command that opened the session. Returns CLI_FAILED. */
int remote_fail(const struct remote *remote, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Opens no session: asks a server who it is and makes a session for it. See remote_login.c. */
int remote_login(const struct cli_context *context);

/**
 * Brings the accepted roles document up to date: follows the chain from the one that was accepted
 * before.
 * *@memory is borrowed and lives as long as @remote. Fails if there is none yet ("bulkhead key
 * setup").
 */
int remote_trust(struct remote *remote, struct memory **memory);

/** Starts to trust a roles document: the one that this administrator has just made or been given.
 */
int remote_trust_start(struct remote *remote, const struct dsse_envelope *roles);

/** Keeps what was accepted. */
int remote_trust_save(struct remote *remote);

/** The pin of the roles document that new devices start from, as it was kept; false if there is
 * none. */
bool remote_pin(struct remote *remote, uint8_t pin[32], uint64_t *version);

#endif
