/* state.c: see state.h. */
#include "trust/state.h"
#include "trust/document.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <string.h>

static const char *const status_names[STATE_STATUS_COUNT] = {
    [STATE_ACTIVE] = "active",
    [STATE_LOCKED] = "locked",
    [STATE_LOST] = "lost",
    [STATE_REVOKED] = "revoked",
};

const char *state_status_name(enum state_status status)
{
	return status < STATE_STATUS_COUNT ? status_names[status] : "unknown";
}

enum state_status state_status_from_name(const char *name)
{
	int status = 0;

	while (status < STATE_STATUS_COUNT && strcmp(status_names[status], name))
		status++;
	return (enum state_status)status;
}

static int read_groups(const json_t *list, struct state *state)
{
	json_t *value;
	size_t index;

	if (!json_is_array(list) || json_array_size(list) > STATE_GROUPS_MAX)
		return -EBADMSG;
	json_array_foreach(list, index, value)
	{
		const char *name = json_string_value(value);

		if (!name || strlen(name) != json_string_length(value) ||
		    !strict_json_is_name(name))
			return -EBADMSG;
		memcpy(state->groups[index], name, strlen(name) + 1);
	}
	state->group_count = json_array_size(list);
	return 0;
}

static int read_guest(const json_t *object, struct state_guest *guest)
{
	static const char *const fields[] = {"image", "catalogue", "release", "pinned", NULL};
	const json_t *pinned = json_object_get(object, "pinned");
	int64_t catalogue, release;

	if (!strict_json_only_keys(object, fields) ||
	    strict_json_string(object, "image", guest->image, sizeof(guest->image)) ||
	    !strict_json_is_name(guest->image) ||
	    strict_json_integer(object, "catalogue", 1, INT64_MAX, &catalogue) ||
	    strict_json_integer(object, "release", 1, INT64_MAX, &release) ||
	    !json_is_boolean(pinned))
		return -EBADMSG;
	guest->catalogue = (uint64_t)catalogue;
	guest->release = (uint64_t)release;
	guest->pinned = json_is_true(pinned);
	return 0;
}

static int read_guests(const json_t *list, struct state *state)
{
	json_t *entry;
	size_t index;

	if (!json_is_array(list) || json_array_size(list) > STATE_GUESTS_MAX)
		return -EBADMSG;
	json_array_foreach(list, index,
			   entry) if (read_guest(entry, &state->guests[index])) return -EBADMSG;
	state->guest_count = json_array_size(list);
	return 0;
}

static int read_numbers(const json_t *root, struct state *state)
{
	int64_t serial, roles, policy, command;

	if (strict_json_integer(root, "serial", 1, INT64_MAX, &serial) ||
	    strict_json_integer(root, "issued", 0, INT64_MAX, &state->issued) ||
	    strict_json_integer(root, "expires", 0, INT64_MAX, &state->expires) ||
	    strict_json_integer(root, "roles", 0, INT64_MAX, &roles) ||
	    strict_json_integer(root, "policy", 0, INT64_MAX, &policy) ||
	    strict_json_integer(root, "command", 0, INT64_MAX, &command))
		return -EBADMSG;
	state->serial = (uint64_t)serial;
	state->roles = (uint64_t)roles;
	state->policy = (uint64_t)policy;
	state->command = (uint64_t)command;
	return 0;
}

int state_read(const void *payload, size_t payload_bytes, struct state *state)
{
	static const char *const fields[] = {"type",   "device",  "serial", "issued", "expires",
					     "status", "user",	  "groups", "ring",   "roles",
					     "policy", "command", "guests", NULL};
	char status_text[16];
	json_t *root;
	int status;

	memset(state, 0, sizeof(*state));
	status = document_open(payload, payload_bytes, "state", fields, &root);
	if (status)
		return status;
	status = -EBADMSG;
	if (strict_json_string(root, "device", state->device, sizeof(state->device)) ||
	    strict_json_string(root, "status", status_text, sizeof(status_text)) ||
	    strict_json_string(root, "ring", state->ring, sizeof(state->ring)) ||
	    (json_object_get(root, "user") &&
	     (strict_json_string(root, "user", state->user, sizeof(state->user)) ||
	      !strict_json_is_name(state->user))) ||
	    read_numbers(root, state) || read_groups(json_object_get(root, "groups"), state) ||
	    read_guests(json_object_get(root, "guests"), state))
		goto out;
	state->status = state_status_from_name(status_text);
	if (state->status != STATE_STATUS_COUNT)
		status = 0;
out:
	json_decref(root);
	return status;
}

static int write_lists(json_t *groups, json_t *guests, const struct state *state)
{
	for (size_t i = 0; i < state->group_count; i++)
		if (json_array_append_new(groups, json_string(state->groups[i])))
			return -ENOMEM;
	for (size_t i = 0; i < state->guest_count; i++) {
		const struct state_guest *guest = &state->guests[i];

		if (json_array_append_new(
			guests, json_pack("{s:s, s:I, s:I, s:b}", "image", guest->image,
					  "catalogue", (json_int_t)guest->catalogue, "release",
					  (json_int_t)guest->release, "pinned", guest->pinned)))
			return -ENOMEM;
	}
	return 0;
}

int state_write(const struct state *state, char **text)
{
	json_t *groups = json_array(), *guests = json_array();
	json_t *root =
	    json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:o, s:o}", "type",
		      "state", "device", state->device, "serial", (json_int_t)state->serial,
		      "issued", (json_int_t)state->issued, "expires", (json_int_t)state->expires,
		      "status", state_status_name(state->status), "ring", state->ring, "roles",
		      (json_int_t)state->roles, "policy", (json_int_t)state->policy, "command",
		      (json_int_t)state->command, "groups", groups, "guests", guests);
	int status = -ENOMEM;

	if (!root)
		return status;
	if (write_lists(groups, guests, state) ||
	    (*state->user && json_object_set_new(root, "user", json_string(state->user))))
		goto out;
	*text = strict_json_write(root);
	status = *text ? 0 : -ENOMEM;
out:
	json_decref(root);
	return status;
}
