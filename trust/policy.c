/* policy.c: see policy.h. Reading validates every layer once; merging cannot fail afterwards. */
#include "trust/policy.h"
#include "trust/document.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct policy {
	json_t *root;
	uint64_t version;
	int64_t expires;
};

enum policy_field policy_field_from_name(const char *name)
{
	int field = 0;

	while (field < POLICY_FIELD_COUNT && strcmp(policy_field_rules[field].name, name))
		field++;
	return (enum policy_field)field;
}

static int word_index(const struct policy_field_rule *rule, const char *word)
{
	for (int i = 0; word && rule->words[i]; i++)
		if (!strcmp(rule->words[i], word))
			return i;
	return -1;
}

/* Reads one value by its field's rule. Returns false if it may not stand there. */
static bool value_read(const struct policy_field_rule *rule, const json_t *value, int64_t *number)
{
	json_t *word;
	size_t index;

	*number = 0;
	switch (rule->kind) {
	case POLICY_BOOLEAN:
		*number = json_is_true(value);
		return json_is_boolean(value);
	case POLICY_NUMBER:
		*number = json_integer_value(value);
		return json_is_integer(value) && *number >= rule->least && *number <= rule->most;
	case POLICY_CHOICE:
		*number = word_index(rule, json_string_value(value));
		return *number >= 0;
	case POLICY_SET:
		if (!json_is_array(value))
			return false;
		json_array_foreach(value, index, word)
		{
			int bit = word_index(rule, json_string_value(word));

			if (bit < 0)
				return false;
			*number |= (int64_t)1 << bit;
		}
		return true;
	case POLICY_TEXT:
		return json_is_string(value) && json_string_length(value) <= (size_t)rule->most;
	}
	return false;
}

static void describe(const struct policy_field_rule *rule, char *out, size_t out_bytes)
{
	int used = 0;

	switch (rule->kind) {
	case POLICY_BOOLEAN:
		snprintf(out, out_bytes, "true or false");
		return;
	case POLICY_NUMBER:
		snprintf(out, out_bytes, "%lld to %lld", (long long)rule->least,
			 (long long)rule->most);
		return;
	case POLICY_TEXT:
		snprintf(out, out_bytes, "a text of at most %lld bytes", (long long)rule->most);
		return;
	case POLICY_CHOICE:
	case POLICY_SET:
		used = snprintf(out, out_bytes, rule->kind == POLICY_SET ? "a list of" : "one of");
		for (int i = 0; rule->words[i] && (size_t)used < out_bytes; i++)
			used += snprintf(out + used, out_bytes - (size_t)used, "%s %s",
					 i ? "," : "", rule->words[i]);
		return;
	}
}

struct checker {
	char *problem;
	size_t problem_bytes;
};

static int check_layer(const struct checker *checker, const char *kind, const char *name,
		       const json_t *layer)
{
	const char *field_name;
	char allowed[256];
	json_t *value;
	int64_t number;

	if (!json_is_object(layer)) {
		snprintf(checker->problem, checker->problem_bytes, "%s \"%s\" must be an object",
			 kind, name);
		return -EBADMSG;
	}
	json_object_foreach((json_t *)layer, field_name, value)
	{
		enum policy_field field = policy_field_from_name(field_name);

		if (field == POLICY_FIELD_COUNT) {
			snprintf(checker->problem, checker->problem_bytes,
				 "%s \"%s\": no field \"%.64s\"", kind, name, field_name);
			return -EBADMSG;
		}
		if (!value_read(&policy_field_rules[field], value, &number)) {
			describe(&policy_field_rules[field], allowed, sizeof(allowed));
			snprintf(checker->problem, checker->problem_bytes,
				 "%s \"%s\": %s must be %s", kind, name, field_name, allowed);
			return -EBADMSG;
		}
	}
	return 0;
}

/* Checks a table name -> layer (users, devices) or name -> {rank, fields} (groups). */
static int check_table(const struct checker *checker, const char *kind, const json_t *table,
		       bool ranked)
{
	static const char *const group_fields[] = {"rank", "fields", NULL};
	const char *name;
	json_t *entry;
	int64_t rank;
	int status;

	if (!json_is_object(table) || json_object_size(table) > POLICY_LAYERS_MAX) {
		snprintf(checker->problem, checker->problem_bytes,
			 "%ss must be an object of at most %d", kind, POLICY_LAYERS_MAX);
		return -EBADMSG;
	}
	json_object_foreach((json_t *)table, name, entry)
	{
		if (!strict_json_is_name(name)) {
			snprintf(checker->problem, checker->problem_bytes, "%s: bad name \"%.64s\"",
				 kind, name);
			return -EBADMSG;
		}
		if (ranked && (!strict_json_only_keys(entry, group_fields) ||
			       strict_json_integer(entry, "rank", 0, 1000000, &rank))) {
			snprintf(checker->problem, checker->problem_bytes,
				 "group \"%s\" must be {\"rank\": 0 to 1000000, \"fields\": {...}}",
				 name);
			return -EBADMSG;
		}
		status = check_layer(checker, kind, name,
				     ranked ? json_object_get(entry, "fields") : entry);
		if (status)
			return status;
	}
	return 0;
}

int policy_check(const void *payload, size_t payload_bytes, struct policy **policy, char *problem,
		 size_t problem_bytes)
{
	static const char *const fields[] = {"type",   "version", "expires", "default",
					     "groups", "users",	  "devices", NULL};
	struct checker checker = {problem, problem_bytes};
	struct policy *made;
	int64_t version;
	int status;

	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	snprintf(problem, problem_bytes,
		 "not a policy document: it needs type \"policy\", version, expires, "
		 "default, groups, users, devices and nothing else");
	status = document_open(payload, payload_bytes, "policy", fields, &made->root);
	if (status)
		goto fail;
	if (strict_json_integer(made->root, "version", 1, INT64_MAX, &version) ||
	    strict_json_integer(made->root, "expires", 0, INT64_MAX, &made->expires)) {
		status = -EBADMSG;
		goto fail;
	}
	made->version = (uint64_t)version;
	status = check_layer(&checker, "layer", "default", json_object_get(made->root, "default"));
	if (!status)
		status =
		    check_table(&checker, "group", json_object_get(made->root, "groups"), true);
	if (!status)
		status = check_table(&checker, "user", json_object_get(made->root, "users"), false);
	if (!status)
		status =
		    check_table(&checker, "device", json_object_get(made->root, "devices"), false);
	if (status)
		goto fail;
	*problem = 0;
	*policy = made;
	return 0;
fail:
	policy_free(made);
	return status;
}

int policy_read(const void *payload, size_t payload_bytes, struct policy **policy)
{
	char problem[256];

	return policy_check(payload, payload_bytes, policy, problem, sizeof(problem));
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	json_decref(policy->root);
	free(policy);
}

uint64_t policy_version(const struct policy *policy)
{
	return policy->version;
}

int64_t policy_expires(const struct policy *policy)
{
	return policy->expires;
}

/* What @layer makes of a field that has @held already. True if the layer decides. */
static bool layer_decides(const struct policy_field_rule *rule, int64_t *held, int64_t offered)
{
	int64_t merged = offered;

	switch (rule->merge) {
	case POLICY_UPPERMOST:
		break;
	case POLICY_LEAST:
		merged = offered < *held ? offered : *held;
		break;
	case POLICY_MOST:
		merged = offered > *held ? offered : *held;
		break;
	case POLICY_COMMON:
		merged = offered & *held;
		break;
	}
	if (rule->merge != POLICY_UPPERMOST && merged == *held)
		return false;
	*held = merged;
	return true;
}

static void merge_layer(struct policy_effective *effective, bool *named, const json_t *layer,
			const char *kind, const char *name)
{
	const char *field_name;
	json_t *offered;
	int64_t number;

	json_object_foreach((json_t *)layer, field_name, offered)
	{
		enum policy_field field = policy_field_from_name(field_name);
		const struct policy_field_rule *rule = &policy_field_rules[field];
		struct policy_value *value = &effective->values[field];

		if (!value_read(rule, offered, &number))
			continue;
		if (!named[field])
			value->number = number;
		else if (!layer_decides(rule, &value->number, number))
			continue;
		named[field] = true;
		if (rule->kind == POLICY_TEXT)
			value->text = json_string_value(offered);
		snprintf(value->source, sizeof(value->source), "%s%s%s", kind, name ? " " : "",
			 name ? name : "");
	}
}

struct ranked_group {
	const char *name;
	const json_t *layer;
	int64_t rank;
};

static int compare_groups(const void *a, const void *b)
{
	const struct ranked_group *left = a, *right = b;

	if (left->rank != right->rank)
		return left->rank < right->rank ? -1 : 1;
	return strcmp(left->name, right->name);
}

/* Merges groups upwards. At most 64 of them count: a device's state carries no more. */
static void merge_groups(struct policy_effective *effective, bool *named, const json_t *table,
			 const struct policy_subject *subject)
{
	struct ranked_group found[64];
	size_t count = 0;

	for (size_t i = 0; i < subject->group_count && count < 64; i++) {
		const json_t *entry = json_object_get(table, subject->groups[i]);

		if (entry)
			found[count++] = (struct ranked_group){
			    subject->groups[i], json_object_get(entry, "fields"),
			    json_integer_value(json_object_get(entry, "rank"))};
	}
	qsort(found, count, sizeof(found[0]), compare_groups);
	for (size_t i = 0; i < count; i++)
		merge_layer(effective, named, found[i].layer, "group", found[i].name);
}

void policy_merge(const struct policy *policy, const struct policy_subject *subject,
		  struct policy_effective *effective)
{
	bool named[POLICY_FIELD_COUNT] = {false};

	memset(effective, 0, sizeof(*effective));
	for (int field = 0; field < POLICY_FIELD_COUNT; field++) {
		effective->values[field].number = policy_field_rules[field].initial;
		effective->values[field].text = "";
		snprintf(effective->values[field].source, POLICY_SOURCE_MAX, "built-in");
	}
	if (!policy)
		return;
	merge_layer(effective, named, json_object_get(policy->root, "default"), "default", NULL);
	merge_groups(effective, named, json_object_get(policy->root, "groups"), subject);
	if (subject->user)
		merge_layer(effective, named,
			    json_object_get(json_object_get(policy->root, "users"), subject->user),
			    "user", subject->user);
	merge_layer(effective, named,
		    json_object_get(json_object_get(policy->root, "devices"), subject->device),
		    "device", subject->device);
}

static json_t *value_view(const struct policy_field_rule *rule, const struct policy_value *value)
{
	json_t *list;

	switch (rule->kind) {
	case POLICY_BOOLEAN:
		return json_boolean(value->number);
	case POLICY_NUMBER:
		return json_integer(value->number);
	case POLICY_CHOICE:
		return json_string(rule->words[value->number]);
	case POLICY_TEXT:
		return json_string(value->text);
	case POLICY_SET:
		list = json_array();
		for (int i = 0; rule->words[i]; i++)
			if (value->number & (int64_t)1 << i)
				json_array_append_new(list, json_string(rule->words[i]));
		return list;
	}
	return NULL;
}

json_t *policy_view(const struct policy_effective *effective)
{
	json_t *view = json_object();

	for (int field = 0; field < POLICY_FIELD_COUNT; field++) {
		const struct policy_field_rule *rule = &policy_field_rules[field];
		const struct policy_value *value = &effective->values[field];

		if (json_object_set_new(view, rule->name,
					json_pack("{s:o, s:s, s:s}", "value",
						  value_view(rule, value), "from", value->source,
						  "enforced_by",
						  policy_enforcer((enum policy_field)field)))) {
			json_decref(view);
			return NULL;
		}
	}
	return view;
}

bool policy_allows(const struct policy_effective *effective, enum policy_field field,
		   const char *word)
{
	int bit = word_index(&policy_field_rules[field], word);

	return bit >= 0 && (effective->values[field].number & (int64_t)1 << bit);
}
