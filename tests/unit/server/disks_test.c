/* disks_test.c: what the real server keeps of users' disks and of packs: backups, writers, copies of keys, ranges. */
#include "fixture.h"
#include "unit.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

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

/** Sends a backup without packs. Returns its branch. */
static const char *send_backup(struct client *device, int epoch, int parent, const char *manifest)
{
	char body[256];

	snprintf(body, sizeof(body),
		 "{\"epoch\":%d,\"parent\":%d,\"label\":\"frozen\",\"manifest\":\"%s\","
		 "\"packs\":[]}",
		 epoch, parent, manifest);
	assert_int_equal(
	    client_call(device, "POST", "/api/v1/device/disks/alice-drill/backups", body, NULL),
	    201);
	return client_text(device, "branch", text);
}

static void a_database_that_is_an_older_copy_believes_the_disks_writer(void **state)
{
	struct client writer, other;

	fixture_enrol(&fixture, &writer, "alice", "pc-drill-1");
	fixture_enrol(&fixture, &other, "alice", "pc-drill-2");
	assert_int_equal(client_call(&writer, "POST", "/api/v1/device/disks",
				     "{\"disk\":\"alice-drill\"}", NULL),
			 201);
	assert_string_equal(send_backup(&writer, 1, 0, "AAAA"), "main");
	/* It knows of backups up to 7, the database of one. */
	assert_string_equal(send_backup(&writer, 1, 7, "BBBB"), "main");
	assert_int_equal(client_number(&writer, "number"), 8);
	assert_string_equal(send_backup(&writer, 1, 8, "CCCC"), "main");
	/* Who is not the writer is not believed, nor is a leap that no old copy explains. */
	assert_string_equal(send_backup(&other, 1, 20, "DDDD"), "side");
	assert_string_equal(send_backup(&writer, 1, 2000000000, "EEEE"), "side");
	assert_string_equal(send_backup(&other, 5000, 0, "FFFF"), "side");
	/* The other became the writer after the copy was made. */
	assert_string_equal(send_backup(&other, 2, 30, "GGGG"), "main");
	assert_string_equal(send_backup(&writer, 1, 9, "HHHH"), "side");
	client_close(&writer);
	client_close(&other);
}

static void put_part(struct client *device, const char *pack, const char *bytes, const char *range,
		     const char *hash, long expected)
{
	char path[256], range_header[100], hash_header[120];

	snprintf(path, sizeof(path), "/api/v1/device/disks/alice-work/packs/%s", pack);
	snprintf(range_header, sizeof(range_header), "Content-Range: %s", range);
	snprintf(hash_header, sizeof(hash_header), "Bulkhead-SHA-256: %s", hash);
	assert_int_equal(
	    client_send(device, "PUT", path, bytes, strlen(bytes), range_header, hash_header),
	    expected);
}

static void backups_are_appended_and_a_lost_pc_writes_beside(void **state)
{
	static const char pack[] =
	    "00000000000000000000000000000000000000000000000000000000000000aa";
	struct client first, second, other;
	char hash[65], body[512], path[256];
	uint8_t digest[32];

	crypto_hash_sha256(digest, (const uint8_t *)"0123456789", 10);
	sodium_bin2hex(hash, sizeof(hash), digest, 32);
	fixture_enrol(&fixture, &first, "alice", "pc-6");
	fixture_enrol(&fixture, &second, "alice", "pc-7");
	fixture_enrol(&fixture, &other, "bob", "pc-8");
	assert_int_equal(
	    client_call(&first, "POST", "/api/v1/device/disks", "{\"disk\":\"alice-work\"}", NULL),
	    201);
	assert_int_equal(
	    client_call(&first, "POST", "/api/v1/device/disks", "{\"disk\":\"alice-work\"}", NULL),
	    201);
	assert_int_equal(
	    client_call(&other, "POST", "/api/v1/device/disks", "{\"disk\":\"alice-work\"}", NULL),
	    409);
	snprintf(body, sizeof(body),
		 "{\"epoch\":1,\"parent\":0,\"label\":\"frozen\",\"manifest\":\"AAECAwA=\","
		 "\"packs\":[\"%s\"]}",
		 pack);
	assert_int_equal(
	    client_call(&first, "POST", "/api/v1/device/disks/alice-work/backups", body, NULL),
	    409);
	assert_string_equal(client_problem(&first, text), "packs-missing");
	/* By parts, with the connection lost in between; only in order; only with the right hash.
	 */
	put_part(&first, pack, "0123", "bytes 0-3/10", hash, 204);
	put_part(&first, pack, "89", "bytes 8-9/10", hash, 409);
	assert_string_equal(client_header(&first, "Bulkhead-Upload-Offset", text), "4");
	put_part(&first, pack, "x56789", "bytes 4-9/10", hash, 422);
	put_part(&first, pack, "0123", "bytes 0-3/10", hash, 204);
	put_part(&first, pack, "456789", "bytes 4-9/10", hash, 201);
	put_part(&other, pack, "0123456789", "bytes 0-9/10", hash, 404);
	assert_int_equal(
	    client_call(&first, "POST", "/api/v1/device/disks/alice-work/backups", body, NULL),
	    201);
	assert_string_equal(client_text(&first, "branch", text), "main");
	assert_int_equal(
	    client_call(&first, "POST", "/api/v1/device/disks/alice-work/backups", body, NULL),
	    201);
	assert_int_equal(client_number(&first, "number"), 1);
	/* The second PC takes over; what the first still sends is kept aside. */
	assert_int_equal(client_call(&second, "POST", "/api/v1/device/disks/alice-work/epoch",
				     "{\"epoch\":1}", NULL),
			 201);
	assert_int_equal(client_call(&first, "POST", "/api/v1/device/disks/alice-work/epoch",
				     "{\"epoch\":1}", NULL),
			 409);
	strcpy(strstr(body, "\"parent\":0"),
	       "\"parent\":1,\"label\":\"frozen\",\"manifest\":\"BBBB\",\"packs\":[]}");
	assert_int_equal(
	    client_call(&first, "POST", "/api/v1/device/disks/alice-work/backups", body, NULL),
	    201);
	assert_string_equal(client_text(&first, "branch", text), "side");
	memcpy(strstr(body, "\"epoch\":1"), "\"epoch\":2", 9);
	assert_int_equal(
	    client_call(&second, "POST", "/api/v1/device/disks/alice-work/backups", body, NULL),
	    201);
	assert_string_equal(client_text(&second, "branch", text), "main");
	assert_int_equal(
	    client_call(&second, "GET", "/api/v1/device/disks/alice-work/backups/1", NULL, NULL),
	    200);
	assert_int_equal(second.body_bytes, 5);
	assert_memory_equal(second.body, "\0\1\2\3\0", 5);
	assert_int_equal(
	    client_call(&other, "GET", "/api/v1/device/disks/alice-work/backups/1", NULL, NULL),
	    404);
	snprintf(path, sizeof(path), "/api/v1/device/disks/alice-work/packs/%s", pack);
	assert_int_equal(client_call(&second, "GET", path, NULL, "Range: bytes=2-4"), 206);
	assert_memory_equal(second.body, "234", 3);
	assert_int_equal(client_call(&other, "GET", path, NULL, NULL), 404);
	assert_int_equal(client_call(&second, "DELETE", path, NULL, NULL), 405);
	assert_int_equal(client_call(&first, "PUT", "/api/v1/device/keys/alice-work",
				     "{\"copies\":[{\"kind\":\"phrase\",\"data\":\"AAAA\"}]}",
				     NULL),
			 201);
	assert_int_equal(client_call(&second, "GET", "/api/v1/device/keys/alice-work", NULL, NULL),
			 200);
	assert_int_equal(client_number(&second, "version"), 1);
	assert_int_equal(client_call(&other, "GET", "/api/v1/device/keys/alice-work", NULL, NULL),
			 404);
	client_close(&first);
	client_close(&second);
	client_close(&other);
}

static void packs_are_immutable_objects_with_ranges(void **state)
{
	static const char path[] =
	    "/packs/00000000000000000000000000000000000000000000000000000000000000bb";
	static const char put[] =
	    "/api/v1/packs/00000000000000000000000000000000000000000000000000000000000000bb";
	char hash_header[120] = "Bulkhead-SHA-256: ", tag[600];
	struct client anybody;
	uint8_t digest[32];

	crypto_hash_sha256(digest, (const uint8_t *)"abcdefghij", 10);
	sodium_bin2hex(hash_header + strlen(hash_header), 65, digest, 32);
	assert_int_equal(client_call(&fixture.admin, "PUT", put, "abcdefghij", NULL), 400);
	assert_int_equal(client_call(&fixture.admin, "PUT", put, "abcdefghij", hash_header), 201);
	client_open(&anybody, fixture.server->port, authority_ca(fixture.server->authority));
	assert_int_equal(client_call(&anybody, "GET", path, NULL, NULL), 200);
	assert_non_null(strstr(client_header(&anybody, "Cache-Control", text), "immutable"));
	snprintf(tag, sizeof(tag), "If-None-Match: %s", client_header(&anybody, "ETag", text));
	assert_int_equal(client_call(&anybody, "GET", path, NULL, tag), 304);
	assert_int_equal(client_call(&anybody, "GET", path, NULL, "Range: bytes=-3"), 206);
	assert_string_equal(anybody.body, "hij");
	assert_string_equal(client_header(&anybody, "Content-Range", text), "bytes 7-9/10");
	assert_int_equal(client_call(&anybody, "GET", path, NULL, "Range: bytes=10-"), 416);
	assert_int_equal(
	    client_send(&anybody, "GET", path, NULL, 0, "Range: bytes=0-1", "If-Range: \"other\""),
	    200);
	assert_int_equal(client_call(&anybody, "HEAD", path, NULL, NULL), 200);
	assert_string_equal(client_header(&anybody, "Content-Length", text), "10");
	assert_int_equal(client_call(&anybody, "GET", "/packs/nothing", NULL, NULL), 404);
	client_close(&anybody);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_database_that_is_an_older_copy_believes_the_disks_writer),
	    cmocka_unit_test(backups_are_appended_and_a_lost_pc_writes_beside),
	    cmocka_unit_test(packs_are_immutable_objects_with_ranges),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
