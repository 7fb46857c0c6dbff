/* server_test.c: the real server on loopback, with real TLS and client certificates: devices, people, policy, audit.
 * Disks and packs: disks_test.c. */
#include "fixture.h"
#include "unit.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fixture fixture;
static char text[512];

static int set_up(void **state)
{
	fixture_open(&fixture);
	fixture_staff(&fixture);
	return 0;
}

static int tear_down(void **state)
{
	fixture_close(&fixture);
	return 0;
}

static void a_token_enrols_once_and_a_lost_answer_costs_nothing(void **state)
{
	struct client first, second;
	char secret[512], *csr, *body;
	json_t *object;

	assert_int_equal(client_call(&fixture.admin, "POST", "/api/v1/enrolment-tokens",
				     "{\"user\":\"alice\"}", NULL),
			 201);
	client_text(&fixture.admin, "secret", secret);
	client_open(&first, fixture.server->port, authority_ca(fixture.server->authority));
	client_open(&second, fixture.server->port, authority_ca(fixture.server->authority));
	client_request(&first.key, &csr);
	object = json_pack("{s:s, s:s, s:s}", "token", secret, "csr", csr, "name", "PC 7");
	body = json_dumps(object, 0);
	assert_int_equal(client_call(&first, "POST", "/api/v1/enrol", body, NULL), 201);
	client_text(&first, "device", first.device);
	assert_int_equal(client_call(&first, "POST", "/api/v1/enrol", body, NULL), 201);
	assert_string_equal(client_text(&first, "device", text), first.device);
	assert_int_equal(client_enrol(&second, secret, "other"), 401);
	assert_string_equal(client_problem(&second, text), "token-spent");
	assert_int_equal(client_call(&second, "POST", "/api/v1/enrol",
				     "{\"token\":\"nonsense\",\"csr\":\"x\",\"name\":\"n\"}", NULL),
			 401);
	json_decref(object);
	free(body);
	free(csr);
	client_close(&first);
	client_close(&second);
}

static void a_bad_request_leaves_the_token_good(void **state)
{
	struct client device;
	char secret[512], body[700];

	assert_int_equal(
	    client_call(&fixture.admin, "POST", "/api/v1/enrolment-tokens", "{}", NULL), 201);
	client_text(&fixture.admin, "secret", secret);
	client_open(&device, fixture.server->port, authority_ca(fixture.server->authority));
	snprintf(body, sizeof(body), "{\"token\":\"%s\",\"csr\":\"no request\",\"name\":\"n\"}",
		 secret);
	assert_int_equal(client_call(&device, "POST", "/api/v1/enrol", body, NULL), 422);
	assert_int_equal(client_enrol(&device, secret, "good"), 201);
	client_close(&device);
}

static void a_pc_that_waits_is_let_in_by_a_person(void **state)
{
	struct client device;
	char secret[512], path[600], bearer[600];

	assert_int_equal(client_call(&fixture.admin, "POST", "/api/v1/enrolment-tokens",
				     "{\"approval\":true}", NULL),
			 201);
	client_text(&fixture.admin, "secret", secret);
	client_open(&device, fixture.server->port, authority_ca(fixture.server->authority));
	assert_int_equal(client_enrol(&device, secret, "waiting"), 202);
	snprintf(path, sizeof(path), "/api/v1/enrol/%s", client_text(&device, "enrolment", text));
	snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", secret);
	assert_int_equal(client_call(&device, "GET", path, NULL, bearer), 202);
	assert_int_equal(client_call(&device, "GET", path, NULL, "Authorization: Bearer other"),
			 401);
	{
		char decide[600];

		snprintf(decide, sizeof(decide), "/api/v1/enrolments/%s", strrchr(path, '/') + 1);
		assert_int_equal(
		    client_call(&fixture.admin, "POST", decide, "{\"approve\":true}", NULL), 200);
		assert_int_equal(
		    client_call(&fixture.admin, "POST", decide, "{\"approve\":false}", NULL), 409);
	}
	assert_int_equal(client_call(&device, "GET", path, NULL, bearer), 200);
	assert_true(strlen(client_text(&device, "device", text)) > 3);
	client_close(&device);
}

static void a_poll_gives_a_signed_state_and_costs_nothing_while_nothing_changed(void **state)
{
	struct state *read = malloc(sizeof(*read));
	char etag[600], seen[512];
	struct memory memory;
	struct client device;

	fixture_enrol(&fixture, &device, "alice", "pc-1");
	fixture_memory(&fixture, device.device, &memory);
	assert_int_equal(fixture_state(&device, &memory, read), 0);
	assert_string_equal(read->user, "alice");
	assert_string_equal(read->groups[0], "sales");
	assert_int_equal(read->guest_count, 1);
	assert_int_equal(read->guests[0].release, 2);
	assert_int_equal(
	    memory_accept_head(&memory, client_header(&device, "Bulkhead-Audit-Head", seen)), 0);
	snprintf(etag, sizeof(etag), "If-None-Match: %s", client_header(&device, "ETag", text));
	assert_int_equal(client_call(&device, "GET", "/api/v1/device/state", NULL, etag), 304);
	assert_int_equal(device.body_bytes, 0);
	assert_int_equal(client_call(&fixture.admin, "PATCH", "/api/v1/images/work/versions/2",
				     "{\"stage\":\"withdrawn\"}", NULL),
			 204);
	assert_int_equal(client_call(&device, "GET", "/api/v1/device/state", NULL, etag), 200);
	assert_int_equal(fixture_state(&device, &memory, read), 0);
	assert_int_equal(read->guests[0].release, 1);
	assert_int_equal(client_call(&fixture.admin, "PATCH", "/api/v1/images/work/versions/2",
				     "{\"stage\":\"deployed\"}", NULL),
			 204);
	client_close(&device);
	free(read);
}

static void rings_decide_who_gets_a_version(void **state)
{
	struct state *read = malloc(sizeof(*read));
	struct memory memory;
	struct client device;
	char path[128];

	fixture_enrol(&fixture, &device, "alice", "pc-ring");
	fixture_memory(&fixture, device.device, &memory);
	assert_int_equal(client_call(&fixture.admin, "PATCH", "/api/v1/images/work/versions/2",
				     "{\"stage\":\"test\"}", NULL),
			 204);
	assert_int_equal(fixture_state(&device, &memory, read), 0);
	assert_int_equal(read->guests[0].release, 1);
	snprintf(path, sizeof(path), "/api/v1/devices/%s", device.device);
	assert_int_equal(client_call(&fixture.admin, "PATCH", path, "{\"ring\":\"test\"}", NULL),
			 204);
	assert_int_equal(fixture_state(&device, &memory, read), 0);
	assert_int_equal(read->guests[0].release, 2);
	assert_int_equal(client_call(&fixture.admin, "PATCH", "/api/v1/images/work/versions/2",
				     "{\"stage\":\"deployed\"}", NULL),
			 204);
	client_close(&device);
	free(read);
}

#define TRACE_PATH "/api/v1/device/images/work/versions/1/trace"

static void a_boot_trace_comes_from_a_testing_device_or_an_author(void **state)
{
	struct client device;
	char path[128];

	fixture_enrol(&fixture, &device, "alice", "pc-trace");
	assert_int_equal(client_call(&device, "GET", TRACE_PATH, NULL, NULL), 404);
	assert_int_equal(client_call(&device, "PUT", TRACE_PATH, "0 64\n", NULL), 403);
	snprintf(path, sizeof(path), "/api/v1/devices/%s", device.device);
	assert_int_equal(client_call(&fixture.admin, "PATCH", path, "{\"ring\":\"test\"}", NULL),
			 204);
	assert_int_equal(client_call(&device, "PUT", TRACE_PATH, "<script>\n", NULL), 422);
	assert_int_equal(client_call(&device, "PUT", TRACE_PATH, "0 64", NULL), 422);
	assert_int_equal(client_call(&device, "PUT", TRACE_PATH, "0 64\n", NULL), 204);
	/* The first stays, until an author sets another. */
	assert_int_equal(client_call(&device, "PUT", TRACE_PATH, "64 64\n", NULL), 204);
	assert_int_equal(client_call(&device, "GET", TRACE_PATH, NULL, NULL), 200);
	assert_string_equal(device.body, "0 64\n");
	assert_int_equal(client_call(&fixture.admin, "PUT", "/api/v1/images/work/versions/1/trace",
				     "128 64\n", NULL),
			 204);
	assert_int_equal(client_call(&device, "GET", TRACE_PATH, NULL, NULL), 200);
	assert_string_equal(device.body, "128 64\n");
	assert_int_equal(client_call(&device, "PUT",
				     "/api/v1/device/images/work/versions/99/trace", "0 64\n", NULL),
			 404);
	client_close(&device);
}

static void without_its_certificate_a_device_is_nobody(void **state)
{
	struct client device;
	char *csr;

	client_open(&device, fixture.server->port, authority_ca(fixture.server->authority));
	assert_int_equal(client_call(&device, "GET", "/api/v1/device/state", NULL, NULL), 401);
	assert_string_equal(client_problem(&device, text), "no-certificate");
	/* The server's own certificate and key are no device's. */
	client_request(&device.key, &csr);
	free(csr);
	free(device.key);
	device.certificate = strdup(authority_server_certificate(fixture.server->authority));
	device.key = strdup(authority_server_key(fixture.server->authority));
	assert_int_equal(client_call(&device, "GET", "/api/v1/device/state", NULL, NULL), 401);
	assert_string_equal(client_problem(&device, text), "unknown-certificate");
	client_close(&device);
}

static void a_renewed_certificate_works_and_the_one_before_too(void **state)
{
	struct client device, renewed;
	char *csr, *body;

	fixture_enrol(&fixture, &device, NULL, "pc-renew");
	client_open(&renewed, device.port, device.ca);
	client_request(&renewed.key, &csr);
	/* Twice with the same one: the first answer may have been lost. */
	for (int i = 0; i < 2; i++) {
		json_t *object = json_pack("{s:s}", "csr", csr), *reply;

		body = json_dumps(object, 0);
		assert_int_equal(
		    client_call(&device, "POST", "/api/v1/device/certificate", body, NULL), 201);
		reply = client_json(&device);
		free(renewed.certificate);
		renewed.certificate =
		    strdup(json_string_value(json_object_get(reply, "certificate")));
		json_decref(reply);
		json_decref(object);
		free(body);
	}
	assert_int_equal(client_call(&device, "GET", "/api/v1/device/commands", NULL, NULL), 200);
	assert_int_equal(client_call(&renewed, "GET", "/api/v1/device/commands", NULL, NULL), 200);
	free(csr);
	client_close(&renewed);
	client_close(&device);
}

static void locking_ends_leases_and_a_wipe_needs_two_officers(void **state)
{
	static const char ask[] = "{\"serial\":0,\"powered_seconds\":0,\"starts\":0}";
	struct state *read = malloc(sizeof(*read));
	struct dsse_envelope envelope;
	struct lease_counters counters = {0, 0};
	struct lease_account account;
	struct memory memory;
	struct client device;
	char path[128], *body;

	fixture_enrol(&fixture, &device, "alice", "pc-2");
	fixture_memory(&fixture, device.device, &memory);
	snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", device.device);
	assert_int_equal(client_call(&device, "POST", "/api/v1/device/lease", ask, NULL), 201);
	assert_int_equal(dsse_parse(device.body, device.body_bytes, &envelope), 0);
	assert_int_equal(memory_accept_lease(&memory, &envelope, &counters, &account), 0);
	dsse_release(&envelope);
	/* Its answer got lost: the same again gives the same lease. */
	assert_int_equal(client_call(&device, "POST", "/api/v1/device/lease", ask, NULL), 201);
	assert_int_equal(dsse_parse(device.body, device.body_bytes, &envelope), 0);
	assert_int_equal(memory_accept_lease(&memory, &envelope, &counters, &account), -ESTALE);
	dsse_release(&envelope);
	assert_int_equal(client_call(&device, "POST", "/api/v1/device/lease",
				     "{\"serial\":1,\"powered_seconds\":5,\"starts\":1}", NULL),
			 201);
	assert_int_equal(client_call(&fixture.admin, "POST", path, "{\"kind\":\"lock\"}", NULL),
			 201);
	assert_int_equal(client_call(&device, "POST", "/api/v1/device/lease", ask, NULL), 403);
	assert_string_equal(client_problem(&device, text), "lease-refused");
	assert_int_equal(fixture_state(&device, &memory, read), 0);
	assert_int_equal(read->status, STATE_LOCKED);
	assert_int_equal(read->command, 1);
	body = fixture_order(&fixture, device.device, 2, 1, false);
	assert_int_equal(client_call(&fixture.admin, "POST", path, body, NULL), 403);
	assert_string_equal(client_problem(&fixture.admin, text), "officers-missing");
	free(body);
	body = fixture_order(&fixture, "d-other", 2, 2, false);
	assert_int_equal(client_call(&fixture.admin, "POST", path, body, NULL), 422);
	free(body);
	body = fixture_order(&fixture, device.device, 2, 2, false);
	assert_int_equal(client_call(&fixture.admin, "POST", path, body, NULL), 201);
	assert_int_equal(client_call(&fixture.admin, "POST", path, body, NULL), 409);
	free(body);
	/* A revoked device still takes its wipe, and nothing else. */
	assert_int_equal(client_call(&fixture.admin, "POST", path, "{\"kind\":\"revoke\"}", NULL),
			 201);
	assert_int_equal(client_call(&device, "GET", "/api/v1/device/policy", NULL, NULL), 403);
	assert_int_equal(client_call(&device, "GET", "/api/v1/device/commands?after=1", NULL, NULL),
			 200);
	{
		json_t *reply = client_json(&device),
		       *first = json_array_get(json_object_get(reply, "items"), 0);
		char *order_text = json_dumps(json_object_get(first, "order"), 0);
		struct order order;

		assert_string_equal(json_string_value(json_object_get(first, "kind")), "wipe");
		assert_int_equal(dsse_parse(order_text, strlen(order_text), &envelope), 0);
		assert_int_equal(memory_accept_order(&memory, &envelope, 1000, &order), 0);
		dsse_release(&envelope);
		free(order_text);
		json_decref(reply);
	}
	assert_int_equal(client_call(&device, "POST", "/api/v1/device/commands/2",
				     "{\"state\":\"received\"}", NULL),
			 204);
	assert_int_equal(client_call(&device, "POST", "/api/v1/device/commands/2",
				     "{\"state\":\"done\",\"receipt\":\"AAAA\"}", NULL),
			 204);
	assert_int_equal(
	    client_call(&device, "POST", "/api/v1/device/commands/2", "{\"state\":\"done\"}", NULL),
	    204);
	assert_int_equal(client_call(&device, "POST", "/api/v1/device/commands/2",
				     "{\"state\":\"failed\"}", NULL),
			 409);
	assert_int_equal(client_call(&device, "POST", "/api/v1/device/commands/99",
				     "{\"state\":\"done\"}", NULL),
			 404);
	client_close(&device);
	free(read);
}

static void a_theft_report_releases_a_wipe_signed_in_advance_where_policy_says_so(void **state)
{
	static const char policy_text[] =
	    "{\"type\":\"policy\",\"version\":1,\"expires\":2000000000,"
	    "\"default\":{\"wipe_on_theft\":true},\"groups\":{},\"users\":{},\"devices\":{}}";
	char path[128], *body, *policy;
	struct client device;

	fixture_enrol(&fixture, &device, "alice", "pc-3");
	snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", device.device);
	body = fixture_order(&fixture, device.device, 1, 2, true);
	assert_int_equal(client_call(&fixture.admin, "POST", path, body, NULL), 201);
	free(body);
	assert_int_equal(client_call(&device, "GET", "/api/v1/device/commands", NULL, NULL), 200);
	assert_null(strstr(device.body, "wipe"));
	policy = company_sign_text(&fixture.company, DSSE_TYPE_POLICY, policy_text, KEY_IMAGES);
	assert_int_equal(client_call(&fixture.admin, "PUT", "/api/v1/policy", policy, NULL), 422);
	free(policy);
	policy = company_sign_text(&fixture.company, DSSE_TYPE_POLICY, policy_text, KEY_POLICY);
	assert_int_equal(client_call(&fixture.admin, "PUT", "/api/v1/policy", policy, NULL), 201);
	assert_int_equal(client_call(&fixture.admin, "PUT", "/api/v1/policy", policy, NULL), 409);
	free(policy);
	assert_int_equal(client_call(&fixture.admin, "POST", path, "{\"kind\":\"lost\"}", NULL),
			 201);
	assert_int_equal(client_call(&device, "GET", "/api/v1/device/commands", NULL, NULL), 200);
	assert_non_null(strstr(device.body, "wipe"));
	client_close(&device);
}

static void revert_pins_the_release_before_and_update_lets_go(void **state)
{
	struct state *read = malloc(sizeof(*read));
	struct memory memory;
	struct client device;
	char path[128];

	fixture_enrol(&fixture, &device, "alice", "pc-4");
	fixture_memory(&fixture, device.device, &memory);
	snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", device.device);
	assert_int_equal(client_call(&fixture.admin, "POST", path,
				     "{\"kind\":\"revert\",\"guest\":\"work\"}", NULL),
			 201);
	assert_int_equal(fixture_state(&device, &memory, read), 0);
	assert_int_equal(read->guests[0].release, 1);
	assert_true(read->guests[0].pinned);
	assert_int_equal(client_call(&fixture.admin, "POST", path,
				     "{\"kind\":\"revert\",\"guest\":\"work\"}", NULL),
			 409);
	assert_int_equal(client_call(&fixture.admin, "POST", path, "{\"kind\":\"revert\"}", NULL),
			 422);
	assert_int_equal(client_call(&fixture.admin, "POST", path,
				     "{\"kind\":\"update\",\"guest\":\"work\"}", NULL),
			 201);
	assert_int_equal(fixture_state(&device, &memory, read), 0);
	assert_int_equal(read->guests[0].release, 2);
	client_close(&device);
	free(read);
}

static void letting_go_of_a_revert_leaves_what_administrators_assigned(void **state)
{
	struct state *read = malloc(sizeof(*read));
	struct memory memory;
	struct client device;
	char path[128], body[256];

	fixture_enrol(&fixture, &device, "alice", "pc-assigned");
	fixture_memory(&fixture, device.device, &memory);
	snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", device.device);
	snprintf(body, sizeof(body), "{\"image\":\"work\",\"device\":\"%s\",\"release\":2}", device.device);
	assert_int_equal(client_call(&fixture.admin, "POST", "/api/v1/assignments", body, NULL), 201);
	assert_int_equal(client_call(&fixture.admin, "POST", path,
				     "{\"kind\":\"revert\",\"guest\":\"work\"}", NULL),
			 201);
	assert_int_equal(fixture_state(&device, &memory, read), 0);
	assert_int_equal(read->guests[0].release, 1);
	assert_int_equal(client_call(&fixture.admin, "POST", path,
				     "{\"kind\":\"update\",\"guest\":\"work\"}", NULL),
			 201);
	assert_int_equal(fixture_state(&device, &memory, read), 0);
	/* Not only the newest, which the group's assignment gives too: the device's own pin holds. */
	assert_int_equal(read->guests[0].release, 2);
	assert_true(read->guests[0].pinned);
	/* Only taking the guest from the device ends what was assigned to it alone. */
	assert_int_equal(client_call(&fixture.admin, "POST", path,
				     "{\"kind\":\"remove\",\"guest\":\"work\"}", NULL),
			 201);
	assert_int_equal(fixture_state(&device, &memory, read), 0);
	assert_false(read->guests[0].pinned);
	client_close(&device);
	free(read);
}

/* How many guests the device's state names. */
static size_t guests_of(struct client *device, struct memory *memory)
{
	struct state *read = malloc(sizeof(*read));
	size_t count;

	assert_int_equal(fixture_state(device, memory, read), 0);
	count = read->guest_count;
	free(read);
	return count;
}

static long take(struct client *device, bool take)
{
	return client_call(device, "POST", "/api/v1/device/appliances",
			   take ? "{\"image\":\"work\",\"take\":true}"
				: "{\"image\":\"work\",\"take\":false}",
			   NULL);
}

static void giving_back_ends_what_was_taken_and_nothing_else(void **state)
{
	static const char policy_text[] =
	    "{\"type\":\"policy\",\"version\":2,\"expires\":2000000000,"
	    "\"default\":{\"own_images\":true},\"groups\":{},\"users\":{},\"devices\":{}}";
	char *policy = company_sign_text(&fixture.company, DSSE_TYPE_POLICY, policy_text, KEY_POLICY);
	struct memory memory;
	struct client device;
	char body[160];

	assert_int_equal(client_call(&fixture.admin, "PUT", "/api/v1/policy", policy, NULL), 201);
	free(policy);
	assert_int_equal(client_call(&fixture.admin, "POST", "/api/v1/images/work/offer",
				     "{\"offered\":true}", NULL),
			 204);
	fixture_enrol(&fixture, &device, "bob", "pc-taker");
	fixture_memory(&fixture, device.device, &memory);
	assert_int_equal(guests_of(&device, &memory), 0);
	assert_int_equal(take(&device, true), 204);
	assert_int_equal(take(&device, true), 204);
	assert_int_equal(guests_of(&device, &memory), 1);
	assert_int_equal(take(&device, false), 204);
	assert_int_equal(guests_of(&device, &memory), 0);
	/* An administrator assigns the same image to the same device: that stays. */
	assert_int_equal(take(&device, true), 204);
	snprintf(body, sizeof(body), "{\"image\":\"work\",\"device\":\"%s\"}", device.device);
	assert_int_equal(client_call(&fixture.admin, "POST", "/api/v1/assignments", body, NULL), 201);
	assert_int_equal(take(&device, false), 204);
	assert_int_equal(guests_of(&device, &memory), 1);
	/* And the other way round: what a user took outlives the administrator's assignment. */
	assert_int_equal(take(&device, true), 204);
	snprintf(body, sizeof(body), "/api/v1/assignments/%lld", client_number(&fixture.admin, "id"));
	assert_int_equal(client_call(&fixture.admin, "DELETE", body, NULL, NULL), 204);
	assert_int_equal(guests_of(&device, &memory), 1);
	assert_int_equal(take(&device, false), 204);
	assert_int_equal(guests_of(&device, &memory), 0);
	client_close(&device);
}

static void roles_of_accounts_are_kept_apart(void **state)
{
	struct client help;
	struct client device;
	char path[128], tag[600];

	fixture_enrol(&fixture, &device, NULL, "pc-5");
	assert_int_equal(
	    client_call(&fixture.admin, "POST", "/api/v1/accounts",
			"{\"name\":\"help\",\"role\":\"helpdesk\",\"password\":\"one time only\"}",
			NULL),
	    201);
	client_open(&help, fixture.server->port, authority_ca(fixture.server->authority));
	assert_int_equal(client_call(&help, "POST", "/api/v1/sessions",
				     "{\"name\":\"help\",\"password\":\"wrong one\"}", NULL),
			 401);
	assert_int_equal(client_call(&help, "POST", "/api/v1/sessions",
				     "{\"name\":\"help\",\"password\":\"one time only\"}", NULL),
			 201);
	strcpy(help.token, client_text(&help, "token", text));
	/* A one-time password opens one door. */
	assert_int_equal(client_call(&help, "GET", "/api/v1/devices", NULL, NULL), 403);
	assert_int_equal(client_call(&help, "POST", "/api/v1/me/password",
				     "{\"old\":\"one time only\",\"new\":\"short\"}", NULL),
			 422);
	assert_int_equal(client_call(&help, "POST", "/api/v1/me/password",
				     "{\"old\":\"one time only\",\"new\":\"longer than twelve\"}",
				     NULL),
			 204);
	assert_int_equal(client_call(&help, "GET", "/api/v1/devices", NULL, NULL), 401);
	assert_int_equal(client_call(&help, "POST", "/api/v1/sessions",
				     "{\"name\":\"help\",\"password\":\"longer than twelve\"}",
				     NULL),
			 201);
	strcpy(help.token, client_text(&help, "token", text));
	assert_int_equal(client_call(&help, "GET", "/api/v1/devices", NULL, NULL), 200);
	assert_int_equal(client_call(&help, "POST", "/api/v1/users", "{\"name\":\"x\"}", NULL),
			 403);
	assert_int_equal(client_call(&help, "GET", "/api/v1/audit", NULL, NULL), 403);
	snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", device.device);
	assert_int_equal(client_call(&help, "POST", path, "{\"kind\":\"lock\"}", NULL), 201);
	assert_int_equal(client_call(&help, "POST", path, "{\"kind\":\"unlock\"}", NULL), 403);
	assert_int_equal(
	    client_call(&fixture.admin, "DELETE", "/api/v1/accounts/admin", NULL, NULL), 409);
	assert_string_equal(client_problem(&fixture.admin, text), "last-owner");
	/* Two people change the same thing: the second is told. */
	assert_int_equal(client_call(&fixture.admin, "GET", "/api/v1/groups/sales", NULL, NULL),
			 200);
	snprintf(tag, sizeof(tag), "If-Match: %s", client_header(&fixture.admin, "ETag", text));
	assert_int_equal(client_call(&fixture.admin, "PATCH", "/api/v1/groups/sales",
				     "{\"description\":\"a\"}", tag),
			 204);
	assert_int_equal(client_call(&fixture.admin, "PATCH", "/api/v1/groups/sales",
				     "{\"description\":\"b\"}", tag),
			 412);
	client_close(&help);
	client_close(&device);
}

static void the_first_password_is_made_anew_until_somebody_chose_another(void **state)
{
	struct server_options options;
	struct server *server;
	char directory[300], before[SERVER_PASSWORD_MAX], problem[600], body[200];
	struct client client;

	(void)state;
	options = fixture.options;
	snprintf(directory, sizeof(directory), "%s/other", fixture.directory);
	options.data = directory;
	/* The start that makes the account fails afterwards, and nobody reads its password. */
	options.listen = "nowhere";
	assert_int_not_equal(server_open(&options, &server, problem, sizeof(problem)), 0);
	options.listen = "127.0.0.1:0";
	assert_int_equal(server_open(&options, &server, problem, sizeof(problem)), 0);
	assert_string_not_equal(server->first_password, "");
	strcpy(before, server->first_password);
	server_close(server);
	assert_int_equal(server_open(&options, &server, problem, sizeof(problem)), 0);
	client_open(&client, server->port, authority_ca(server->authority));
	snprintf(body, sizeof(body), "{\"name\":\"admin\",\"password\":\"%s\"}", before);
	assert_int_equal(client_call(&client, "POST", "/api/v1/sessions", body, NULL), 401);
	snprintf(body, sizeof(body), "{\"name\":\"admin\",\"password\":\"%s\"}",
		 server->first_password);
	assert_int_equal(client_call(&client, "POST", "/api/v1/sessions", body, NULL), 201);
	client_close(&client);
	server_close(server);
	/* The fixture's administrator has chosen one. */
	fixture_restart(&fixture);
	assert_string_equal(fixture.server->first_password, "");
}

static void what_does_not_fit_is_refused_with_a_reason(void **state)
{
	static const struct {
		const char *body;
		long status;
		const char *code;
	} cases[] = {{"{", 400, "no-json"},
		     {"[]", 422, "bad-field"},
		     {"{\"name\":\"a\",\"name\":\"b\"}", 400, "no-json"},
		     {"{\"name\":\"a\",\"colour\":\"b\"}", 422, "bad-field"},
		     {"{\"name\":7}", 422, "bad-field"},
		     {"{}", 422, "bad-field"},
		     {"{\"name\":\"sales\"}", 409, "conflict"}};
	char *long_body = malloc(20000);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(
		    client_call(&fixture.admin, "POST", "/api/v1/groups", cases[i].body, NULL),
		    cases[i].status);
		assert_string_equal(client_problem(&fixture.admin, text), cases[i].code);
		assert_string_equal(client_header(&fixture.admin, "Content-Type", text),
				    "application/problem+json");
	}
	memset(long_body, ' ', 19999);
	long_body[19999] = 0;
	assert_int_equal(client_call(&fixture.admin, "POST", "/api/v1/groups", long_body, NULL),
			 413);
	free(long_body);
	assert_int_equal(client_call(&fixture.admin, "GET", "/api/v1/nothing", NULL, NULL), 404);
	assert_int_equal(
	    client_call(&fixture.admin, "POST", "/api/v1/users/import", "good\n\"open", NULL), 422);
	assert_int_equal(client_call(&fixture.admin, "GET", "/api/v1/users/good", NULL, NULL), 404);
}

static void long_lists_come_in_pages(void **state)
{
	char path[700];
	json_t *page;

	assert_int_equal(client_call(&fixture.admin, "POST", "/api/v1/users/import",
				     "u1\nu2,Two\nu3,,,sales extra\n", NULL),
			 200);
	assert_int_equal(client_number(&fixture.admin, "imported"), 3);
	assert_int_equal(client_call(&fixture.admin, "GET", "/api/v1/users?limit=2", NULL, NULL),
			 200);
	page = client_json(&fixture.admin);
	assert_int_equal(json_array_size(json_object_get(page, "items")), 2);
	json_decref(page);
	snprintf(path, sizeof(path), "/api/v1/users?limit=500&after=%s",
		 client_text(&fixture.admin, "next", text));
	assert_int_equal(client_call(&fixture.admin, "GET", path, NULL, NULL), 200);
	assert_null(strstr(fixture.admin.body, "\"next\""));
	assert_non_null(strstr(fixture.admin.body, "\"u3\""));
}

static void the_server_speaks_of_its_health(void **state)
{
	assert_int_equal(client_call(&fixture.admin, "GET", "/healthz", NULL, NULL), 200);
	assert_int_equal(client_call(&fixture.admin, "GET", "/readyz", NULL, NULL), 200);
	assert_int_equal(client_call(&fixture.admin, "GET", "/metrics", NULL, NULL), 200);
	assert_non_null(strstr(fixture.admin.body, "bulkhead_devices "));
	assert_non_null(strstr(fixture.admin.body, "# EOF\n"));
	assert_int_equal(client_call(&fixture.admin, "GET", "/api/v1/openapi.json", NULL, NULL),
			 200);
}

static void the_audit_log_is_one_chain_that_survives_a_restart(void **state)
{
	struct audit_head head = {0}, named;
	json_t *page, *item;
	char next[512] = "0", path[600];
	size_t index;

	fixture_restart(&fixture);
	do {
		snprintf(path, sizeof(path), "/api/v1/audit?limit=7&after=%s", next);
		assert_int_equal(client_call(&fixture.admin, "GET", path, NULL, NULL), 200);
		client_text(&fixture.admin, "next", next);
		page = client_json(&fixture.admin);
		json_array_foreach(json_object_get(page, "items"), index, item)
		{
			const char *entry = json_string_value(json_object_get(item, "entry"));

			assert_int_equal(audit_follow(&head, entry, strlen(entry)), 0);
		}
		json_decref(page);
	} while (*next);
	assert_true(head.sequence > 20);
	assert_int_equal(client_call(&fixture.admin, "GET", "/api/v1/audit/head", NULL, NULL), 200);
	assert_int_equal(audit_head_verify(client_text(&fixture.admin, "head", text),
					   &fixture.company.roles, &named),
			 0);
	assert_int_equal(audit_compare(&head, &named), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_token_enrols_once_and_a_lost_answer_costs_nothing),
	    cmocka_unit_test(a_bad_request_leaves_the_token_good),
	    cmocka_unit_test(a_pc_that_waits_is_let_in_by_a_person),
	    cmocka_unit_test(a_poll_gives_a_signed_state_and_costs_nothing_while_nothing_changed),
	    cmocka_unit_test(rings_decide_who_gets_a_version),
	    cmocka_unit_test(a_boot_trace_comes_from_a_testing_device_or_an_author),
	    cmocka_unit_test(without_its_certificate_a_device_is_nobody),
	    cmocka_unit_test(a_renewed_certificate_works_and_the_one_before_too),
	    cmocka_unit_test(locking_ends_leases_and_a_wipe_needs_two_officers),
	    cmocka_unit_test(a_theft_report_releases_a_wipe_signed_in_advance_where_policy_says_so),
	    cmocka_unit_test(revert_pins_the_release_before_and_update_lets_go),
	    cmocka_unit_test(letting_go_of_a_revert_leaves_what_administrators_assigned),
	    cmocka_unit_test(giving_back_ends_what_was_taken_and_nothing_else),
	    cmocka_unit_test(roles_of_accounts_are_kept_apart),
	    cmocka_unit_test(the_first_password_is_made_anew_until_somebody_chose_another),
	    cmocka_unit_test(what_does_not_fit_is_refused_with_a_reason),
	    cmocka_unit_test(long_lists_come_in_pages),
	    cmocka_unit_test(the_server_speaks_of_its_health),
	    cmocka_unit_test(the_audit_log_is_one_chain_that_survives_a_restart),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
