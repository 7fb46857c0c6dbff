/**
 * HTTPS to the server: TLS 1.3 with the CA that was pinned at enrolment and this device's
 * certificate; or to a cache of packs, as anybody would. What arrives is bounded; what broke off goes
 * on where it stopped.
 */
#ifndef AGENT_HTTP_H
#define AGENT_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "pace.h"

struct agent_http;

struct agent_http_answer {
	long status; /* HTTP status; 0 when none arrived */
	char etag[96];
	char audit_head[320];  /* Bulkhead-Audit-Head */
	int64_t upload_offset; /* Bulkhead-Upload-Offset, -1: none */
	int64_t retry_after;   /* seconds, 0: none */
	unsigned char *body;   /* ends with a zero that does not count; agent_http_free() */
	size_t body_bytes;
};

/**
 * `server` is "https://HOST[:PORT][/PATH]". `ca` is a PEM file, or NULL for the authorities that this
 * system trusts; `certificate` and `key` are PEM files or
 * NULL before enrolment. Returns NULL when memory ran out.
 */
struct agent_http *agent_http_new(const char *server, const char *ca, const char *certificate,
				  const char *key);
void agent_http_close(struct agent_http *http);

/** The budget that transfers share; NULL (at first): no limit. Borrowed. */
void agent_http_set_pace(struct agent_http *http, struct pace *pace);

/** Called now and then while something is transferred; a return other than 0 ends the transfer with
 * -ECANCELED. */
void agent_http_set_tick(struct agent_http *http, int (*tick)(void *context), void *context);

/**
 * One call. `headers` is a NULL-terminated array of "Name: value", or NULL; `body` may be NULL. The
 * answer's body is at most `body_max` bytes. Returns 0 when an HTTP answer arrived, whatever its
 * status; else negative errno with agent_http_error().
 */
int agent_http_call(struct agent_http *http, const char *method, const char *path,
		    const char *const *headers, const void *body, size_t body_bytes,
		    size_t body_max, struct agent_http_answer *answer);

/**
 * Fetches bytes [offset, offset + size) of a path by range into `buffer`, at most `tries` times,
 * each going on where the last stopped. Returns 0, -ENOENT (404), -EACCES (401, 403), -EPROTO,
 * -EIO, -ECANCELED.
 */
int agent_http_fetch_range(struct agent_http *http, const char *path, uint64_t offset, void *buffer,
			   size_t size, int tries);

/** One line about the last failure or problem document. */
const char *agent_http_error(const struct agent_http *http);

/** Turns an answer's status into 0 or negative errno, with the problem's detail in
 * agent_http_error(). */
int agent_http_check(struct agent_http *http, const struct agent_http_answer *answer);

void agent_http_free(struct agent_http_answer *answer);

#endif
