/*
 * state.h: what a device is to be, signed by the server's own key: TUF's snapshot, timestamp and
 * the memberships in one document per device. It names versions of documents that others signed; it
 * can never replace one.
 */
#ifndef TRUST_STATE_H
#define TRUST_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_NAME_MAX	 65
#define STATE_GROUPS_MAX 64
#define STATE_GUESTS_MAX 16

enum state_status { STATE_ACTIVE, STATE_LOCKED, STATE_LOST, STATE_REVOKED, STATE_STATUS_COUNT };

struct state_guest {
	char image[STATE_NAME_MAX];
	uint64_t catalogue; /* version of the image's catalogue to hold */
	uint64_t release;   /* to run */
	bool pinned;
};

struct state {
	char device[STATE_NAME_MAX];
	uint64_t serial;
	int64_t issued;
	int64_t expires;
	enum state_status status;
	char user[STATE_NAME_MAX]; /* empty if nobody */
	size_t group_count;
	char groups[STATE_GROUPS_MAX][STATE_NAME_MAX];
	char ring[STATE_NAME_MAX];
	uint64_t roles; /* versions to hold; 0 = none yet */
	uint64_t policy;
	uint64_t command; /* newest sequence for this device */
	size_t guest_count;
	struct state_guest guests[STATE_GUESTS_MAX];
};

/** Name of a status in documents and messages, and back (STATE_STATUS_COUNT if unknown). */
const char *state_status_name(enum state_status status);
enum state_status state_status_from_name(const char *name);

/** Reads a payload. Returns 0, -EBADMSG or -EMSGSIZE. */
int state_read(const void *payload, size_t payload_bytes, struct state *state);

/** Writes the canonical payload; the caller frees @text. Returns 0 or -ENOMEM. */
int state_write(const struct state *state, char **text);

#endif
