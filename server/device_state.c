/*
 * device_state.c: the poll, the report and the lease. A poll of a device for which nothing changed
 * is one look at the storage and no signature; a state is a pure function of the storage and the
 * day, so any server that shares the storage gives the same bytes.
 */
#include "server/handlers.h"
#include "server/presence.h"
#include "trust/lease.h"
#include "trust/policy.h"
#include "trust/state.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY		  86400
#define STATE_LIFE_DAYS	  7
#define POLL_SECONDS	  300
#define LEASE_SAME_WITHIN 3600

static int64_t number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

static void copy(char *out, size_t out_bytes, const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	snprintf(out, out_bytes, "%s", text ? text : "");
}

static int fill_guests(struct request *request, struct state *state)
{
	json_t *rows, *row;
	size_t index;
	int status = storage_rows(
	    request->storage, QUERY_DEVICE_IMAGES,
	    STORAGE(SV_TEXT(state->device), SV_TEXT(request_user(request)), SV_TEXT(state->ring)),
	    &rows);

	if (status)
		return status;
	json_array_foreach(rows, index, row)
	{
		struct state_guest *guest = &state->guests[state->guest_count];
		int64_t pinned = number_of(row, "pinned"), newest = number_of(row, "newest");

		if (!pinned && !newest)
			continue;
		copy(guest->image, sizeof(guest->image), row, "image");
		guest->catalogue = (uint64_t)number_of(row, "catalogue");
		guest->release = (uint64_t)(pinned ? pinned : newest);
		guest->pinned = pinned != 0;
		state->guest_count++;
	}
	json_decref(rows);
	return 0;
}

static int fill(struct request *request, int64_t slot, struct state *state)
{
	json_t *rows, *row;
	size_t index;
	int status;

	memset(state, 0, sizeof(*state));
	copy(state->device, sizeof(state->device), request->device, "id");
	copy(state->user, sizeof(state->user), request->device, "user");
	copy(state->ring, sizeof(state->ring), request->device, "ring");
	state->status =
	    state_status_from_name(json_string_value(json_object_get(request->device, "status")));
	state->serial = (uint64_t)number_of(request->device, "revision");
	state->command = (uint64_t)number_of(request->device, "sequence");
	state->issued = slot * DAY;
	state->expires = state->issued + STATE_LIFE_DAYS * DAY;
	status = storage_row(request->storage, QUERY_DOCUMENT_VERSIONS, STORAGE_NONE, &row);
	if (status)
		return status;
	state->roles = (uint64_t)number_of(row, "roles");
	state->policy = (uint64_t)number_of(row, "policy");
	json_decref(row);
	status = storage_rows(request->storage, QUERY_DEVICE_GROUPS,
			      STORAGE(SV_TEXT(request_user(request))), &rows);
	if (status)
		return status;
	json_array_foreach(rows, index, row)
	    copy(state->groups[state->group_count++], STATE_NAME_MAX, row, "name");
	json_decref(rows);
	/* A lost or revoked device is told to run nothing. */
	if (state->status == STATE_LOST || state->status == STATE_REVOKED)
		return 0;
	return fill_guests(request, state);
}

/* Signs @payload (taken over) as the server. */
static int sign(struct request *request, const char *type, char *payload, char **text)
{
	struct dsse_envelope envelope;
	int status = dsse_new(&envelope, type, payload, strlen(payload));

	if (!status)
		status = dsse_sign(&envelope, &request->server->key);
	if (!status)
		status = dsse_write(&envelope, text);
	dsse_release(&envelope);
	free(payload);
	return status;
}

int device_state_get(struct request *request)
{
	int64_t slot = request->now / DAY;
	struct state *state;
	char *payload, *text = NULL;
	int status;

	atomic_fetch_add(&request->server->counters.polls, 1);
	presence_seen(request->server->presence, request_device(request), request->now,
		      request_header(request, "Bulkhead-Audit-Seen"));
	reply_header(request, "Bulkhead-Poll-Seconds", "%u",
		     POLL_SECONDS + randombytes_uniform(POLL_SECONDS / 5));
	snprintf(request->reply.etag, sizeof(request->reply.etag), "\"%ld-%ld\"",
		 (long)number_of(request->device, "revision"), (long)slot);
	if (request_header(request, "If-None-Match") &&
	    !strcmp(request_header(request, "If-None-Match"), request->reply.etag)) {
		atomic_fetch_add(&request->server->counters.polls_unchanged, 1);
		request->reply.status = 304;
		return 0;
	}
	state = malloc(sizeof(*state));
	status = state ? fill(request, slot, state) : -ENOMEM;
	if (!status)
		status = state_write(state, &payload);
	free(state);
	if (!status)
		status = sign(request, DSSE_TYPE_STATE, payload, &text);
	if (status)
		return status;
	request->reply.status = 200;
	request->reply.text = text;
	return 0;
}

int device_state_report(struct request *request)
{
	char *text = strict_json_write(request->body);
	int status = text ? storage_run(request->storage, QUERY_DEVICE_REPORT,
					STORAGE(SV_TEXT(request_device(request)), SV_TEXT(text),
						SV_INT(request->now)))
			  : -ENOMEM;

	free(text);
	return status ? status : reply_empty(request, 204);
}

/* The lease given last, if it was given for the same request just now: its answer may have been
 * lost. */
static bool same_again(struct request *request, const json_t *row, int64_t serial)
{
	const json_t *text = json_object_get(row, "lease");
	struct dsse_envelope envelope;
	struct lease lease;
	bool same;

	if (!text || number_of(row, "lease_held") != serial ||
	    number_of(row, "lease_serial") == serial ||
	    dsse_parse(json_string_value(text), json_string_length(text), &envelope))
		return false;
	same = !lease_read(envelope.payload, envelope.payload_bytes, &lease) &&
	       request->now - lease.issued < LEASE_SAME_WITHIN;
	dsse_release(&envelope);
	return same;
}

static int make_lease(struct request *request, uint64_t serial, char **text)
{
	struct lease lease = {.serial = serial, .issued = request->now};
	struct policy_effective effective;
	struct policy *policy;
	char *payload;
	int status = documents_effective(request->storage, request_device(request),
					 request_user(request), &policy, &effective);

	if (status)
		return status;
	copy(lease.device, sizeof(lease.device), request->device, "id");
	lease.not_after = request->now + effective.values[POLICY_LEASE_DAYS].number * DAY;
	lease.powered_seconds =
	    (uint64_t)effective.values[POLICY_LEASE_POWERED_HOURS].number * 3600;
	lease.starts = (uint64_t)effective.values[POLICY_LEASE_STARTS].number;
	policy_free(policy);
	status = lease_write(&lease, &payload);
	return status ? status : sign(request, DSSE_TYPE_LEASE, payload, text);
}

int device_state_lease(struct request *request)
{
	int64_t serial = request_integer(request, "serial", 0);
	char *text = NULL;
	json_t *row;
	int64_t next;
	int status;

	if (strcmp(json_string_value(json_object_get(request->device, "status")), "active"))
		return problem(request, 403, "lease-refused", "this device is %s",
			       json_string_value(json_object_get(request->device, "status")));
	status = storage_row(request->storage, QUERY_DEVICE_LEASE_GET,
			     STORAGE(SV_TEXT(request_device(request))), &row);
	if (status)
		return status;
	next = number_of(row, "lease_serial") + 1;
	/* A device that knows a later lease than the database (restored from a backup?) must still
	 * get a newer one. */
	if (serial >= next)
		next = serial + 1;
	if (same_again(request, row, serial)) {
		text = strdup(json_string_value(json_object_get(row, "lease")));
	} else {
		status = make_lease(request, (uint64_t)next, &text);
		if (!status)
			status = storage_run(request->storage, QUERY_DEVICE_LEASE_SET,
					     STORAGE(SV_TEXT(request_device(request)), SV_INT(next),
						     SV_INT(serial), SV_TEXT(text)));
	}
	json_decref(row);
	if (status) {
		free(text);
		return status;
	}
	return reply_text(request, 201, text, NULL);
}
