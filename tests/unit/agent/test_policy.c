/* What policy means on a PC, and the budget that transfers share: rules without server or guests. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent_policy.h"
#include "pace.h"

#define GIB    (1ull << 30)
#define SECOND 1000000000ll

static struct agent *new_agent(const char *config)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	char error[AGENT_ERROR_MAX];

	assert_non_null(agent);
	assert_int_equal(agent_config_parse(config, strlen(config), &agent->config, error, sizeof(error)), 0);
	policy_merge(NULL, NULL, &agent->effective);
	return agent;
}

static void free_agent(struct agent *agent)
{
	agent_config_release(&agent->config);
	free(agent);
}

static void set(struct agent *agent, enum policy_field field, int64_t number)
{
	agent->effective.values[field].number = number;
}

static void the_lower_quota_counts(void **state)
{
	struct agent *own = new_agent("{\"quota_bytes\": 5368709120}"), *none = new_agent("{}");

	assert_int_equal(agent_policy_quota(own), 5 * GIB);
	set(own, POLICY_QUOTA_GIB, 3);
	assert_int_equal(agent_policy_quota(own), 3 * GIB);
	set(own, POLICY_QUOTA_GIB, 9);
	assert_int_equal(agent_policy_quota(own), 5 * GIB);
	assert_int_equal(agent_policy_quota(none), 0);
	set(none, POLICY_QUOTA_GIB, 9);
	assert_int_equal(agent_policy_quota(none), 9 * GIB);
	free_agent(own);
	free_agent(none);
}

static void a_release_beyond_the_quota_is_refused_in_one_line(void **state)
{
	struct agent *agent = new_agent("{}");

	assert_int_equal(agent_policy_fits(agent, "work", 2, 100 * GIB, 100 * GIB), 0);
	set(agent, POLICY_QUOTA_GIB, 4);
	assert_int_equal(agent_policy_fits(agent, "work", 2, 3 * GIB, GIB), 0);
	assert_int_equal(agent_policy_fits(agent, "work", 2, 3 * GIB, GIB + 1), -EDQUOT);
	assert_non_null(strstr(agent->error, "work: release 2 needs 1025 MiB"));
	assert_non_null(strstr(agent->error, "quota of 4096 MiB has 1024 MiB left"));
	assert_null(strchr(agent->error, '\n'));
	/* Lowered below what is used: nothing more, and no wrap-around. */
	assert_int_equal(agent_policy_fits(agent, "work", 2, 5 * GIB, 1), -EDQUOT);
	assert_int_equal(agent_policy_fits(agent, "work", 2, 0, UINT64_MAX), -EDQUOT);
	free_agent(agent);
}

static void a_user_disk_is_no_larger_than_the_quota(void **state)
{
	struct agent *agent = new_agent("{}");
	char size[24];

	agent_policy_user_disk(agent, size);
	assert_string_equal(size, "68719476736");
	set(agent, POLICY_QUOTA_GIB, 2);
	agent_policy_user_disk(agent, size);
	assert_string_equal(size, "2147483648");
	set(agent, POLICY_QUOTA_GIB, 2000);
	agent_policy_user_disk(agent, size);
	assert_string_equal(size, "68719476736");
	free_agent(agent);
}

static void windows_go_over_midnight(void **state)
{
	struct tm parts = {.tm_year = 126, .tm_mon = 0, .tm_mday = 15, .tm_isdst = -1};
	static const struct {
		const char *window;
		int hour, minute;
		bool inside;
	} cases[] = {{"", 12, 0, true},		   {"nonsense", 12, 0, true},	{"08:00-17:30", 8, 0, true},
		     {"08:00-17:30", 17, 29, true}, {"08:00-17:30", 17, 30, false}, {"08:00-17:30", 7, 59, false},
		     {"22:00-06:00", 23, 0, true}, {"22:00-06:00", 5, 59, true}, {"22:00-06:00", 12, 0, false}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		parts.tm_hour = cases[i].hour;
		parts.tm_min = cases[i].minute;
		assert_int_equal(agent_policy_in_window(cases[i].window, mktime(&parts)), cases[i].inside);
	}
	assert_true(agent_policy_in_window(NULL, 0));
}

static void a_network_that_nothing_would_enforce_is_refused(void **state)
{
	struct agent *blind = new_agent("{\"monitor\": [\"run\"]}");
	struct agent *bare = new_agent("{\"monitor\": [\"run\", \"-nic\", \"%{network}\"]}");
	struct agent *whole = new_agent("{\"monitor\": [\"run\", \"%{network}\"], \"networks\": "
					"{\"open\": \"tap1\", \"company\": \"tap2\", \"none\": \"none\"}}");
	char error[AGENT_ERROR_MAX];
	const char *text;

	assert_int_equal(agent_policy_network(blind, "work", &text, error), 0);
	assert_int_equal(agent_policy_network(bare, "work", &text, error), 0);
	assert_string_equal(text, "open");
	assert_int_equal(agent_policy_network(whole, "work", &text, error), 0);
	assert_string_equal(text, "tap1");

	set(blind, POLICY_NETWORK, POLICY_NETWORK_NONE);
	assert_int_equal(agent_policy_network(blind, "work", &text, error), -EPERM);
	assert_non_null(strstr(error, "%{network}"));
	set(bare, POLICY_NETWORK, POLICY_NETWORK_COMPANY);
	assert_int_equal(agent_policy_network(bare, "work", &text, error), -EPERM);
	assert_non_null(strstr(error, "\"networks\""));
	set(bare, POLICY_NETWORK, POLICY_NETWORK_NONE);
	assert_int_equal(agent_policy_network(bare, "work", &text, error), 0);
	assert_string_equal(text, "");

	set(whole, POLICY_NETWORK, POLICY_NETWORK_COMPANY);
	assert_int_equal(agent_policy_network(whole, "work", &text, error), 0);
	assert_string_equal(text, "tap2");
	set(whole, POLICY_NETWORK, POLICY_NETWORK_NONE);
	assert_int_equal(agent_policy_network(whole, "work", &text, error), 0);
	assert_string_equal(text, "none");
	free_agent(blind);
	free_agent(bare);
	free_agent(whole);
}

static void misspelt_networks_are_noticed(void **state)
{
	static const char *const wrong[] = {"{\"networks\": \"open\"}", "{\"networks\": {\"opne\": \"x\"}}",
					    "{\"networks\": {\"open\": 1}}", "{\"packs_ca\": \"relative\"}"};
	struct agent_config config;
	char error[AGENT_ERROR_MAX];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(agent_config_parse(wrong[i], strlen(wrong[i]), &config, error, sizeof(error)),
				 -EBADMSG);
}

/* Four connections take a chunk each and wait as they are told; time is the test's. */
static void connections_share_one_budget(void **state)
{
	enum { LINES = 4, CHUNK = 16384, RATE = 1 << 20 };
	int64_t free_at[LINES] = {0}, now = 5 * SECOND, end;
	uint64_t moved = 0;
	struct pace pace;

	pace_init(&pace);
	assert_int_equal(pace_take(&pace, 1ull << 40, now), 0);
	pace_set(&pace, RATE);
	for (end = now + 10 * SECOND; now < end; now += SECOND / 1000)
		for (int i = 0; i < LINES; i++)
			if (free_at[i] <= now) {
				moved += CHUNK;
				free_at[i] = now + pace_take(&pace, CHUNK, now);
			}
	assert_in_range(moved, 9 * RATE, 10 * RATE + LINES * CHUNK);
	/* A pause saves nothing up. */
	assert_int_equal(pace_take(&pace, RATE, now + 100 * SECOND), SECOND);
	assert_int_equal(pace_take(&pace, RATE, now + 100 * SECOND), 2 * SECOND);
	/* A new limit holds from now on. */
	pace_set(&pace, 2 * RATE);
	assert_int_equal(pace_take(&pace, RATE, now + 100 * SECOND), SECOND / 2);
	pace_set(&pace, 0);
	assert_int_equal(pace_take(&pace, RATE, now + 100 * SECOND), 0);
	assert_int_equal(pace_get(&pace), 0);
	pace_destroy(&pace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_lower_quota_counts),
	    cmocka_unit_test(a_release_beyond_the_quota_is_refused_in_one_line),
	    cmocka_unit_test(a_user_disk_is_no_larger_than_the_quota),
	    cmocka_unit_test(windows_go_over_midnight),
	    cmocka_unit_test(a_network_that_nothing_would_enforce_is_refused),
	    cmocka_unit_test(misspelt_networks_are_noticed),
	    cmocka_unit_test(connections_share_one_budget),
	};

	return cmocka_run_group_tests_name("agent_policy", tests, NULL, NULL);
}
