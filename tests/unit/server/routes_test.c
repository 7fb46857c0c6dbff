/* routes_test.c: openapi.json says what the route table says, and the small parsers of the server.
 */
#include "server/csv.h"
#include "server/http_reply.h"
#include "server/limits.h"
#include "server/openapi.h"
#include "server/route.h"
#include "unit.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *description(void)
{
	json_t *root = json_loadb((const char *)openapi_json, openapi_json_bytes,
				  JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(root);
	return root;
}

static const json_t *operation(const json_t *root, const struct route *route)
{
	char method[8];
	size_t i = 0;

	for (; route->method[i]; i++)
		method[i] = (char)(route->method[i] | 0x20);
	method[i] = 0;
	return json_object_get(json_object_get(json_object_get(root, "paths"), route->path),
			       method);
}

static void every_call_is_described_and_every_description_is_a_call(void **state)
{
	json_t *root = description(), *methods;
	const char *path;
	size_t described = 0;

	json_object_foreach(json_object_get(root, "paths"), path, methods) described +=
	    json_object_size(methods);
	assert_int_equal(described, route_count);
	for (size_t i = 0; i < route_count; i++) {
		const json_t *found = operation(root, &route_table[i]);

		if (!found)
			fail_msg("%s %s is not described", route_table[i].method,
				 route_table[i].path);
		assert_string_equal(json_string_value(json_object_get(found, "operationId")),
				    route_table[i].operation);
	}
	json_decref(root);
}

static void who_may_call_is_described(void **state)
{
	static const struct {
		enum permission permission;
		const char *name;
	} names[] = {{PERMIT_SELF, "self"},	{PERMIT_READ, "read"},
		     {PERMIT_HELP, "help"},	{PERMIT_OPERATE, "operate"},
		     {PERMIT_AUTHOR, "author"}, {PERMIT_ACCOUNTS, "accounts"},
		     {PERMIT_AUDIT, "audit"},	{PERMIT_RECOVER, "recover"}};
	json_t *root = description();

	for (size_t i = 0; i < route_count; i++) {
		const json_t *security =
		    json_object_get(operation(root, &route_table[i]), "security");
		const char *permission = json_string_value(
		    json_object_get(operation(root, &route_table[i]), "x-bulkhead-permission"));

		if (route_table[i].caller == CALLER_OPEN) {
			assert_int_equal(json_array_size(security), 0);
			continue;
		}
		assert_non_null(
		    json_object_get(json_array_get(security, 0),
				    route_table[i].caller == CALLER_DEVICE ? "device" : "bearer"));
		for (size_t n = 0; route_table[i].caller == CALLER_PERSON && n < 8; n++)
			if (names[n].permission == route_table[i].permission)
				assert_string_equal(permission, names[n].name);
	}
	json_decref(root);
}

static void compare_field(const struct route *route, const struct field *field,
			  const json_t *schema)
{
	static const char *const types[] = {
	    [FIELD_NAME] = "string",	 [FIELD_TEXT] = "string",   [FIELD_INTEGER] = "integer",
	    [FIELD_BOOLEAN] = "boolean", [FIELD_OBJECT] = "object", [FIELD_TEXTS] = "array",
	    [FIELD_OBJECTS] = "array"};
	const json_t *property =
	    json_object_get(json_object_get(schema, "properties"), field->name);
	const json_t *required = json_object_get(schema, "required"),
		     *words = json_object_get(property, "enum");
	bool is_required = false;
	json_t *name;
	size_t index, count = 0;

	if (!property ||
	    strcmp(json_string_value(json_object_get(property, "type")), types[field->kind]))
		fail_msg("%s: field %s is described otherwise", route->operation, field->name);
	json_array_foreach(required, index, name) is_required |=
	    !strcmp(json_string_value(name), field->name);
	if (is_required != field->required)
		fail_msg("%s: field %s: required or not?", route->operation, field->name);
	while (field->words && field->words[count]) {
		const char *word = json_string_value(json_array_get(words, count));

		if (!word || strcmp(word, field->words[count]))
			fail_msg("%s: field %s: other words", route->operation, field->name);
		count++;
	}
	assert_int_equal(json_array_size(words), count);
}

static void bodies_are_described_field_by_field(void **state)
{
	json_t *root = description();

	for (size_t i = 0; i < route_count; i++) {
		const struct route *route = &route_table[i];
		const json_t *content = json_object_get(
		    json_object_get(operation(root, route), "requestBody"), "content");
		const json_t *schema =
		    json_object_get(json_object_get(content, "application/json"), "schema");
		size_t count = 0;

		if (route->body == BODY_NONE) {
			if (content)
				fail_msg("%s: described with a body", route->operation);
			continue;
		}
		if (!content)
			fail_msg("%s: described without its body", route->operation);
		if (route->body != BODY_JSON)
			continue;
		for (; route->fields[count].name; count++)
			compare_field(route, &route->fields[count], schema);
		assert_int_equal(json_object_size(json_object_get(schema, "properties")), count);
	}
	json_decref(root);
}

static void no_path_climbs_out(void **state)
{
	char parameters[4][80];
	bool other;
	size_t count;

	assert_non_null(route_find("GET", "/packs/abc", parameters, &count, &other));
	assert_string_equal(parameters[0], "abc");
	assert_null(route_find("GET", "/packs/..", parameters, &count, &other));
	assert_null(route_find("GET", "/packs/", parameters, &count, &other));
	assert_null(route_find("GET", "/packs/a/b", parameters, &count, &other));
	assert_null(route_find("GET", "/packs/a%2fb", parameters, &count, &other));
	assert_null(route_find("GET", "/packs/a\\b", parameters, &count, &other));
	assert_null(route_find("GET", "/packs/a\nb", parameters, &count, &other));
	assert_false(other);
	assert_null(route_find("POST", "/packs/abc", parameters, &count, &other));
	assert_true(other);
}

static void unknown_roles_may_nothing_and_owners_everything(void **state)
{
	assert_int_equal(route_permissions("king"), 0);
	assert_int_equal(route_permissions("owner"), 0xff);
	assert_false(route_permissions("helpdesk") & PERMIT_OPERATE);
	assert_false(route_permissions("auditor") & (PERMIT_HELP | PERMIT_RECOVER));
	assert_false(route_permissions("operator") & (PERMIT_ACCOUNTS | PERMIT_AUTHOR));
	for (size_t i = 0; route_role_names[i]; i++)
		assert_true(route_permissions(route_role_names[i]) & PERMIT_SELF);
}

static void ranges_follow_the_standard(void **state)
{
	static const struct {
		const char *header;
		int result;
		uint64_t first, count;
	} cases[] = {{NULL, 0, 0, 0},
		     {"bytes=0-0", 1, 0, 1},
		     {"bytes=10-", 1, 10, 90},
		     {"bytes=-5", 1, 95, 5},
		     {"bytes=-500", 1, 0, 100},
		     {"bytes=90-500", 1, 90, 10},
		     {"bytes=100-", -ERANGE, 0, 0},
		     {"bytes=-0", -ERANGE, 0, 0},
		     {"bytes=5-4", 0, 0, 0},
		     {"bytes=0-1,3-4", 0, 0, 0},
		     {"bytes=", 0, 0, 0},
		     {"bytes=-", 0, 0, 0},
		     {"pages=1-2", 0, 0, 0},
		     {"bytes=1-2-3", 0, 0, 0},
		     {"bytes=a-b", 0, 0, 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t first = 0, count = 0;

		assert_int_equal(http_reply_range(cases[i].header, 100, &first, &count),
				 cases[i].result);
		if (cases[i].result == 1) {
			assert_int_equal(first, cases[i].first);
			assert_int_equal(count, cases[i].count);
		}
	}
	assert_true(http_reply_matches("\"a\", W/\"b\"", "\"b\""));
	assert_true(http_reply_matches("*", "\"b\""));
	assert_false(http_reply_matches("\"bb\"", "\"b\""));
	assert_false(http_reply_matches(NULL, "\"b\""));
}

static void comma_separated_values_are_read_as_the_standard_says(void **state)
{
	char text[] = "a,\"b \"\"q\"\", c\",\r\n\n\"line\nbreak\",x";
	struct csv_line line = {.rest = text};
	char open_quote[] = "\"a", garbage[] = "\"a\"b",
	     many[] = "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17";

	assert_int_equal(csv_next(&line), 1);
	assert_int_equal(line.count, 3);
	assert_string_equal(line.fields[0], "a");
	assert_string_equal(line.fields[1], "b \"q\", c");
	assert_string_equal(line.fields[2], "");
	assert_int_equal(csv_next(&line), 1);
	assert_string_equal(line.fields[0], "line\nbreak");
	assert_string_equal(line.fields[1], "x");
	assert_int_equal(csv_next(&line), 0);
	line = (struct csv_line){.rest = open_quote};
	assert_int_equal(csv_next(&line), -EBADMSG);
	line = (struct csv_line){.rest = garbage};
	assert_int_equal(csv_next(&line), -EBADMSG);
	line = (struct csv_line){.rest = many};
	assert_int_equal(csv_next(&line), -EBADMSG);
}

static void a_bucket_empties_and_fills_again(void **state)
{
	struct limits *limits = limits_new(30);
	int taken = 0;

	while (taken < 100 && limits_take(limits, LIMIT_OPEN, "10.0.0.1", 1000))
		taken++;
	assert_int_equal(taken, 30);
	assert_true(limits_take(limits, LIMIT_OPEN, "10.0.0.2", 1000));
	assert_false(limits_take(limits, LIMIT_OPEN, "10.0.0.1", 1001));
	assert_true(limits_take(limits, LIMIT_OPEN, "10.0.0.1", 1002));
	assert_false(limits_take(limits, LIMIT_OPEN, "10.0.0.1", 1002));
	limits_free(limits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_call_is_described_and_every_description_is_a_call),
	    cmocka_unit_test(who_may_call_is_described),
	    cmocka_unit_test(bodies_are_described_field_by_field),
	    cmocka_unit_test(no_path_climbs_out),
	    cmocka_unit_test(unknown_roles_may_nothing_and_owners_everything),
	    cmocka_unit_test(ranges_follow_the_standard),
	    cmocka_unit_test(comma_separated_values_are_read_as_the_standard_says),
	    cmocka_unit_test(a_bucket_empties_and_fills_again),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
