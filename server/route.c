/* route.c: finding a call in the table and holding its body against the row. */
#include "server/route.h"
#include "trust/strict_json.h"

#include <stdio.h>
#include <string.h>

static const struct role_row {
	const char *name;
	int permissions;
} role_rows[] = {
    {"owner", 0xff},
    {"author", PERMIT_SELF | PERMIT_READ | PERMIT_AUTHOR},
    {"operator", PERMIT_SELF | PERMIT_READ | PERMIT_HELP | PERMIT_OPERATE | PERMIT_RECOVER},
    {"helpdesk", PERMIT_SELF | PERMIT_READ | PERMIT_HELP},
    {"auditor", PERMIT_SELF | PERMIT_READ | PERMIT_AUDIT},
};

const char *const route_role_names[] = {"owner", "author", "operator", "helpdesk", "auditor", NULL};

int route_permissions(const char *role)
{
	for (size_t i = 0; i < sizeof(role_rows) / sizeof(role_rows[0]); i++)
		if (!strcmp(role_rows[i].name, role))
			return role_rows[i].permissions;
	return 0;
}

/* Parts that could climb out of a directory, or hide in a log, match nothing. */
static bool part_is_clean(const char *part, size_t length)
{
	if (!length || length >= 80 || part[0] == '.')
		return false;
	for (size_t i = 0; i < length; i++)
		if (part[i] <= ' ' || part[i] >= 0x7f || strchr("/\\%\"", part[i]))
			return false;
	return true;
}

static bool path_matches(const char *pattern, const char *path, char (*parameters)[80],
			 size_t *parameter_count)
{
	size_t count = 0;

	while (*pattern) {
		if (*pattern == '{') {
			size_t length = strcspn(path, "/");

			if (!part_is_clean(path, length))
				return false;
			memcpy(parameters[count], path, length);
			parameters[count++][length] = 0;
			path += length;
			pattern += strcspn(pattern, "}") + 1;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	*parameter_count = count;
	return !*path;
}

/* A pattern without parameters wins over one with: /enrol/{enrolment} beside /enrol. */
const struct route *route_find(const char *method, const char *path, char (*parameters)[80],
			       size_t *parameter_count, bool *other_method)
{
	*other_method = false;
	for (size_t i = 0; i < route_count; i++) {
		if (!path_matches(route_table[i].path, path, parameters, parameter_count))
			continue;
		if (!strcmp(route_table[i].method, method))
			return &route_table[i];
		*other_method = true;
	}
	return NULL;
}

static bool text_fits(const struct field *field, const json_t *value)
{
	const char *text = json_string_value(value);

	if (!text || json_string_length(value) > (size_t)field->most)
		return false;
	if (!field->words)
		return true;
	for (size_t i = 0; field->words[i]; i++)
		if (!strcmp(field->words[i], text))
			return true;
	return false;
}

static bool list_fits(const struct field *field, const json_t *value)
{
	json_t *entry;
	size_t index;

	if (!json_is_array(value) || json_array_size(value) > (size_t)field->most)
		return false;
	json_array_foreach(value, index, entry) if (field->kind == FIELD_TEXTS
							? !json_is_string(entry)
							: !json_is_object(entry)) return false;
	return true;
}

static bool value_fits(const struct field *field, const json_t *value)
{
	switch (field->kind) {
	case FIELD_NAME:
		return json_is_string(value) && strict_json_is_name(json_string_value(value));
	case FIELD_TEXT:
		return text_fits(field, value);
	case FIELD_INTEGER:
		return json_is_integer(value) && json_integer_value(value) >= 0 &&
		       json_integer_value(value) <= field->most;
	case FIELD_BOOLEAN:
		return json_is_boolean(value);
	case FIELD_OBJECT:
		return json_is_object(value);
	case FIELD_TEXTS:
	case FIELD_OBJECTS:
		return list_fits(field, value);
	}
	return false;
}

static void describe(const struct field *field, char *wrong, size_t wrong_bytes)
{
	static const char *const kinds[] = {
	    [FIELD_NAME] = "a name: 1 to 64 of a-z 0-9 . _ @ -, beginning with a letter or digit",
	    [FIELD_TEXT] = "a text",
	    [FIELD_INTEGER] = "a whole number",
	    [FIELD_BOOLEAN] = "true or false",
	    [FIELD_OBJECT] = "an object",
	    [FIELD_TEXTS] = "a list of texts",
	    [FIELD_OBJECTS] = "a list of objects"};
	int used;

	if (field->words) {
		used = snprintf(wrong, wrong_bytes, "%s must be one of", field->name);
		for (size_t i = 0; field->words[i] && used < (int)wrong_bytes; i++)
			used += snprintf(wrong + used, wrong_bytes - (size_t)used, "%s %s",
					 i ? "," : "", field->words[i]);
	} else if (field->kind == FIELD_NAME || field->kind == FIELD_BOOLEAN ||
		   field->kind == FIELD_OBJECT) {
		snprintf(wrong, wrong_bytes, "%s must be %s", field->name, kinds[field->kind]);
	} else {
		snprintf(wrong, wrong_bytes, "%s must be %s, at most %lld", field->name,
			 kinds[field->kind], field->most);
	}
}

bool route_body_fits(const struct field *fields, const json_t *body, char *wrong,
		     size_t wrong_bytes)
{
	const struct field *field;
	const char *key;
	json_t *value;

	if (!json_is_object(body)) {
		snprintf(wrong, wrong_bytes, "the body must be a JSON object");
		return false;
	}
	json_object_foreach((json_t *)body, key, value)
	{
		for (field = fields; field->name && strcmp(field->name, key); field++)
			;
		if (!field->name) {
			snprintf(wrong, wrong_bytes, "there is no field \"%.60s\" here", key);
			return false;
		}
		if (!value_fits(field, value)) {
			describe(field, wrong, wrong_bytes);
			return false;
		}
	}
	for (field = fields; field->name; field++)
		if (field->required && !json_object_get(body, field->name)) {
			snprintf(wrong, wrong_bytes, "the field \"%s\" is missing", field->name);
			return false;
		}
	return true;
}
