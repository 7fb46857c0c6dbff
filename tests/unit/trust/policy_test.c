/* policy_test.c: reading and merging policy. */
#include "trust/policy.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "{\"type\":\"policy\",\"version\":3,\"expires\":99,"
#define REST "\"groups\":{},\"users\":{},\"devices\":{}}"

static struct policy *read(const char *text)
{
	struct policy *policy = NULL;
	char problem[256] = "";

	if (policy_check(text, strlen(text), &policy, problem, sizeof(problem)))
		fail_msg("%s", problem);
	return policy;
}

static const char layered[] = HEAD
    "\"default\":{\"lease_days\":30,\"autostart\":false,\"usb\":[\"input\",\"audio\",\"storage\"],"
    "\"network\":\"open\",\"screen_capture\":true,\"host_name\":\"pc-%d\"},"
    "\"groups\":{\"low\":{\"rank\":1,\"fields\":{\"lease_days\":7,\"autostart\":true,\"network\":"
    "\"company\","
    "\"update_mode\":\"now\"}},"
    "\"high\":{\"rank\":2,\"fields\":{\"lease_days\":20,\"autostart\":false,\"usb\":[\"input\","
    "\"audio\"],"
    "\"update_mode\":\"when-idle\"}},"
    "\"also-high\":{\"rank\":2,\"fields\":{\"backup_minutes\":5}}},"
    "\"users\":{\"alice\":{\"usb\":[\"input\",\"storage\"],\"screen_capture\":false,\"backup_"
    "minutes\":60}},"
    "\"devices\":{\"d-1\":{\"lease_days\":3650,\"network\":\"open\",\"screen_capture\":true,"
    "\"host_name\":\"boss\"}}}";

static void security_takes_the_strictest_and_the_rest_the_nearest(void **state)
{
	static const char *const groups[] = {"high", "low", "also-high", "unknown"};
	struct policy_subject subject = {"d-1", "alice", groups, 4};
	struct policy_effective effective;
	struct policy *policy = read(layered);

	policy_merge(policy, &subject, &effective);
	assert_int_equal(policy_version(policy), 3);
	assert_int_equal(policy_expires(policy), 99);
	/* Neither the higher group nor the device's exception loosens the lease. */
	assert_int_equal(effective.values[POLICY_LEASE_DAYS].number, 7);
	assert_string_equal(effective.values[POLICY_LEASE_DAYS].source, "group low");
	assert_int_equal(effective.values[POLICY_NETWORK].number, 1);
	assert_string_equal(effective.values[POLICY_NETWORK].source, "group low");
	assert_false(effective.values[POLICY_SCREEN_CAPTURE].number);
	assert_string_equal(effective.values[POLICY_SCREEN_CAPTURE].source, "user alice");
	assert_true(policy_allows(&effective, POLICY_USB, "input"));
	assert_false(policy_allows(&effective, POLICY_USB, "audio"));
	assert_false(policy_allows(&effective, POLICY_USB, "storage"));
	assert_false(policy_allows(&effective, POLICY_USB, "no-such-class"));
	/* Ordinary fields: rank decides among groups, then user, then device. */
	assert_false(effective.values[POLICY_AUTOSTART].number);
	assert_string_equal(effective.values[POLICY_AUTOSTART].source, "group high");
	assert_int_equal(effective.values[POLICY_UPDATE_MODE].number, 0);
	assert_int_equal(effective.values[POLICY_BACKUP_MINUTES].number, 60);
	assert_string_equal(effective.values[POLICY_HOST_NAME].text, "boss");
	assert_string_equal(effective.values[POLICY_PREVIOUS_HOURS].source, "built-in");
	policy_free(policy);
}

static void the_order_in_which_groups_are_named_does_not_matter(void **state)
{
	static const char *const one[] = {"high", "low", "also-high"}, *const other[] = {
									   "also-high", "low",
									   "high"};
	struct policy_subject first = {"d-9", NULL, one, 3}, second = {"d-9", NULL, other, 3};
	struct policy_effective a, b;
	struct policy *policy = read(layered);

	policy_merge(policy, &first, &a);
	policy_merge(policy, &second, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	policy_free(policy);
}

static void without_a_policy_the_built_in_values_hold(void **state)
{
	struct policy_subject subject = {"d-1", NULL, NULL, 0};
	struct policy_effective effective;

	policy_merge(NULL, &subject, &effective);
	for (int field = 0; field < POLICY_FIELD_COUNT; field++)
		assert_int_equal(effective.values[field].number, policy_field_rules[field].initial);
	policy_free(NULL);
}

static void the_effective_view_names_value_and_layer(void **state)
{
	struct policy_subject subject = {"d-1", "alice", NULL, 0};
	struct policy_effective effective;
	struct policy *policy = read(layered);
	char *text;
	json_t *view;

	policy_merge(policy, &subject, &effective);
	view = policy_view(&effective);
	text = json_dumps(json_object_get(view, "usb"), JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "{\"enforced_by\":\"not enforced by this version\",\"from\":\"user alice\","
				  "\"value\":[\"input\",\"storage\"]}");
	free(text);
	text = json_dumps(json_object_get(view, "network"), JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "{\"enforced_by\":\"agent, by the PC's network set-up\",\"from\":\"default\","
				  "\"value\":\"open\"}");
	free(text);
	assert_true(
	    json_is_false(json_object_get(json_object_get(view, "screen_capture"), "value")));
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(view, "lease_days"), "value")), 30);
	assert_string_equal(
	    json_string_value(json_object_get(json_object_get(view, "host_name"), "value")),
	    "boss");
	json_decref(view);
	policy_free(policy);
}

static void a_bad_policy_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *text, *problem;
	} bad[] = {
	    {"{}", "not a policy document"},
	    {HEAD "\"default\":{}," REST "x", "not a policy document"},
	    {"{\"type\":\"policy\",\"version\":0,\"expires\":1,\"default\":{}," REST,
	     "not a policy document"},
	    {"{\"type\":\"policy\",\"version\":1,\"expires\":-1,\"default\":{}," REST,
	     "not a policy document"},
	    {HEAD "\"default\":1," REST, "layer \"default\" must be an object"},
	    {HEAD "\"default\":{\"x\":1}," REST, "no field \"x\""},
	    {HEAD "\"default\":{\"lease_days\":0}," REST, "lease_days must be 1 to 3650"},
	    {HEAD "\"default\":{\"lease_days\":\"7\"}," REST, "lease_days must be 1 to 3650"},
	    {HEAD "\"default\":{\"autostart\":1}," REST, "autostart must be true or false"},
	    {HEAD "\"default\":{\"network\":\"all\"}," REST,
	     "network must be one of open, company, none"},
	    {HEAD "\"default\":{\"network\":1}," REST, "network must be one of"},
	    {HEAD "\"default\":{\"clipboard\":\"in\"}," REST,
	     "clipboard must be a list of in, out"},
	    {HEAD "\"default\":{\"clipboard\":[\"up\"]}," REST,
	     "clipboard must be a list of in, out"},
	    {HEAD "\"default\":{\"backup_window\":\"from ten to six\"}," REST,
	     "a text of at most 11 bytes"},
	    {HEAD "\"default\":{},\"groups\":[],\"users\":{},\"devices\":{}}",
	     "groups must be an object"},
	    {HEAD "\"default\":{},\"groups\":{\"X\":{}},\"users\":{},\"devices\":{}}",
	     "bad name \"X\""},
	    {HEAD "\"default\":{},\"groups\":{\"x\":{}},\"users\":{},\"devices\":{}}",
	     "group \"x\" must be"},
	    {HEAD "\"default\":{},\"groups\":{\"x\":{\"rank\":1,\"fields\":1}},\"users\":{},"
		  "\"devices\":{}}",
	     "group \"x\" must be an object"},
	    {HEAD "\"default\":{},\"groups\":{},\"users\":{\"u\":{\"x\":1}},\"devices\":{}}",
	     "user \"u\""},
	    {HEAD "\"default\":{},\"groups\":{},\"users\":{},\"devices\":{\"d\":{\"x\":1}}}",
	     "device \"d\""},
	};
	struct policy *policy;
	char problem[256];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(policy_check(bad[i].text, strlen(bad[i].text), &policy, problem,
					      sizeof(problem)),
				 -EBADMSG);
		if (!strstr(problem, bad[i].problem))
			fail_msg("case %zu: \"%s\" instead of \"%s\"", i, problem, bad[i].problem);
		assert_int_equal(policy_read(bad[i].text, strlen(bad[i].text), &policy), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(security_takes_the_strictest_and_the_rest_the_nearest),
	    cmocka_unit_test(the_order_in_which_groups_are_named_does_not_matter),
	    cmocka_unit_test(without_a_policy_the_built_in_values_hold),
	    cmocka_unit_test(the_effective_view_names_value_and_layer),
	    cmocka_unit_test(a_bad_policy_is_refused_with_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
