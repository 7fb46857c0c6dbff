/*
 * request.h: one call: who asks, what came, what is answered.
 *
 * A handler reads the request, talks to storage and objects, and sets the reply. It returns 0, or
 * what problem() returned; a negative errno that reaches the frame becomes a problem document of
 * its own. For a call that changes something the frame (http.c) has begun a transaction; it adds
 * the audit entry and commits, or rolls back.
 */
#ifndef SERVER_REQUEST_H
#define SERVER_REQUEST_H

#include "server/objects.h"
#include "server/route.h"
#include "server/server.h"
#include "trust/dsse.h"
#include "trust/state.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define REQUEST_PARAMETERS_MAX 4
#define REQUEST_HEADERS_MAX    6

struct MHD_Connection;

struct reply {
	int status;
	json_t *json;	   /* owned */
	char *text;	   /* owned; instead of json */
	size_t text_bytes; /* of it, if it is not a C string */
	const char *type;  /* media type of text or object; NULL: application/json */
	bool has_object;   /* instead of both */
	struct object object;
	uint64_t first_byte, byte_count; /* of the object */
	char etag[96];			 /* with quotes; empty: made from the text */
	bool is_immutable;
	size_t header_count;
	struct {
		char name[40], value[420];
	} headers[REQUEST_HEADERS_MAX];
};

struct request {
	struct server *server;
	struct storage *storage;
	struct MHD_Connection *connection;
	const struct route *route;
	const char *method;
	char parameters[REQUEST_PARAMETERS_MAX][80];
	size_t parameter_count;
	int64_t now;
	/* Who asks. */
	enum route_caller caller;
	char account[80]; /* person */
	int permissions;  /* person: bits of enum permission */
	json_t *device;	  /* device: its row; owned */
	char address[64]; /* of the peer, for limits */
	/* What came. */
	json_t *body;		       /* BODY_JSON; owned */
	struct dsse_envelope envelope; /* BODY_ENVELOPE */
	char *raw;		       /* the bytes of every body but an upload; owned */
	size_t raw_bytes, raw_capacity;
	struct object_put put; /* BODY_UPLOAD */
	bool put_is_open;
	uint64_t upload_total, upload_end;
	/* What is answered. */
	struct reply reply;
	/* For the audit entry; the frame fills in what the handler left empty. */
	char audit_object[160];
	char audit_detail[256];
};

/** Answers with a problem document (RFC 9457); @format says what to do. Returns -ECANCELED, to be
 * returned on. */
int problem(struct request *request, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/** Turns a negative errno into a problem document. Returns -ECANCELED. */
int problem_from(struct request *request, int status);

/** Answers with @json (taken over). Returns 0, or -ENOMEM if @json is NULL. */
int reply_json(struct request *request, int status, json_t *json);

/** Answers with a JSON text as it stands (taken over). Returns 0, or -ENOMEM if it is NULL. */
int reply_text(struct request *request, int status, char *text, const char *type);

/** Answers with nothing. Returns 0. */
int reply_empty(struct request *request, int status);

/** Adds a header to the answer. */
void reply_header(struct request *request, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Answers with {"items": rows, "next": ...}; @key names the column that `after` continues from.
 * Takes @rows over. */
int reply_page(struct request *request, json_t *rows, const char *key);

/** The page a caller asked for: at most 500 rows. */
int64_t request_limit(const struct request *request);

/** A query argument or header, or NULL. */
const char *request_query(const struct request *request, const char *name);
const char *request_header(const struct request *request, const char *name);

/** `after` as a number (0 if absent or none). */
int64_t request_after_number(const struct request *request);

/** A text or number of the body; NULL or @otherwise if it is not there. */
const char *request_text(const struct request *request, const char *field);
int64_t request_integer(const struct request *request, const char *field, int64_t otherwise);
bool request_boolean(const struct request *request, const char *field);

/** Path parameter @index as a number; negative if it is none. */
int64_t request_number(const struct request *request, size_t index);

/** The calling device's id and user (NULL if nobody). */
const char *request_device(const struct request *request);
const char *request_user(const struct request *request);

/** Counts a change that device states show. Part of the running transaction. */
int request_touch(struct request *request);

/** Sets the object of the audit entry. */
void request_audit(struct request *request, const char *object, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Fills @text with @byte_count random bytes in lower-case base 32. @text: byte_count * 8 / 5 + 2
 * characters. */
void request_random(char *text, size_t byte_count);

/** SHA-256 of a secret, as it is kept. */
void request_hash(const char *secret, uint8_t hash[32]);

#endif
