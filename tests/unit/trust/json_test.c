/* json_test.c: strict JSON, key files, tokens, recovery: what is read from strangers as text. */
#include "trust/recovery.h"
#include "trust/signing_key.h"
#include "trust/strict_json.h"
#include "trust/token.h"
#include "unit.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse(const char *text)
{
	json_t *root;
	int status = strict_json_parse(text, strlen(text), 4096, &root);

	if (!status)
		json_decref(root);
	return status;
}

static void what_two_parsers_could_read_differently_is_refused(void **state)
{
	assert_int_equal(parse("{\"a\":1}"), 0);
	assert_int_equal(parse("[1]"), 0);
	assert_int_equal(parse("{\"a\":1,\"a\":2}"), -EBADMSG);
	assert_int_equal(parse("{\"a\":1.5}"), -EBADMSG);
	assert_int_equal(parse("[[1e3]]"), -EBADMSG);
	assert_int_equal(parse("{\"a\":1} x"), -EBADMSG);
	assert_int_equal(parse("{\"a\":\"\\u0000\"}"), -EBADMSG);
	assert_int_equal(parse("{\"a\":\"\xff\"}"), -EBADMSG);
	assert_int_equal(parse("1"), -EBADMSG);
	assert_int_equal(parse(""), -EBADMSG);
}

static void depth_and_size_are_bounded(void **state)
{
	char deep[64], text[5000];

	memset(deep, '[', 17);
	memset(deep + 17, ']', 17);
	deep[34] = 0;
	assert_int_equal(parse(deep), -EMSGSIZE);
	memset(deep, '[', 16);
	memset(deep + 16, ']', 16);
	deep[32] = 0;
	assert_int_equal(parse(deep), 0);
	/* Brackets in strings, and escaped quotes, do not count. */
	assert_int_equal(parse("[\"[[[[[[[[[[[[[[[[[[[[\\\"[[[\"]"), 0);
	memset(text, ' ', sizeof(text));
	text[4999] = 0;
	assert_int_equal(parse(text), -EMSGSIZE);
	assert_int_equal(parse("]]]]"), -EBADMSG);
}

static void a_value_has_one_spelling(void **state)
{
	static const char spelt[] = " {\"b\" : [ 1 ], \"a\": \"x\"} ";
	json_t *root;
	char *text;

	assert_int_equal(strict_json_parse(spelt, strlen(spelt), 100, &root), 0);
	text = strict_json_write(root);
	assert_string_equal(text, "{\"a\":\"x\",\"b\":[1]}");
	free(text);
	json_decref(root);
}

static void fields_are_read_by_kind_and_range(void **state)
{
	static const char *const keys[] = {"s", "n", "b", "h", NULL}, *const few[] = {"s", NULL};
	json_t *root =
	    json_pack("{s:s, s:i, s:s, s:s}", "s", "text", "n", 7, "b", "AAEC", "h", "00ff");
	uint8_t bytes[3], hex[2];
	char text[5], shorter[4];
	int64_t number;

	assert_int_equal(strict_json_string(root, "s", text, sizeof(text)), 0);
	assert_int_equal(strict_json_string(root, "s", shorter, sizeof(shorter)), -EMSGSIZE);
	assert_int_equal(strict_json_string(root, "n", text, sizeof(text)), -EBADMSG);
	assert_int_equal(strict_json_integer(root, "n", 7, 7, &number), 0);
	assert_int_equal(strict_json_integer(root, "n", 8, 9, &number), -EBADMSG);
	assert_int_equal(strict_json_integer(root, "n", 5, 6, &number), -EBADMSG);
	assert_int_equal(strict_json_integer(root, "s", 0, 9, &number), -EBADMSG);
	assert_int_equal(strict_json_bytes(root, "b", bytes, 3), 0);
	assert_int_equal(bytes[2], 2);
	assert_int_equal(strict_json_bytes(root, "b", bytes, 2), -EBADMSG);
	assert_int_equal(strict_json_bytes(root, "h", hex, 2), -EBADMSG);
	assert_int_equal(strict_json_bytes(root, "n", bytes, 3), -EBADMSG);
	assert_int_equal(strict_json_hex(root, "h", hex, 2), 0);
	assert_int_equal(hex[1], 255);
	assert_int_equal(strict_json_hex(root, "s", hex, 2), -EBADMSG);
	assert_int_equal(strict_json_hex(root, "n", hex, 2), -EBADMSG);
	assert_true(strict_json_only_keys(root, keys));
	assert_false(strict_json_only_keys(root, few));
	assert_false(strict_json_only_keys(json_object_get(root, "s"), keys));
	json_decref(root);
}

static void names_keep_out_what_climbs_or_hides(void **state)
{
	assert_true(strict_json_is_name("work-1.2_x@y"));
	assert_false(strict_json_is_name(""));
	assert_false(strict_json_is_name(".."));
	assert_false(strict_json_is_name("-x"));
	assert_false(strict_json_is_name("A"));
	assert_false(strict_json_is_name("a/b"));
	assert_false(strict_json_is_name(
	    "a23456789012345678901234567890123456789012345678901234567890123456"));
}

static void a_key_file_opens_only_with_its_passphrase(void **state)
{
	struct signing_key key, again;
	struct public_key public_half;
	char *text, name[SIGNING_KEY_NAME_MAX];

	assert_int_equal(signing_key_start(), 0);
	assert_int_equal(signing_key_generate(&key, "Bad Name"), -EINVAL);
	assert_int_equal(signing_key_generate(&key, "images"), 0);
	assert_int_equal(signing_key_write(&key, "open sesame", &signing_key_cost_least, &text), 0);
	assert_int_equal(signing_key_read(text, strlen(text), NULL, &again), -ENOKEY);
	assert_int_equal(signing_key_read(text, strlen(text), "wrong", &again), -EKEYREJECTED);
	assert_int_equal(signing_key_read(text, strlen(text), "open sesame", &again), 0);
	assert_memory_equal(&key, &again, sizeof(key));
	assert_int_equal(signing_key_read_public(text, strlen(text), &public_half, name), 0);
	assert_string_equal(name, "images");
	assert_memory_equal(&public_half, &key.public_half, sizeof(public_half));
	assert_int_equal(signing_key_read_public("{}", 2, &public_half, name), -EBADMSG);
	free(text);
}

/* Replaces @from by @to (same length) in a copy of @text and reads it. */
static int read_changed(const char *text, const char *from, const char *to)
{
	struct signing_key key;
	char *copy = strdup(text), *at = strstr(copy, from);
	int status;

	assert_non_null(at);
	memcpy(at, to, strlen(to));
	status = signing_key_read(copy, strlen(copy), "open sesame", &key);
	free(copy);
	return status;
}

static void a_changed_key_file_is_refused(void **state)
{
	struct signing_key key, other;
	char *text, *open_text, *at;

	assert_int_equal(signing_key_generate(&key, "a"), 0);
	assert_int_equal(signing_key_generate(&other, "b"), 0);
	assert_int_equal(signing_key_write(&key, "open sesame", &signing_key_cost_least, &text), 0);
	assert_int_equal(read_changed(text, "bulkhead-key-1", "bulkhead-key-9"), -EBADMSG);
	assert_int_equal(read_changed(text, "ed25519", "ed25518"), -EBADMSG);
	assert_int_equal(read_changed(text, "argon2id-secretbox", "argon2id-secretbot"), -EBADMSG);
	assert_int_equal(read_changed(text, "\"memory\":8192", "\"memory\":9999"), -EKEYREJECTED);
	assert_int_equal(read_changed(text, "\"salt\"", "\"sald\""), -EBADMSG);
	free(text);
	/* Another public half in front of one's own secret. */
	memcpy(&key.public_half, &other.public_half, sizeof(key.public_half));
	assert_int_equal(signing_key_write(&key, NULL, NULL, &open_text), 0);
	assert_int_equal(signing_key_read(open_text, strlen(open_text), NULL, &other), -EBADMSG);
	at = strstr(open_text, "\"protection\":\"none\"");
	memcpy(at, "\"protectiom\":\"none\"", 19);
	assert_int_equal(signing_key_read(open_text, strlen(open_text), NULL, &other), -EBADMSG);
	free(open_text);
}

static void a_key_file_cannot_demand_endless_work(void **state)
{
	static const char dear[] =
	    "{\"format\":\"bulkhead-key-1\",\"kind\":\"ed25519\",\"name\":\"a\","
	    "\"public\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\","
	    "\"protection\":\"argon2id-secretbox\",\"operations\":17,\"memory\":8192,"
	    "\"salt\":\"AAAAAAAAAAAAAAAAAAAAAA==\",\"nonce\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
	    "\"secret\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";
	struct signing_key key;

	assert_int_equal(signing_key_read(dear, strlen(dear), "x", &key), -E2BIG);
}

static void a_token_says_what_it_was_made_of(void **state)
{
	struct token token = {.server = "https://server.example:8443",
			      .roles_version = 3,
			      .secret = "abc"},
		     again;
	char text[TOKEN_TEXT_MAX], spaced[TOKEN_TEXT_MAX + 8];

	token.ca[0] = 1;
	token.roles[31] = 2;
	assert_int_equal(token_write(&token, text), 0);
	snprintf(spaced, sizeof(spaced), " \n%s\r\n", text);
	assert_int_equal(token_read(spaced, &again), 0);
	assert_memory_equal(&token, &again, sizeof(token));
	snprintf(spaced, sizeof(spaced), "%s x", text);
	assert_int_equal(token_read(spaced, &again), -EBADMSG);
	assert_int_equal(token_read("bh2-AAAA", &again), -EBADMSG);
	assert_int_equal(token_read("bh1-!!", &again), -EBADMSG);
	assert_int_equal(token_read("bh1-e30", &again), -EBADMSG);
	assert_int_equal(token_read("bh1-AAAA", &again), -EBADMSG);
	memset(spaced, 'A', sizeof(spaced) - 1);
	memcpy(spaced, "bh1-", 4);
	spaced[sizeof(spaced) - 1] = 0;
	assert_int_equal(token_read(spaced, &again), -EMSGSIZE);
	strcpy(token.server, "http://plain");
	assert_int_equal(token_write(&token, text), -EINVAL);
	strcpy(token.server, "https://a b");
	assert_int_equal(token_write(&token, text), -EINVAL);
	strcpy(token.server, "https://a");
	strcpy(token.secret, "");
	assert_int_equal(token_write(&token, text), -EINVAL);
}

static void recovery_needs_every_officer_in_turn(void **state)
{
	uint8_t public_half[2][32], secret_half[2][32], secret[32], sealed[RECOVERY_SEALED_MAX],
	    once[RECOVERY_SEALED_MAX], twice[RECOVERY_SEALED_MAX];
	size_t bytes;

	for (int i = 0; i < 2; i++)
		recovery_generate(public_half[i], secret_half[i]);
	randombytes_buf(secret, sizeof(secret));
	assert_int_equal(
	    recovery_seal(secret, 32, (const uint8_t(*)[32])public_half, 2, sealed, &bytes), 0);
	assert_int_equal(bytes, 32 + 2 * RECOVERY_LAYER_BYTES);
	assert_int_equal(recovery_open_layer(sealed, bytes, public_half[0], secret_half[0], once),
			 -EKEYREJECTED);
	assert_int_equal(recovery_open_layer(sealed, bytes, public_half[1], secret_half[1], once),
			 0);
	assert_int_equal(
	    recovery_open_layer(once, bytes - 48, public_half[1], secret_half[1], twice),
	    -EKEYREJECTED);
	assert_int_equal(
	    recovery_open_layer(once, bytes - 48, public_half[0], secret_half[0], twice), 0);
	assert_memory_equal(twice, secret, 32);
	assert_int_equal(recovery_open_layer(once, 47, public_half[0], secret_half[0], twice),
			 -EINVAL);
	assert_int_equal(
	    recovery_seal(secret, 32, (const uint8_t(*)[32])public_half, 0, sealed, &bytes),
	    -EINVAL);
	assert_int_equal(
	    recovery_seal(secret, 32, (const uint8_t(*)[32])public_half, 5, sealed, &bytes),
	    -EINVAL);
	assert_int_equal(
	    recovery_seal(secret, 257, (const uint8_t(*)[32])public_half, 2, sealed, &bytes),
	    -EINVAL);
	memset(public_half[0], 0, 32);
	assert_int_equal(
	    recovery_seal(secret, 32, (const uint8_t(*)[32])public_half, 2, sealed, &bytes),
	    -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(recovery_needs_every_officer_in_turn),
		cmocka_unit_test(what_two_parsers_could_read_differently_is_refused),
	    cmocka_unit_test(depth_and_size_are_bounded),
	    cmocka_unit_test(a_value_has_one_spelling),
	    cmocka_unit_test(fields_are_read_by_kind_and_range),
	    cmocka_unit_test(names_keep_out_what_climbs_or_hides),
	    cmocka_unit_test(a_key_file_opens_only_with_its_passphrase),
	    cmocka_unit_test(a_changed_key_file_is_refused),
	    cmocka_unit_test(a_key_file_cannot_demand_endless_work),
	    cmocka_unit_test(a_token_says_what_it_was_made_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
