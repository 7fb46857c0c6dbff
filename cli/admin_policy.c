/* admin_policy.c: `bulkhead policy ...`: show, change, try, sign. */
#include "admin.h"
#include "documents.h"
#include "officer.h"
#include "policy_table.h"
#include "settings.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIFE_SECONDS (365LL * 86400)

/* The policy in force, verified, as JSON; an empty one if there is none. */
static int fetch(struct remote *remote, json_t **document)
{
	struct dsse_envelope envelope;
	struct policy *policy;
	struct memory *memory;
	json_t *reply;
	char *text;
	int status = remote_trust(remote, &memory);

	if (!status)
		status = remote_look(remote, "/api/v1/policy", &reply);
	if (status)
		return status;
	if (!reply) {
		*document = json_pack("{s:s, s:i, s:I, s:{}, s:{}, s:{}, s:{}}", "type", "policy",
				      "version", 0, "expires", (json_int_t)0, "default", "groups",
				      "users", "devices");
		return CLI_OK;
	}
	text = strict_json_write(reply);
	json_decref(reply);
	status = text ? dsse_parse(text, strlen(text), &envelope) : -ENOMEM;
	free(text);
	if (!status) {
		status = memory_accept_policy(memory, &envelope, &policy);
		if (!status) {
			policy_free(policy);
			status = strict_json_parse((char *)envelope.payload, envelope.payload_bytes,
						   STRICT_JSON_BYTES_MAX, document);
		}
		dsse_release(&envelope);
	}
	if (status)
		return remote_fail(remote,
				   "the policy that the server shows must not be believed: %s",
				   memory_reason(status));
	return remote_trust_save(remote);
}

static int show_run(const struct cli_context *context)
{
	struct remote *remote;
	json_t *document;
	int status = remote_open(context, &remote);

	if (status)
		return status;
	status = fetch(remote, &document);
	if (!status) {
		output_json(document);
		json_decref(document);
	}
	remote_close(remote);
	return status;
}

static int publish(struct remote *remote, const struct cli_context *context, json_t *document)
{
	char *payload, *text = NULL, problem[256];
	struct policy *policy;
	int status;

	json_object_set_new(
	    document, "version",
	    json_integer(json_integer_value(json_object_get(document, "version")) + 1));
	json_object_set_new(document, "expires",
			    json_integer((json_int_t)time(NULL) + LIFE_SECONDS));
	payload = strict_json_write(document);
	if (!payload)
		return remote_fail(remote, "out of memory");
	if (policy_check(payload, strlen(payload), &policy, problem, sizeof(problem))) {
		free(payload);
		return remote_fail(remote, "%s", problem);
	}
	policy_free(policy);
	status = officer_sign(context, "key", DSSE_TYPE_POLICY, payload, &text);
	if (!status)
		status = documents_put(remote, "/api/v1/policy", text);
	free(text);
	if (!status)
		printf("policy %lld is in force; devices take it at their next contact\n",
		       json_integer_value(json_object_get(document, "version")));
	return status;
}

/* The layer that the options name; made if it does not exist. */
static json_t *layer_of(const struct cli_context *context, json_t *document)
{
	static const struct {
		const char *option, *table;
	} tables[] = {{"group", "groups"}, {"user", "users"}, {"device", "devices"}};

	for (size_t i = 0; i < 3; i++) {
		const char *name = cli_value(context, tables[i].option);
		json_t *table = json_object_get(document, tables[i].table), *entry;

		if (!name)
			continue;
		entry = json_object_get(table, name);
		if (!entry) {
			entry = i ? json_object() : json_pack("{s:i, s:{}}", "rank", 0, "fields");
			json_object_set_new(table, name, entry);
		}
		if (!i && cli_value(context, "rank"))
			json_object_set_new(entry, "rank",
					    json_integer(atoll(cli_value(context, "rank"))));
		return i ? entry : json_object_get(entry, "fields");
	}
	return json_object_get(document, "default");
}

/* A value as a person types it: JSON if the field wants that, words with commas for sets. */
static json_t *read_value(enum policy_field field, const char *text)
{
	const struct policy_field_rule *rule = &policy_field_rules[field];
	char *copy, *word, *rest = NULL;
	json_t *list;

	switch (rule->kind) {
	case POLICY_BOOLEAN:
		return !strcmp(text, "true")	? json_true()
		       : !strcmp(text, "false") ? json_false()
						: json_null();
	case POLICY_NUMBER:
		return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 18
			   ? json_integer(atoll(text))
			   : json_null();
	case POLICY_SET:
		list = json_array();
		copy = strdup(text);
		for (word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
			if (strcmp(word, "none"))
				json_array_append_new(list, json_string(word));
		free(copy);
		return list;
	default:
		return json_string(text);
	}
}

static int set_run(const struct cli_context *context)
{
	enum policy_field field = policy_field_from_name(cli_argument(context, 0));
	struct remote *remote;
	json_t *document, *layer;
	int status;

	if (field == POLICY_FIELD_COUNT)
		return cli_usage(context, "%s: no such field; bulkhead policy fields",
				 cli_argument(context, 0));
	if (!!cli_value(context, "group") + !!cli_value(context, "user") +
		!!cli_value(context, "device") >
	    1)
		return cli_usage(context, "name at most one of --group, --user and --device");
	status = remote_open(context, &remote);
	if (status)
		return status;
	status = fetch(remote, &document);
	if (!status) {
		layer = layer_of(context, document);
		if (cli_argument(context, 1))
			json_object_set_new(layer, cli_argument(context, 0),
					    read_value(field, cli_argument(context, 1)));
		else
			json_object_del(layer, cli_argument(context, 0));
		status = publish(remote, context, document);
		json_decref(document);
	}
	if (!status && cli_argument(context, 1) && !policy_field_rules[field].enforced_by)
		fprintf(stderr, "%s is signed and merged, but %s\n", cli_argument(context, 0),
			policy_enforcer(field));
	remote_close(remote);
	return status;
}

static int read_file(const struct cli_context *context, const char *file, json_t **document)
{
	size_t text_bytes;
	char *text;
	int status = settings_read(file, STRICT_JSON_BYTES_MAX, &text, &text_bytes);

	if (status)
		return cli_fail(context, "%s: %s", file, strerror(-status));
	status = strict_json_parse(text, text_bytes, STRICT_JSON_BYTES_MAX, document);
	free(text);
	return status ? cli_fail(context, "%s: not JSON", file) : CLI_OK;
}

static int publish_run(const struct cli_context *context)
{
	json_t *document, *current;
	struct remote *remote;
	int status = read_file(context, cli_argument(context, 0), &document);

	if (status)
		return status;
	status = remote_open(context, &remote);
	if (!status) {
		status = fetch(remote, &current);
		if (!status) {
			json_object_set(document, "version", json_object_get(current, "version"));
			status = publish(remote, context, document);
			json_decref(current);
		}
		remote_close(remote);
	}
	json_decref(document);
	return status;
}

static int effective_run(const struct cli_context *context)
{
	json_t *view = NULL, *document = NULL, *body;
	struct remote *remote;
	char id[65], path[256];
	int status = cli_value(context, "try")
			 ? read_file(context, cli_value(context, "try"), &document)
			 : CLI_OK;

	if (status)
		return status;
	status = remote_open(context, &remote);
	if (!status)
		status = admin_device(remote, cli_argument(context, 0), id, NULL);
	if (!status && document) {
		body = json_pack("{s:O, s:s}", "policy", document, "device", id);
		status = remote_call(remote, "POST", "/api/v1/policy/try", body, &view);
		json_decref(body);
	} else if (!status) {
		snprintf(path, sizeof(path), "/api/v1/devices/%s/policy", id);
		status = remote_call(remote, "GET", path, NULL, &view);
	}
	if (!status) {
		if (cli_switch(context, "json"))
			output_json(view);
		else
			policy_table_print(view, false);
	}
	json_decref(view);
	json_decref(document);
	remote_close(remote);
	return status;
}

static int fields_run(const struct cli_context *context)
{
	static const struct output_column columns[] = {{"field", "FIELD", OUTPUT_TEXT},
						       {"merge", "MERGE", OUTPUT_TEXT},
						       {"enforced_by", "ENFORCED BY", OUTPUT_TEXT},
						       {"help", "MEANS", OUTPUT_TEXT}};
	json_t *rows = json_array();

	for (int field = 0; field < POLICY_FIELD_COUNT; field++)
		json_array_append_new(rows,
				      json_pack("{s:s, s:s, s:s, s:s}", "field",
						policy_field_rules[field].name, "merge",
						policy_field_rules[field].merge == POLICY_UPPERMOST
						    ? "nearest wins"
						    : "strictest",
						"enforced_by",
						policy_enforcer((enum policy_field)field),
						"help", policy_field_rules[field].help));
	output_rows(rows, cli_switch(context, "json"), OUTPUT_COLUMNS(columns), "");
	return CLI_OK;
}

static const struct cli_option json_options[] = {ADMIN_JSON, {0}};
static const struct cli_option set_options[] = {
    {"group", "GROUP", "for a group", 'g', false},
    {"rank", "N", "rank of the group: a higher one wins over a lower", 0, false},
    {"user", "USER", "for a user", 'u', false},
    {"device", "DEVICE", "for one device (its id)", 'd', false},
    {"key", "FILE", "key file of the role policy; repeat for several", 'k', true},
    OFFICER_PASSPHRASE,
    {0},
};
static const struct cli_option publish_options[] = {
    {"key", "FILE", "key file of the role policy; repeat for several", 'k', true},
    OFFICER_PASSPHRASE,
    {0},
};
static const struct cli_option effective_options[] = {
    {"try", "FILE", "as if the policy in FILE were in force", 0, false},
    ADMIN_JSON,
    {0},
};

const struct cli_command admin_policy_commands[] = {
    {"policy show", "", "print the policy in force", NULL, NULL, NULL, 0, 0, show_run},
    {"policy fields", "", "list what policy can say", NULL, NULL, json_options, 0, 0, fields_run},
    {"policy set", "FIELD [VALUE]",
     "change one field, sign and publish; without VALUE: take it out",
     "Sets are words with commas between (none = empty). Without --group, --user or --device the "
     "field is set for "
     "everybody.",
     "bulkhead policy set lease_days 14 --group sales --key policy.key", set_options, 1, 2,
     set_run},
    {"policy publish", "FILE", "sign and publish a whole policy document", NULL, NULL,
     publish_options, 1, 1, publish_run},
    {"policy effective", "DEVICE", "show what holds for a device, and which layer decided", NULL,
     NULL, effective_options, 1, 1, effective_run},
    {0},
};
