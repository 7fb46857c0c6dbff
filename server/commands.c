/*
 * commands.c: what administrators tell devices to do. Locking and the like are the server's word; a
 * wipe or a key release is an order that two officers signed, checked here only to spare everybody
 * a useless one: the PC decides.
 */
#include "server/handlers.h"
#include "trust/order.h"
#include "trust/policy.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a command does besides being delivered. */
static const struct command_rule {
	const char *name;      /* as administrators say it */
	const char *delivered; /* as the device hears it */
	const char *status;    /* of the device afterwards, or NULL */
	bool is_order;	       /* carries the officers' envelope */
	bool helpdesk;	       /* allowed to them too */
} command_rules[] = {
    {"lock", "lock", "locked", false, true}, {"unlock", "unlock", "active", false, false},
    {"lost", "lock", "lost", false, true},   {"revoke", "lock", "revoked", false, false},
    {"wipe", "wipe", NULL, true, false},     {"release-key", "release-key", NULL, true, false},
    {"revert", "revert", NULL, false, true}, {"remove", "remove", NULL, false, false},
    {"update", "update", NULL, false, true},
};

static const struct command_rule *find_rule(const char *name)
{
	for (size_t i = 0; i < sizeof(command_rules) / sizeof(command_rules[0]); i++)
		if (!strcmp(command_rules[i].name, name))
			return &command_rules[i];
	return NULL;
}

int commands_list(struct request *request)
{
	json_t *rows;
	int status = storage_rows(request->storage, QUERY_COMMAND_LIST,
				  STORAGE(SV_TEXT(request->parameters[0]),
					  SV_INT(request_after_number(request)),
					  SV_INT(request_limit(request))),
				  &rows);

	return status ? status : reply_page(request, rows, "sequence");
}

/* Reads and checks an order's envelope from the body; gives the text to keep and the sequence its
 * officers chose. */
static int take_order(struct request *request, const char *kind, int64_t *sequence, char **text)
{
	struct dsse_envelope envelope;
	struct roles *roles = malloc(sizeof(*roles));
	struct order order;
	const char *device = request->parameters[0];
	int status = -ENOMEM;

	*text = strict_json_write(json_object_get(request->body, "order"));
	if (!roles || !*text)
		goto out;
	status = dsse_parse(*text, strlen(*text), &envelope);
	if (status) {
		status =
		    problem(request, 422, "bad-order", "order must be a signed envelope (DSSE v1)");
		goto out;
	}
	status = documents_roles_newest(request->storage, roles);
	if (status == -ENOENT)
		status = problem(request, 409, "no-roles",
				 "publish a roles document first: bulkhead key roles");
	if (!status)
		status = order_accept(roles, &envelope, device, (uint64_t)*sequence, request->now,
				      &order);
	dsse_release(&envelope);
	if (status == -EKEYREJECTED)
		status = problem(request, 403, "officers-missing",
				 "an order needs the signatures of two officers");
	else if (status == -EXDEV)
		status =
		    problem(request, 422, "bad-order", "the order is made out to another device");
	else if (status == -ESTALE)
		status = problem(request, 409, "old-sequence",
				 "the order's sequence must be above %ld; make it again",
				 (long)*sequence);
	else if (status == -EKEYEXPIRED)
		status = problem(request, 422, "bad-order", "the order has expired; make it again");
	else if (status && status != -ECANCELED)
		status = problem(request, 422, "bad-order", "the order cannot be read");
	if (!status && strcmp(order.kind == ORDER_WIPE ? "wipe" : "release-key", kind))
		status = problem(request, 422, "bad-order",
				 "the order is for something else than %s", kind);
	if (!status)
		*sequence = (int64_t)order.sequence;
out:
	free(roles);
	if (status) {
		free(*text);
		*text = NULL;
	}
	return status;
}

/* Pins the device to the release to go back to, or (0) lets it follow what is assigned to it again. */
static int pin(struct request *request, const char *guest, int64_t release)
{
	const char *device = request->parameters[0];

	return release ? storage_run(request->storage, QUERY_PIN_SET,
				     STORAGE(SV_TEXT(device), SV_TEXT(guest), SV_INT(release)))
		       : storage_run(request->storage, QUERY_PIN_DROP,
				     STORAGE(SV_TEXT(device), SV_TEXT(guest)));
}

/* The release that the device is to run now: what "previous" counts from. */
static int current_release(struct request *request, const json_t *device, const char *guest,
			   int64_t *release)
{
	json_t *rows, *row;
	size_t index;
	int status =
	    storage_rows(request->storage, QUERY_DEVICE_IMAGES,
			 STORAGE(SV_TEXT(request->parameters[0]),
				 SV_TEXT(json_string_value(json_object_get(device, "user"))),
				 SV_TEXT(json_string_value(json_object_get(device, "ring")))),
			 &rows);

	if (status)
		return status;
	*release = 0;
	json_array_foreach(rows, index, row)
	{
		int64_t pinned = json_integer_value(json_object_get(row, "pinned"));

		if (!strcmp(json_string_value(json_object_get(row, "image")), guest))
			*release =
			    pinned ? pinned : json_integer_value(json_object_get(row, "newest"));
	}
	json_decref(rows);
	return *release ? 0
			: problem(request, 409, "not-assigned", "%s is not assigned to this device",
				  guest);
}

static int revert(struct request *request, const json_t *device, const char *guest,
		  int64_t *release)
{
	json_t *row;
	int status;

	if (!*release) {
		int64_t current;

		status = current_release(request, device, guest, &current);
		if (status)
			return status;
		status = storage_row(request->storage, QUERY_VERSION_BELOW,
				     STORAGE(SV_TEXT(guest), SV_INT(current)), &row);
		if (status)
			return status;
		*release = json_integer_value(json_object_get(row, "release"));
		json_decref(row);
		if (!*release)
			return problem(request, 409, "no-previous",
				       "there is no earlier release of %s", guest);
	}
	status = storage_row(request->storage, QUERY_VERSION_GET,
			     STORAGE(SV_TEXT(guest), SV_INT(*release)), &row);
	if (status)
		return status;
	json_decref(row);
	return pin(request, guest, *release);
}

/* A theft report: where policy says so, a wipe that officers signed in advance goes out now. */
static int release_wipes(struct request *request, const json_t *device)
{
	struct policy_effective effective;
	struct policy *policy;
	bool wanted;
	int status = documents_effective(request->storage, request->parameters[0],
					 json_string_value(json_object_get(device, "user")),
					 &policy, &effective);

	if (status)
		return status;
	wanted = effective.values[POLICY_WIPE_ON_THEFT].number;
	policy_free(policy);
	return wanted ? storage_run(request->storage, QUERY_COMMAND_RELEASE,
				    STORAGE(SV_TEXT(request->parameters[0])))
		      : 0;
}

static int side_effects(struct request *request, const struct command_rule *rule,
			const json_t *device, const char *guest, int64_t *release)
{
	int status = 0;

	if (rule->status)
		status =
		    storage_run(request->storage, QUERY_DEVICE_STATUS,
				STORAGE(SV_TEXT(request->parameters[0]), SV_TEXT(rule->status)));
	if (!status && !strcmp(rule->name, "lost"))
		status = release_wipes(request, device);
	if (!status && !strcmp(rule->name, "revert"))
		status =
		    guest ? revert(request, device, guest, release)
			  : problem(request, 422, "bad-field", "revert needs the field \"guest\"");
	if (!status && guest && (!strcmp(rule->name, "update") || !strcmp(rule->name, "remove")))
		status = pin(request, guest, 0);
	/* What was assigned to the device alone ends; what others have too stays. */
	if (!status && guest && !strcmp(rule->name, "remove"))
		status = storage_run(request->storage, QUERY_ASSIGNMENT_DROP,
				     STORAGE(SV_TEXT(guest), SV_TEXT(NULL), SV_TEXT(NULL),
					     SV_TEXT(request->parameters[0])));
	return status;
}

static int admit(struct request *request, const struct command_rule *rule)
{
	if (!rule->helpdesk && !(request->permissions & PERMIT_OPERATE))
		return problem(request, 403, "forbidden", "%s needs the role operator or owner",
			       rule->name);
	if (rule->is_order != (json_object_get(request->body, "order") != NULL))
		return problem(request, 422, "bad-field", "%s",
			       rule->is_order ? "this command needs the officers' order"
					      : "this command takes no order");
	if (!rule->is_order && request_boolean(request, "hold"))
		return problem(request, 422, "bad-field", "only an order can be held");
	return 0;
}

int commands_add(struct request *request)
{
	const char *kind = request_text(request, "kind"), *guest = request_text(request, "guest");
	const struct command_rule *rule = find_rule(kind);
	int64_t sequence, release = request_integer(request, "release", 0);
	bool is_held = request_boolean(request, "hold");
	char *order = NULL;
	json_t *device;
	int status = admit(request, rule);

	if (!status)
		status = storage_row(request->storage, QUERY_DEVICE_GET,
				     STORAGE(SV_TEXT(request->parameters[0])), &device);
	if (status)
		return status;
	sequence = json_integer_value(json_object_get(device, "sequence"));
	if (rule->is_order)
		status = take_order(request, kind, &sequence, &order);
	else
		sequence++;
	if (!status)
		status = side_effects(request, rule, device, guest, &release);
	if (!status)
		status = storage_run(request->storage, QUERY_DEVICE_SEQUENCE,
				     STORAGE(SV_TEXT(request->parameters[0]), SV_INT(sequence)));
	if (!status)
		status =
		    storage_run(request->storage, QUERY_COMMAND_ADD,
				STORAGE(SV_TEXT(request->parameters[0]), SV_INT(sequence),
					SV_TEXT(rule->delivered), SV_TEXT(guest),
					release ? SV_INT(release) : SV_TEXT(NULL),
					SV_INT(request->now), SV_TEXT(is_held ? "held" : "pending"),
					SV_TEXT(order), SV_TEXT(request->account)));
	if (!status)
		status = request_touch(request);
	request_audit(request, request->parameters[0], "%s%s%s%s", kind, guest ? " " : "",
		      guest ? guest : "", is_held ? " (held)" : "");
	free(order);
	json_decref(device);
	return status ? status
		      : reply_json(request, 201,
				   json_pack("{s:I, s:s}", "sequence", (json_int_t)sequence,
					     "state", is_held ? "held" : "pending"));
}

int commands_for_device(struct request *request)
{
	json_t *rows;
	int status = storage_rows(
	    request->storage, QUERY_COMMAND_OPEN,
	    STORAGE(SV_TEXT(request_device(request)), SV_INT(request_after_number(request))),
	    &rows);

	return status ? status : reply_json(request, 200, json_pack("{s:o}", "items", rows));
}

static int state_rank(const char *state)
{
	if (!strcmp(state, "pending"))
		return 0;
	return !strcmp(state, "received") ? 1 : 2;
}

int commands_result(struct request *request)
{
	const char *wanted = request_text(request, "state"), *state;
	int64_t sequence = request_number(request, 0);
	json_t *row;
	int status = storage_row(request->storage, QUERY_COMMAND_GET,
				 STORAGE(SV_TEXT(request_device(request)), SV_INT(sequence)), &row);

	if (status)
		return status;
	state = json_string_value(json_object_get(row, "state"));
	request_audit(request, request_device(request), "%ld %s %s", (long)sequence,
		      json_string_value(json_object_get(row, "kind")), wanted);
	/* Said twice: the first answer was lost on its way. Going back is refused. */
	if (!strcmp(state, wanted) || (!strcmp(wanted, "received") && state_rank(state) == 2))
		status = 0;
	else if (!strcmp(state, "held") || state_rank(state) >= state_rank(wanted))
		status =
		    problem(request, 409, "command-ended", "this command is %s already", state);
	else
		status =
		    storage_run(request->storage, QUERY_COMMAND_RESULT,
				STORAGE(SV_TEXT(request_device(request)), SV_INT(sequence),
					SV_TEXT(wanted), SV_TEXT(request_text(request, "detail")),
					SV_TEXT(request_text(request, "receipt"))));
	json_decref(row);
	return status ? status : reply_empty(request, 204);
}
