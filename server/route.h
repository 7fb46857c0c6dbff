/*
 * route.h: every call the server knows, as one table: path, who may, what its body may contain. A
 * call that is not in the table does not exist, and openapi.json is held against it by a test.
 */
#ifndef SERVER_ROUTE_H
#define SERVER_ROUTE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct request;

enum route_caller { CALLER_OPEN, CALLER_DEVICE, CALLER_PERSON };

/** What a person may do; an account's role is a set of these. */
enum permission {
	PERMIT_SELF = 1, /* own password and tokens */
	PERMIT_READ = 2, /* see the fleet */
	PERMIT_HELP = 4, /* lock, report lost, send a device back a version */
	PERMIT_OPERATE =
	    8, /* devices, users, groups, assignments, stages, tokens, policy, orders */
	PERMIT_AUTHOR = 16,   /* images: packs, manifests, catalogues, keys */
	PERMIT_ACCOUNTS = 32, /* other accounts, roles document */
	PERMIT_AUDIT = 64,    /* the audit log */
	PERMIT_RECOVER = 128, /* read backups and sealed keys */
};

enum body_kind { BODY_NONE, BODY_JSON, BODY_ENVELOPE, BODY_TEXT, BODY_UPLOAD };

enum field_kind {
	FIELD_NAME,    /* see strict_json_is_name() */
	FIELD_TEXT,    /* at most `most` bytes */
	FIELD_INTEGER, /* 0 to `most` */
	FIELD_BOOLEAN,
	FIELD_OBJECT,
	FIELD_TEXTS,   /* array of at most `most` texts */
	FIELD_OBJECTS, /* array of at most `most` objects */
};

struct field {
	const char *name;
	enum field_kind kind;
	long long most;
	bool required;
	const char *const *words; /* FIELD_TEXT: one of these; ends with NULL */
};

struct route {
	const char *method;
	const char *path; /* {NAME} stands for one part */
	const char *operation;
	enum route_caller caller;
	enum permission permission; /* CALLER_PERSON */
	int (*handler)(struct request *request);
	int (*prepare)(
	    struct request *request); /* slow checks before the transaction begins, or NULL */
	enum body_kind body;
	size_t body_max;
	const struct field *fields; /* BODY_JSON; ends with an empty row */
	bool is_unrestricted;	    /* also for a lost or revoked device */
	bool is_audited;	    /* a change that the audit log names */
	bool is_limited;	    /* counts against the limit for open calls */
};

extern const struct route route_table[];
extern const size_t route_count;

/** A set of permissions by the name of an account's role; 0 if there is no such role. */
int route_permissions(const char *role);
extern const char *const route_role_names[];

/**
 * Finds the route of a call.
 *
 * @parameters: receives the parts that stand for {NAME}.
 * @other_method: receives true if the path exists for other methods.
 *
 * Returns the row or NULL.
 */
const struct route *route_find(const char *method, const char *path, char (*parameters)[80],
			       size_t *parameter_count, bool *other_method);

/**
 * Holds a body against a route's fields.
 *
 * @wrong: receives one line on refusal.
 *
 * Returns true if every required field is there, every field known and each of its kind.
 */
bool route_body_fits(const struct field *fields, const json_t *body, char *wrong,
		     size_t wrong_bytes);

#endif
