/* fixture.c: see fixture.h. */
#include "fixture.h"
#include "unit.h"

#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
	return remove(path);
}

static void start(struct fixture *fixture)
{
	char problem[600] = "";

	if (server_open(&fixture->options, &fixture->server, problem, sizeof(problem)))
		fail_msg("server: %s", problem);
}

/* The roles document with the real server's key in the company's place for it. */
static void publish_roles(struct fixture *fixture)
{
	static const enum company_key roots[] = {KEY_ROOT_1, KEY_ROOT_2};
	struct roles *roles = &fixture->company.roles;
	struct dsse_envelope envelope;
	char *payload, *text;

	company_make(&fixture->company);
	fixture->company.keys[KEY_SERVER] = fixture->server->key;
	for (size_t i = 0; i < roles->key_count; i++)
		if (!strcmp(roles->keys[i].name, "server"))
			roles->keys[i].key = fixture->server->key.public_half;
	roles->roles[ROLE_SERVER].keys[0] = fixture->server->key.public_half;
	roles->expires = INT32_MAX;
	assert_int_equal(roles_write(roles, &payload), 0);
	company_sign(&fixture->company, &envelope, DSSE_TYPE_ROLES, payload, 2, roots);
	assert_int_equal(dsse_write(&envelope, &text), 0);
	assert_int_equal(client_call(&fixture->admin, "PUT", "/api/v1/roles", text, NULL), 201);
	dsse_release(&envelope);
	free(text);
	free(payload);
}

static void log_in(struct fixture *fixture, const char *password)
{
	char body[256], text[512];

	fixture->admin.token[0] = 0;
	snprintf(body, sizeof(body), "{\"name\":\"admin\",\"password\":\"%s\"}", password);
	assert_int_equal(client_call(&fixture->admin, "POST", "/api/v1/sessions", body, NULL), 201);
	strcpy(fixture->admin.token, client_text(&fixture->admin, "token", text));
}

void fixture_open(struct fixture *fixture)
{
	char body[256];

	memset(fixture, 0, sizeof(*fixture));
	curl_global_init(CURL_GLOBAL_DEFAULT);
	snprintf(fixture->directory, sizeof(fixture->directory), "%s/bulkhead-server-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(fixture->directory));
	fixture->options = (struct server_options){.data = fixture->directory,
						   .listen = "127.0.0.1:0",
						   .names = {"127.0.0.1"},
						   .name_count = 1,
						   .threads = 2,
						   .open_calls_per_minute = 1000};
	start(fixture);
	client_open(&fixture->admin, fixture->server->port,
		    authority_ca(fixture->server->authority));
	log_in(fixture, fixture->server->first_password);
	snprintf(body, sizeof(body), "{\"old\":\"%s\",\"new\":\"%s\"}",
		 fixture->server->first_password, FIXTURE_PASSWORD);
	assert_int_equal(client_call(&fixture->admin, "POST", "/api/v1/me/password", body, NULL),
			 204);
	log_in(fixture, FIXTURE_PASSWORD);
	publish_roles(fixture);
}

void fixture_restart(struct fixture *fixture)
{
	server_close(fixture->server);
	start(fixture);
	fixture->admin.port = fixture->server->port;
	fixture->admin.ca = authority_ca(fixture->server->authority);
}

void fixture_close(struct fixture *fixture)
{
	client_close(&fixture->admin);
	server_close(fixture->server);
	nftw(fixture->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void fixture_enrol(struct fixture *fixture, struct client *device, const char *user,
		   const char *name)
{
	char body[256], secret[512];

	if (user)
		snprintf(body, sizeof(body), "{\"user\":\"%s\"}", user);
	else
		strcpy(body, "{}");
	assert_int_equal(
	    client_call(&fixture->admin, "POST", "/api/v1/enrolment-tokens", body, NULL), 201);
	client_text(&fixture->admin, "secret", secret);
	client_open(device, fixture->server->port, authority_ca(fixture->server->authority));
	assert_int_equal(client_enrol(device, secret, name), 201);
}

void fixture_publish(struct fixture *fixture, uint64_t version, uint64_t releases)
{
	struct catalogue *catalogue = calloc(1, sizeof(*catalogue));
	uint8_t manifest[32];
	char path[128], hash[65], name[16], *payload, *text;

	crypto_hash_sha256(manifest, (const uint8_t *)"manifest", 8);
	sodium_bin2hex(hash, sizeof(hash), manifest, sizeof(manifest));
	snprintf(path, sizeof(path), "/api/v1/manifests/%s", hash);
	assert_int_equal(client_call(&fixture->admin, "PUT", path, "manifest", NULL), 201);
	strcpy(catalogue->image, "work");
	catalogue->version = version;
	catalogue->expires = INT32_MAX;
	for (uint64_t i = 1; i <= releases; i++) {
		snprintf(name, sizeof(name), "%u", (unsigned)i);
		catalogue_append(catalogue, name, manifest, 8, 1);
	}
	assert_int_equal(catalogue_write(catalogue, &payload), 0);
	text = company_sign_text(&fixture->company, DSSE_TYPE_CATALOGUE, payload, KEY_IMAGES);
	assert_int_equal(
	    client_call(&fixture->admin, "PUT", "/api/v1/images/work/catalogue", text, NULL), 201);
	for (uint64_t i = 1; i <= releases; i++) {
		snprintf(path, sizeof(path), "/api/v1/images/work/versions/%u", (unsigned)i);
		assert_int_equal(
		    client_call(&fixture->admin, "PATCH", path, "{\"stage\":\"deployed\"}", NULL),
		    204);
	}
	free(text);
	free(payload);
	free(catalogue);
}

char *fixture_order(struct fixture *fixture, const char *device, uint64_t sequence, size_t count,
		    bool hold)
{
	static const enum company_key officers[] = {KEY_OFFICER_1, KEY_OFFICER_2};
	struct order order = {
	    .kind = ORDER_WIPE, .sequence = sequence, .issued = 1, .expires = INT32_MAX};
	struct dsse_envelope envelope;
	char *payload, *text, *body;

	snprintf(order.device, sizeof(order.device), "%s", device);
	strcpy(order.guest, "*");
	assert_int_equal(order_write(&order, &payload), 0);
	company_sign(&fixture->company, &envelope, DSSE_TYPE_ORDER, payload, count, officers);
	assert_int_equal(dsse_write(&envelope, &text), 0);
	assert_true(asprintf(&body, "{\"kind\":\"wipe\",\"hold\":%s,\"order\":%s}",
			     hold ? "true" : "false", text) > 0);
	dsse_release(&envelope);
	free(payload);
	free(text);
	return body;
}

int fixture_state(struct client *device, struct memory *memory, struct state *state)
{
	struct dsse_envelope envelope;
	int status;

	assert_int_equal(client_call(device, "GET", "/api/v1/device/state", NULL, NULL), 200);
	assert_int_equal(dsse_parse(device->body, device->body_bytes, &envelope), 0);
	status = memory_accept_state(memory, &envelope, state);
	dsse_release(&envelope);
	return status;
}

void fixture_memory(struct fixture *fixture, const char *device, struct memory *memory)
{
	company_memory(&fixture->company, memory);
	memset(memory->device, 0, sizeof(memory->device));
	snprintf(memory->device, sizeof(memory->device), "%s", device);
}

void fixture_alice(struct fixture *fixture)
{
	assert_int_equal(
	    client_call(&fixture->admin, "POST", "/api/v1/users", "{\"name\":\"alice\"}", NULL),
	    201);
	assert_int_equal(
	    client_call(&fixture->admin, "POST", "/api/v1/images", "{\"name\":\"work\"}", NULL),
	    201);
	fixture_publish(fixture, 1, 2);
}

void fixture_staff(struct fixture *fixture)
{
	fixture_alice(fixture);
	assert_int_equal(
	    client_call(&fixture->admin, "POST", "/api/v1/groups", "{\"name\":\"sales\"}", NULL),
	    201);
	assert_int_equal(client_call(&fixture->admin, "PUT", "/api/v1/groups/sales/members/alice",
				     NULL, NULL),
			 204);
	assert_int_equal(
	    client_call(&fixture->admin, "POST", "/api/v1/users", "{\"name\":\"bob\"}", NULL), 201);
	assert_int_equal(client_call(&fixture->admin, "POST", "/api/v1/assignments",
				     "{\"image\":\"work\",\"group\":\"sales\"}", NULL),
			 201);
}

long fixture_send_pack(struct client *device, const char *pack, const void *bytes, size_t byte_count)
{
	char path[200], header[120] = "Bulkhead-SHA-256: ";
	uint8_t digest[32];

	crypto_hash_sha256(digest, bytes, byte_count);
	sodium_bin2hex(header + strlen(header), 65, digest, sizeof(digest));
	snprintf(path, sizeof(path), "/api/v1/device/disks/alice-work/packs/%s", pack);
	return client_send(device, "PUT", path, bytes, byte_count, header, NULL);
}
