/* memory_test.c: catalogues, leases, orders, states, the audit chain, and the memory that guards a
 * PC against going back. */
#include "company.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const enum company_key images_key = KEY_IMAGES, policy_key = KEY_POLICY,
			      server_key = KEY_SERVER;
static const enum company_key officers[] = {KEY_OFFICER_1, KEY_OFFICER_2};

static void sign(const struct company *company, struct dsse_envelope *envelope, const char *type,
		 char *payload, enum company_key key)
{
	company_sign(company, envelope, type, payload, 1, &key);
	free(payload);
}

static char *state_text(uint64_t serial, const char *device)
{
	struct state *state = calloc(1, sizeof(*state));
	char *text;

	strcpy(state->device, device);
	strcpy(state->ring, "deployed");
	strcpy(state->user, "alice");
	state->serial = serial;
	state->issued = COMPANY_NOW;
	state->expires = COMPANY_NOW + 100;
	state->group_count = 1;
	strcpy(state->groups[0], "sales");
	state->guest_count = 1;
	state->guests[0] = (struct state_guest){"work", 1, 2, true};
	assert_int_equal(state_write(state, &text), 0);
	free(state);
	return text;
}

static char *catalogue_text(uint64_t version, uint64_t releases, uint64_t floor, int64_t expires)
{
	struct catalogue *catalogue = calloc(1, sizeof(*catalogue));
	uint8_t manifest[32] = {7};
	char name[8], *text;

	strcpy(catalogue->image, "work");
	catalogue->version = version;
	catalogue->floor = floor;
	catalogue->expires = expires;
	for (uint64_t i = 1; i <= releases; i++) {
		snprintf(name, sizeof(name), "v%u", (unsigned)i);
		assert_int_equal(catalogue_append(catalogue, name, manifest, 10, COMPANY_NOW), i);
	}
	assert_int_equal(catalogue_write(catalogue, &text), 0);
	free(catalogue);
	return text;
}

static void a_state_survives_its_text(void **state)
{
	struct state *read = malloc(sizeof(*read));
	char *text = state_text(5, "d-1"), *again;

	assert_int_equal(state_read(text, strlen(text), read), 0);
	assert_int_equal(read->guests[0].release, 2);
	assert_true(read->guests[0].pinned);
	assert_int_equal(state_write(read, &again), 0);
	assert_string_equal(text, again);
	assert_string_equal(state_status_name(STATE_LOST), "lost");
	assert_string_equal(state_status_name(STATE_STATUS_COUNT), "unknown");
	assert_int_equal(state_status_from_name("gone"), STATE_STATUS_COUNT);
	free(again);
	free(text);
	free(read);
}

/* Every way to spoil a document: each replaces one place in good text. */
struct spoil {
	const char *from, *to;
};

static char *spoilt(const char *text, const struct spoil *spoil)
{
	const char *at = strstr(text, spoil->from);
	char *changed;

	if (!at)
		fail_msg("no \"%s\" in %s", spoil->from, text);
	assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, spoil->to,
			     at + strlen(spoil->from)) > 0);
	return changed;
}

static void spoilt_states_are_refused(void **state)
{
	static const struct spoil spoils[] = {{"\"type\":\"state\"", "\"type\":\"lease\""},
					      {"\"serial\":5", "\"serial\":0"},
					      {"\"user\":\"alice\"", "\"user\":\"Alice\""},
					      {"\"user\":\"alice\"", "\"user\":1"},
					      {"\"status\":\"active\"", "\"status\":\"happy\""},
					      {"[\"sales\"]", "[1]"},
					      {"[\"sales\"]", "1"},
					      {"[\"sales\"]", "[\"Sales\"]"},
					      {"\"catalogue\":1", "\"catalogue\":0"},
					      {"\"pinned\":true", "\"pinned\":1"},
					      {"\"image\":\"work\"", "\"image\":\"../x\""},
					      {"\"guests\":[", "\"guests\":[1,"},
					      {"\"ring\":\"deployed\"", "\"ring\":1"},
					      {"\"device\":\"d-1\"", "\"device\":1"},
					      {"\"roles\":0", "\"roles\":-1"},
					      {"\"guests\":[", "\"x\":[],\"guests\":["}};
	struct state *read = malloc(sizeof(*read));
	char *text = state_text(5, "d-1");

	for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
		char *changed = spoilt(text, &spoils[i]);

		assert_int_equal(state_read(changed, strlen(changed), read), -EBADMSG);
		free(changed);
	}
	free(text);
	free(read);
}

static void spoilt_catalogues_are_refused(void **state)
{
	static const struct spoil spoils[] = {{"\"image\":\"work\"", "\"image\":\"Work\""},
					      {"\"version\":4", "\"version\":0"},
					      {"\"floor\":1", "\"floor\":4"},
					      {"\"floor\":1", "\"floor\":-1"},
					      {"\"release\":2", "\"release\":1"},
					      {"\"release\":2", "\"release\":0"},
					      {"\"name\":\"v2\"", "\"name\":\"V 2\""},
					      {"\"manifest\":\"07", "\"manifest\":\"7"},
					      {"\"manifest_bytes\":10", "\"manifest_bytes\":-1"},
					      {"\"releases\":[", "\"releases\":[1,"},
					      {"\"expires\":", "\"expired\":"},
					      {"\"releases\":[", "\"releases\":1,\"x\":["}};
	struct catalogue *read = malloc(sizeof(*read));
	uint8_t manifest[32] = {0};
	char *text = catalogue_text(4, 3, 1, 99);

	assert_int_equal(catalogue_read(text, strlen(text), read), 0);
	assert_non_null(catalogue_find(read, 3));
	assert_null(catalogue_find(read, 4));
	assert_int_equal(catalogue_append(read, "Bad Name", manifest, 1, 1), 0);
	read->release_count = CATALOGUE_RELEASES_MAX;
	assert_int_equal(catalogue_append(read, "v9", manifest, 1, 1), 0);
	for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
		char *changed = spoilt(text, &spoils[i]);

		assert_int_equal(catalogue_read(changed, strlen(changed), read), -EBADMSG);
		free(changed);
	}
	free(text);
	text = catalogue_text(1, 0, 0, 99);
	assert_int_equal(catalogue_read(text, strlen(text), read), 0);
	free(text);
	text = catalogue_text(1, 0, 1, 99);
	assert_int_equal(catalogue_read(text, strlen(text), read), -EBADMSG);
	free(text);
	free(read);
}

static void versions_never_go_back(void **state)
{
	struct company company;
	struct dsse_envelope old, new;
	struct memory memory;
	struct state *read = malloc(sizeof(*read));
	struct catalogue *catalogue = malloc(sizeof(*catalogue));
	struct policy *policy;

	company_make(&company);
	company_memory(&company, &memory);
	sign(&company, &old, DSSE_TYPE_STATE, state_text(1, "d-1"), server_key);
	sign(&company, &new, DSSE_TYPE_STATE, state_text(2, "d-1"), server_key);
	assert_int_equal(memory_accept_state(&memory, &new, read), 0);
	assert_int_equal(memory.time, COMPANY_NOW);
	assert_int_equal(memory_accept_state(&memory, &old, read), -ESTALE);
	assert_int_equal(memory_accept_state(&memory, &new, read), 0);
	dsse_release(&old);
	dsse_release(&new);
	sign(&company, &old, DSSE_TYPE_CATALOGUE, catalogue_text(1, 3, 2, COMPANY_NOW + 9),
	     images_key);
	sign(&company, &new, DSSE_TYPE_CATALOGUE, catalogue_text(2, 3, 1, COMPANY_NOW + 9),
	     images_key);
	assert_int_equal(memory_accept_catalogue(&memory, "work", &old, catalogue), 0);
	assert_int_equal(memory_accept_catalogue(&memory, "work", &new, catalogue), 0);
	assert_int_equal(memory_accept_catalogue(&memory, "work", &old, catalogue), -ESTALE);
	assert_int_equal(memory_accept_catalogue(&memory, "other", &new, catalogue), -EXDEV);
	/* The floor outlives the catalogue that raised it. */
	assert_int_equal(memory_may_start(&memory, "work", 1), -EPERM);
	assert_int_equal(memory_may_start(&memory, "work", 2), 0);
	assert_int_equal(memory_may_start(&memory, "unheard-of", 1), 0);
	dsse_release(&old);
	dsse_release(&new);
	sign(&company, &old, DSSE_TYPE_POLICY,
	     strdup("{\"type\":\"policy\",\"version\":1,\"expires\":9,\"default\":{},\"groups\":{},"
		    "\"users\":{},"
		    "\"devices\":{}}"),
	     policy_key);
	sign(&company, &new, DSSE_TYPE_POLICY,
	     strdup("{\"type\":\"policy\",\"version\":2,\"expires\":9,\"default\":{},\"groups\":{},"
		    "\"users\":{},"
		    "\"devices\":{}}"),
	     policy_key);
	assert_int_equal(memory_accept_policy(&memory, &new, &policy), 0);
	policy_free(policy);
	assert_int_equal(memory_accept_policy(&memory, &old, &policy), -ESTALE);
	dsse_release(&old);
	dsse_release(&new);
	free(catalogue);
	free(read);
}

static void the_wrong_hand_and_the_wrong_device_are_refused(void **state)
{
	struct company company;
	struct dsse_envelope envelope;
	struct memory memory;
	struct state *read = malloc(sizeof(*read));
	struct catalogue *catalogue = malloc(sizeof(*catalogue));
	struct lease_account account;
	struct lease_counters counters = {0, 0};
	struct policy *policy;

	company_make(&company);
	company_memory(&company, &memory);
	sign(&company, &envelope, DSSE_TYPE_STATE, state_text(1, "d-2"), server_key);
	assert_int_equal(memory_accept_state(&memory, &envelope, read), -EXDEV);
	dsse_release(&envelope);
	sign(&company, &envelope, DSSE_TYPE_STATE, state_text(1, "d-1"), images_key);
	assert_int_equal(memory_accept_state(&memory, &envelope, read), -EKEYREJECTED);
	assert_int_equal(memory_accept_policy(&memory, &envelope, &policy), -EPROTOTYPE);
	dsse_release(&envelope);
	sign(&company, &envelope, DSSE_TYPE_CATALOGUE, catalogue_text(1, 1, 0, 9), server_key);
	assert_int_equal(memory_accept_catalogue(&memory, "work", &envelope, catalogue),
			 -EKEYREJECTED);
	dsse_release(&envelope);
	company_sign(&company, &envelope, DSSE_TYPE_LEASE, "{}", 1, &server_key);
	assert_int_equal(memory_accept_lease(&memory, &envelope, &counters, &account), -EBADMSG);
	dsse_release(&envelope);
	assert_int_equal(memory.state, 0);
	memory.image_count = MEMORY_IMAGES_MAX;
	sign(&company, &envelope, DSSE_TYPE_CATALOGUE, catalogue_text(1, 1, 0, 9), images_key);
	assert_int_equal(memory_accept_catalogue(&memory, "work", &envelope, catalogue), -ENOSPC);
	dsse_release(&envelope);
	free(catalogue);
	free(read);
}

static void stale_metadata_blocks_what_is_new_and_never_what_is_installed(void **state)
{
	struct company company;
	struct dsse_envelope envelope;
	struct memory memory;
	struct state *read = malloc(sizeof(*read));
	struct catalogue *catalogue = malloc(sizeof(*catalogue));

	company_make(&company);
	company_memory(&company, &memory);
	sign(&company, &envelope, DSSE_TYPE_STATE, state_text(1, "d-1"), server_key);
	assert_int_equal(memory_accept_state(&memory, &envelope, read), 0);
	dsse_release(&envelope);
	sign(&company, &envelope, DSSE_TYPE_CATALOGUE, catalogue_text(1, 3, 2, COMPANY_NOW + 50),
	     images_key);
	assert_int_equal(memory_accept_catalogue(&memory, "work", &envelope, catalogue), 0);
	dsse_release(&envelope);
	assert_int_equal(memory_may_install(&memory, read, catalogue, 3, COMPANY_NOW), 0);
	assert_int_equal(memory_may_install(&memory, read, catalogue, 4, COMPANY_NOW), -ENOENT);
	assert_int_equal(memory_may_install(&memory, read, catalogue, 1, COMPANY_NOW), -EPERM);
	assert_int_equal(memory_may_install(&memory, read, catalogue, 3, COMPANY_NOW + 50),
			 -EKEYEXPIRED);
	assert_int_equal(memory_may_install(&memory, read, catalogue, 3, COMPANY_NOW + 100),
			 -EKEYEXPIRED);
	catalogue->expires = COMPANY_NOW + 9000;
	assert_int_equal(memory_may_install(&memory, read, catalogue, 3, COMPANY_NOW + 100),
			 -EKEYEXPIRED);
	read->expires = COMPANY_NOW + 9000;
	assert_int_equal(memory_may_install(&memory, read, catalogue, 3, COMPANY_NOW + 1000),
			 -EKEYEXPIRED);
	assert_int_equal(memory_may_start(&memory, "work", 3), 0);
	/* Turning the clock back does not make old news fresh. */
	memory.time = COMPANY_NOW + 5000;
	assert_int_equal(memory_may_install(&memory, read, catalogue, 3, 0), -EKEYEXPIRED);
	free(catalogue);
	free(read);
}

static char *lease_text_of(uint64_t serial, const char *device)
{
	struct lease lease = {.serial = serial,
			      .issued = COMPANY_NOW,
			      .not_after = COMPANY_NOW + 1000,
			      .powered_seconds = 100,
			      .starts = 10};
	char *text;

	strcpy(lease.device, device);
	assert_int_equal(lease_write(&lease, &text), 0);
	return text;
}

static void whatever_of_a_lease_ends_first_locks(void **state)
{
	struct lease_account account = {
	    .lease = {.issued = 1000, .not_after = 2000, .powered_seconds = 100, .starts = 10},
	    .accepted = {500, 50}};
	static const struct {
		struct lease_counters now;
		int64_t time;
		enum lease_verdict verdict;
	} cases[] = {
	    {{500, 50}, 1000, LEASE_GOOD},
	    {{579, 57}, 1799, LEASE_GOOD},
	    {{580, 50}, 1000, LEASE_WARN},
	    {{500, 58}, 1000, LEASE_WARN},
	    {{500, 50}, 1800, LEASE_WARN},
	    {{500, 50}, 2000, LEASE_DATE_PASSED},
	    {{600, 50}, 1000, LEASE_POWERED_USED_UP},
	    {{500, 60}, 1000, LEASE_STARTS_USED_UP},
	    {{499, 50}, 1000, LEASE_COUNTERS_LOWER},
	    {{500, 49}, 1000, LEASE_COUNTERS_LOWER},
	    {{500, 50}, 0, LEASE_GOOD},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum lease_verdict verdict = lease_judge(&account, &cases[i].now, cases[i].time);

		assert_int_equal(verdict, cases[i].verdict);
		assert_int_equal(lease_allows(verdict),
				 verdict == LEASE_GOOD || verdict == LEASE_WARN);
		assert_non_null(lease_text(verdict));
	}
}

static void a_lease_is_taken_once(void **state)
{
	struct lease_counters counters = {7, 3};
	struct lease_account account;
	struct company company;
	struct dsse_envelope envelope;
	struct memory memory;
	static const struct spoil spoils[] = {{"\"serial\":2", "\"serial\":0"},
					      {"\"starts\":10", "\"starts\":-1"},
					      {"\"not_after\":", "\"not_after\":-"},
					      {"\"device\":\"d-1\"", "\"device\":1"}};
	struct lease lease;
	char *text = lease_text_of(2, "d-1");

	company_make(&company);
	company_memory(&company, &memory);
	sign(&company, &envelope, DSSE_TYPE_LEASE, lease_text_of(2, "d-1"), server_key);
	assert_int_equal(memory_accept_lease(&memory, &envelope, &counters, &account), 0);
	assert_int_equal(account.accepted.powered_seconds, 7);
	/* Again would start its account anew. */
	assert_int_equal(memory_accept_lease(&memory, &envelope, &counters, &account), -ESTALE);
	dsse_release(&envelope);
	sign(&company, &envelope, DSSE_TYPE_LEASE, lease_text_of(3, "d-2"), server_key);
	assert_int_equal(memory_accept_lease(&memory, &envelope, &counters, &account), -EXDEV);
	dsse_release(&envelope);
	for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
		char *changed = spoilt(text, &spoils[i]);

		assert_int_equal(lease_read(changed, strlen(changed), &lease), -EBADMSG);
		free(changed);
	}
	free(text);
}

static char *order_text(enum order_kind kind, uint64_t sequence, const char *device)
{
	struct order order = {.kind = kind,
			      .sequence = sequence,
			      .issued = COMPANY_NOW,
			      .expires = COMPANY_NOW + 100};
	char *text;

	strcpy(order.device, device);
	strcpy(order.guest, "*");
	strcpy(order.disk, "alice-work");
	strcpy(order.reason, "stolen");
	assert_int_equal(order_write(&order, &text), 0);
	return text;
}

static int obey(const struct company *company, struct memory *memory, char *payload, size_t signers,
		int64_t now)
{
	struct dsse_envelope envelope;
	struct order order;
	int status;

	company_sign(company, &envelope, DSSE_TYPE_ORDER, payload, signers, officers);
	free(payload);
	status = memory_accept_order(memory, &envelope, now, &order);
	dsse_release(&envelope);
	return status;
}

static void an_order_needs_two_officers_one_device_and_a_new_number(void **state)
{
	struct company company;
	struct memory memory;

	company_make(&company);
	company_memory(&company, &memory);
	assert_int_equal(obey(&company, &memory, order_text(ORDER_WIPE, 4, "d-1"), 1, COMPANY_NOW),
			 -EKEYREJECTED);
	assert_int_equal(obey(&company, &memory, order_text(ORDER_WIPE, 4, "d-2"), 2, COMPANY_NOW),
			 -EXDEV);
	assert_int_equal(
	    obey(&company, &memory, order_text(ORDER_WIPE, 4, "d-1"), 2, COMPANY_NOW + 100),
	    -EKEYEXPIRED);
	assert_int_equal(obey(&company, &memory, strdup("{}"), 2, COMPANY_NOW), -EBADMSG);
	assert_int_equal(memory.order, 0);
	assert_int_equal(obey(&company, &memory, order_text(ORDER_WIPE, 4, "d-1"), 2, COMPANY_NOW),
			 0);
	assert_int_equal(obey(&company, &memory, order_text(ORDER_WIPE, 4, "d-1"), 2, COMPANY_NOW),
			 -ESTALE);
	assert_int_equal(obey(&company, &memory, order_text(ORDER_WIPE, 3, "d-1"), 2, COMPANY_NOW),
			 -ESTALE);
	assert_int_equal(
	    obey(&company, &memory, order_text(ORDER_RELEASE_KEY, 5, "d-1"), 2, COMPANY_NOW), 0);
	/* Who withholds news from a stolen PC does not save it from the wipe. */
	memory.roles.expires = 0;
	assert_int_equal(obey(&company, &memory, order_text(ORDER_WIPE, 6, "d-1"), 2, COMPANY_NOW),
			 0);
}

static void spoilt_orders_are_refused(void **state)
{
	static const struct spoil wipe[] = {{"\"order\":\"wipe\"", "\"order\":\"praise\""},
					    {"\"order\":\"wipe\"", "\"order\":1"},
					    {"\"guest\":\"*\"", "\"guest\":\"**\""},
					    {"\"guest\":\"*\"", "\"guest\":\"*\",\"disk\":\"x\""},
					    {"\"guest\":\"*\"", "\"guest\":1"},
					    {"\"sequence\":1", "\"sequence\":0"},
					    {"\"device\":\"d-1\"", "\"device\":\"D\""},
					    {"\"reason\":\"stolen\"", "\"reason\":1"},
					    {"\"type\":\"order\"", "\"type\":\"lease\""}},
				  release[] = {
				      {"\"disk\":\"alice-work\"", "\"disk\":\"/\""},
				      {"\"disk\":\"alice-work\"", "\"disk\":\"a\",\"guest\":\"x\""},
				      {"\"recipient\":\"", "\"recipient\":\"A"},
				      {"\"disk\":\"alice-work\",", ""}};
	char *text = order_text(ORDER_WIPE, 1, "d-1");
	struct order order;

	for (size_t i = 0; i < sizeof(wipe) / sizeof(wipe[0]); i++) {
		char *changed = spoilt(text, &wipe[i]);

		assert_int_equal(order_read(changed, strlen(changed), &order), -EBADMSG);
		free(changed);
	}
	free(text);
	text = order_text(ORDER_RELEASE_KEY, 1, "d-1");
	for (size_t i = 0; i < sizeof(release) / sizeof(release[0]); i++) {
		char *changed = spoilt(text, &release[i]);

		assert_int_equal(order_read(changed, strlen(changed), &order), -EBADMSG);
		free(changed);
	}
	free(text);
}

static char *entry(struct audit_head *head, const char *action)
{
	struct audit_entry made = {COMPANY_NOW, "person:admin", action, "d-1", "ok", ""};
	char *text;

	assert_int_equal(audit_append(head, &made, &text), 0);
	return text;
}

static void nothing_in_the_audit_log_can_be_changed_dropped_or_put_in(void **state)
{
	struct audit_head writer = {0}, reader = {0}, before;
	char *first = entry(&writer, "one"), *second = entry(&writer, "two"),
	     *third = entry(&writer, "three");
	char *changed = spoilt(second, &(struct spoil){"two", "2wo"});
	struct audit_entry bad = {0, "a", "b", "c", "d", "\xff"};

	assert_int_equal(audit_follow(&reader, first, strlen(first)), 0);
	before = reader;
	assert_int_equal(audit_follow(&reader, third, strlen(third)), -ESTALE);
	assert_int_equal(audit_follow(&reader, first, strlen(first)), -ESTALE);
	assert_memory_equal(&reader, &before, sizeof(before));
	assert_int_equal(audit_follow(&reader, changed, strlen(changed)), 0);
	/* The change shows at the next entry, or at the head that somebody witnessed. */
	assert_int_equal(audit_follow(&reader, third, strlen(third)), -ESTALE);
	reader = before;
	assert_int_equal(audit_follow(&reader, second, strlen(second)), 0);
	assert_int_equal(audit_follow(&reader, third, strlen(third)), 0);
	assert_int_equal(audit_compare(&reader, &writer), 0);
	assert_int_equal(audit_compare(&before, &writer), -ESTALE);
	assert_int_equal(audit_follow(&reader, "{}", 2), -EBADMSG);
	assert_int_equal(audit_follow(&reader, "x", 1), -EBADMSG);
	assert_int_equal(audit_follow(&reader, " {}", 3), -EBADMSG);
	free(changed);
	assert_int_equal(audit_append(&writer, &bad, &changed), -EBADMSG);
	free(first);
	free(second);
	free(third);
}

static void a_device_notices_a_log_that_shrank_or_forked(void **state)
{
	struct company company;
	struct audit_head head = {.sequence = 5, .hash = {1}}, other = {.sequence = 5, .hash = {2}},
			  read;
	char text[AUDIT_HEAD_TEXT_MAX], spoilt_text[AUDIT_HEAD_TEXT_MAX];
	struct memory memory;

	company_make(&company);
	company_memory(&company, &memory);
	assert_int_equal(audit_head_sign(&head, &company.keys[KEY_SERVER], text), 0);
	assert_int_equal(memory_accept_head(&memory, text), 0);
	assert_int_equal(memory_accept_head(&memory, text), 0);
	assert_int_equal(audit_head_sign(&other, &company.keys[KEY_SERVER], text), 0);
	assert_int_equal(memory_accept_head(&memory, text), -ESTALE);
	head.sequence = 4;
	assert_int_equal(audit_head_sign(&head, &company.keys[KEY_SERVER], text), 0);
	assert_int_equal(memory_accept_head(&memory, text), -ESTALE);
	head.sequence = 6;
	assert_int_equal(audit_head_sign(&head, &company.keys[KEY_STRANGER], text), 0);
	assert_int_equal(memory_accept_head(&memory, text), -EKEYREJECTED);
	assert_int_equal(audit_head_sign(&head, &company.keys[KEY_SERVER], text), 0);
	strcpy(spoilt_text, text);
	spoilt_text[0] = '7';
	assert_int_equal(memory_accept_head(&memory, spoilt_text), -EKEYREJECTED);
	strcpy(spoilt_text, text);
	*strrchr(spoilt_text, ':') = 0;
	assert_int_equal(memory_accept_head(&memory, spoilt_text), -EBADMSG);
	assert_int_equal(audit_head_read(spoilt_text, &read), 0);
	assert_int_equal(audit_head_read("", &read), -EBADMSG);
	assert_int_equal(audit_head_read("5", &read), -EBADMSG);
	assert_int_equal(audit_head_read("99999999999999999999:00", &read), -EBADMSG);
	assert_int_equal(audit_head_read("5:00", &read), -EBADMSG);
	memset(spoilt_text, 'x', sizeof(spoilt_text) - 1);
	spoilt_text[sizeof(spoilt_text) - 1] = 0;
	assert_int_equal(memory_accept_head(&memory, spoilt_text), -EBADMSG);
	assert_int_equal(memory_accept_head(&memory, text), 0);
}

static void a_memory_survives_its_text(void **state)
{
	static const struct spoil spoils[] = {{"\"time\":9", "\"time\":-9"},
					      {"\"roles\":\"", "\"roles\":\"x"},
					      {"\"head\":\"0:", "\"head\":\"x:"},
					      {"\"images\":[", "\"images\":[1,"},
					      {"\"images\":[", "\"images\":1,\"x\":["},
					      {"\"floor\":3", "\"floor\":-3"},
					      {"\"device\":\"d-1\"", "\"device\":1"}};
	struct company company;
	struct memory memory, read;
	char *text;

	company_make(&company);
	company_memory(&company, &memory);
	memory.time = 9;
	memory.image_count = 1;
	strcpy(memory.images[0].image, "work");
	memory.images[0].floor = 3;
	assert_int_equal(memory_write(&memory, &text), 0);
	assert_int_equal(memory_read(text, strlen(text), &read), 0);
	assert_int_equal(read.images[0].floor, 3);
	assert_int_equal(read.roles.version, 1);
	assert_int_equal(memory_now(&read, 5), 9);
	assert_int_equal(memory_now(&read, 50), 50);
	for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
		char *changed = spoilt(text, &spoils[i]);

		assert_int_equal(memory_read(changed, strlen(changed), &read), -EBADMSG);
		free(changed);
	}
	free(text);
}

static void a_device_starts_only_from_the_pinned_roles(void **state)
{
	static const enum company_key roots[] = {KEY_ROOT_1, KEY_ROOT_2};
	struct company company;
	struct dsse_envelope envelope;
	struct memory memory;
	uint8_t pin[32];
	char *text, *next, long_name[STATE_NAME_MAX + 1];

	company_make(&company);
	company_memory(&company, &memory);
	assert_int_equal(roles_write(&company.roles, &text), 0);
	company_sign(&company, &envelope, DSSE_TYPE_ROLES, text, 1, roots);
	roles_pin(&envelope, pin);
	assert_int_equal(memory_start(&memory, "d-1", &envelope, pin), -EKEYREJECTED);
	memset(long_name, 'd', sizeof(long_name));
	long_name[STATE_NAME_MAX] = 0;
	assert_int_equal(memory_start(&memory, long_name, &envelope, pin), -EMSGSIZE);
	pin[0] ^= 1;
	assert_int_equal(memory_start(&memory, "d-1", &envelope, pin), -EKEYREJECTED);
	dsse_release(&envelope);
	company.roles.version = 2;
	assert_int_equal(roles_write(&company.roles, &next), 0);
	company_sign(&company, &envelope, DSSE_TYPE_ROLES, next, 2, roots);
	assert_int_equal(memory_accept_roles(&memory, &envelope), 0);
	assert_int_equal(memory.roles.version, 2);
	dsse_release(&envelope);
	free(text);
	free(next);
}

static void every_refusal_has_words(void **state)
{
	static const int refusals[] = {EKEYREJECTED, EPROTOTYPE, EXDEV,	 ESTALE,
				       EKEYEXPIRED,  EPERM,	 ENOENT, EMSGSIZE,
				       EBADMSG,	     ENOSPC,	 ENOMEM};

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		assert_true(strlen(memory_reason(-refusals[i])) > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_state_survives_its_text),
	    cmocka_unit_test(spoilt_states_are_refused),
	    cmocka_unit_test(spoilt_catalogues_are_refused),
	    cmocka_unit_test(versions_never_go_back),
	    cmocka_unit_test(the_wrong_hand_and_the_wrong_device_are_refused),
	    cmocka_unit_test(stale_metadata_blocks_what_is_new_and_never_what_is_installed),
	    cmocka_unit_test(whatever_of_a_lease_ends_first_locks),
	    cmocka_unit_test(a_lease_is_taken_once),
	    cmocka_unit_test(an_order_needs_two_officers_one_device_and_a_new_number),
	    cmocka_unit_test(spoilt_orders_are_refused),
	    cmocka_unit_test(nothing_in_the_audit_log_can_be_changed_dropped_or_put_in),
	    cmocka_unit_test(a_device_notices_a_log_that_shrank_or_forked),
	    cmocka_unit_test(a_memory_survives_its_text),
	    cmocka_unit_test(a_device_starts_only_from_the_pinned_roles),
	    cmocka_unit_test(every_refusal_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
