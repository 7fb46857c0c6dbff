/* client.h: an HTTPS client for tests of the server: a person with a token or a device with a
 * certificate. */
#ifndef TESTS_SERVER_CLIENT_H
#define TESTS_SERVER_CLIENT_H

#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct client {
	CURL *curl;
	int port;
	const char *ca;	   /* PEM; borrowed */
	char token[128];   /* of a person; empty if none */
	char device[80];   /* of a device */
	char *certificate; /* PEM; owned */
	char *key;	   /* PEM; owned */
	bool keep_connection;
	/* The last answer. */
	long status;
	char *body;
	size_t body_bytes;
	char headers[8192];
};

void client_open(struct client *client, int port, const char *ca);
void client_close(struct client *client);

/**
 * Makes a call. @body NULL: none. @extra: one more header or NULL.
 * Returns the HTTP status, or 0 if no answer came.
 */
long client_call(struct client *client, const char *method, const char *path, const char *body,
		 const char *extra);

/** As client_call() with bytes. */
long client_send(struct client *client, const char *method, const char *path, const void *bytes,
		 size_t byte_count, const char *extra, const char *more);

/** The last answer as JSON (a new reference), or NULL. */
json_t *client_json(const struct client *client);

/** A string of the last answer; "" if there is none. @out: 512 bytes. */
const char *client_text(const struct client *client, const char *key, char *out);

/** An integer of the last answer, or -1. */
long long client_number(const struct client *client, const char *key);

/** A header of the last answer, or "". @out: 512 bytes. */
const char *client_header(const struct client *client, const char *name, char *out);

/** The code of the problem that was answered ("forbidden"), or "". @out: 512 bytes. */
const char *client_problem(const struct client *client, char *out);

/** Makes a new EC P-256 key and a certificate request for it; both PEM, owned by the caller. */
void client_request(char **key, char **csr);

/** Enrols with a token's secret; the client then calls as that device. Returns the HTTP status. */
long client_enrol(struct client *client, const char *secret, const char *name);

#endif
