/* Recovery phrases, sealed copies, and keyd's messages and calls. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"
#include "key_copy.h"
#include "keyd_serve.h"
#include "phrase.h"

static void phrase_reads_back_however_it_is_written(void **state)
{
	unsigned char entropy[16], again[16];
	char text[PHRASE_TEXT_BYTES], loud[PHRASE_TEXT_BYTES + 8] = "  ";
	int wrong;

	for (int round = 0; round < 100; round++) {
		randombytes_buf(entropy, sizeof(entropy));
		phrase_write(entropy, text);
		assert_int_equal(strlen(text), 53);
		for (size_t i = 0; i <= strlen(text); i++)
			loud[i + 2] =
			    text[i] == ' ' ? '-' : (char)(text[i] >= 'a' ? text[i] - 32 : text[i]);
		assert_int_equal(phrase_read(loud, strlen(loud), again, &wrong), 0);
		assert_memory_equal(entropy, again, sizeof(entropy));
	}
}

static void mistyped_phrase_is_noticed(void **state)
{
	unsigned char entropy[16] = {7}, again[16];
	char text[PHRASE_TEXT_BYTES];
	int wrong;

	phrase_write(entropy, text);
	text[6] = text[6] == 'b' ? 'd' : 'b';
	assert_int_equal(phrase_read(text, strlen(text), again, &wrong), -EBADMSG);
	text[7] = 'q';
	assert_int_equal(phrase_read(text, strlen(text), again, &wrong), -EINVAL);
	assert_int_equal(wrong, 2);
	assert_int_equal(phrase_read("babab babab", 11, again, &wrong), -EINVAL);
	assert_int_equal(phrase_read("", 0, again, &wrong), -EINVAL);
}

static void copy_opens_with_its_phrase_and_for_its_disk_only(void **state)
{
	unsigned char key[32], out[32];
	char phrase[PHRASE_TEXT_BYTES], other[PHRASE_TEXT_BYTES];
	struct key_copy copy;

	randombytes_buf(key, sizeof(key));
	phrase_generate(phrase);
	phrase_generate(other);
	assert_int_equal(
	    key_copy_to_phrase(key, "home", phrase, strlen(phrase), KEY_COPY_COST_LEAST, &copy), 0);
	assert_int_equal(
	    key_copy_from_phrase(copy.bytes, copy.size_bytes, "home", phrase, strlen(phrase), out),
	    0);
	assert_memory_equal(key, out, sizeof(key));
	assert_int_equal(
	    key_copy_from_phrase(copy.bytes, copy.size_bytes, "home", other, strlen(other), out),
	    -EKEYREJECTED);
	assert_int_equal(
	    key_copy_from_phrase(copy.bytes, copy.size_bytes, "work", phrase, strlen(phrase), out),
	    -EKEYREJECTED);
	copy.bytes[copy.size_bytes - 1] ^= 1;
	assert_int_equal(
	    key_copy_from_phrase(copy.bytes, copy.size_bytes, "home", phrase, strlen(phrase), out),
	    -EKEYREJECTED);
	assert_int_equal(key_copy_from_phrase(copy.bytes, 3, "home", phrase, strlen(phrase), out),
			 -EBADMSG);
}

static void recovery_needs_every_officer_in_turn(void **state)
{
	unsigned char key[32], out[32], public_keys[2][32], secret_keys[2][32];
	struct key_copy copy, middle, inner;

	randombytes_buf(key, sizeof(key));
	for (int i = 0; i < 2; i++)
		crypto_box_keypair(public_keys[i], secret_keys[i]);
	assert_int_equal(key_copy_to_recipients(key, "home", public_keys[0], 2, &copy), 0);
	assert_int_equal(
	    key_copy_peel(copy.bytes, copy.size_bytes, public_keys[0], secret_keys[0], &middle),
	    -EKEYREJECTED);
	assert_int_equal(
	    key_copy_peel(copy.bytes, copy.size_bytes, public_keys[1], secret_keys[1], &middle), 0);
	assert_int_equal(key_copy_open_inner(&middle, "home", out), -EKEYREJECTED);
	assert_int_equal(
	    key_copy_peel(middle.bytes, middle.size_bytes, public_keys[0], secret_keys[0], &inner),
	    0);
	assert_int_equal(key_copy_open_inner(&inner, "other", out), -EKEYREJECTED);
	assert_int_equal(key_copy_open_inner(&inner, "home", out), 0);
	assert_memory_equal(key, out, sizeof(key));
	assert_int_equal(key_copy_to_recipients(key, "home", public_keys[0], 0, &copy), -EINVAL);
}

static struct vault *own_vault(const char *directory)
{
	struct vault_backend *backend;
	struct vault *vault;
	char error[256];

	assert_int_equal(vault_file_open(directory, NULL, &backend, error, sizeof(error)), 0);
	assert_int_equal(
	    vault_open(directory, VAULT_OF_USER, backend, &vault, error, sizeof(error)), 0);
	vault_set_phrase_cost(vault, KEY_COPY_COST_LEAST);
	return vault;
}

static struct keyd_writer call, answer;
static struct keyd_message got;
static const struct keyd_access access_of_7 = {7, 8};

static int serve(struct vault *vault, uid_t peer)
{
	assert_int_equal(keyd_wire_end(&call), 0);
	keyd_serve(vault, &access_of_7, peer, call.bytes, call.size_bytes, &answer);
	assert_int_equal(keyd_wire_parse(answer.bytes, answer.size_bytes, &got), 0);
	return -(int)got.error;
}

static void sealed_key_is_released_to_the_agent_and_to_nobody_else(void **state)
{
	char directory[64], phrase[PHRASE_TEXT_BYTES];
	unsigned char key[32], blob[128], copy[512], blob_size, copy_size;
	struct vault *vault;

	fixture_directory(directory);
	vault = own_vault(directory);
	phrase_generate(phrase);
	keyd_wire_begin(&call, KEYD_SEAL, 0);
	keyd_wire_add_text(&call, KEYD_TAG_NAME, "personal/home");
	keyd_wire_add_text(&call, KEYD_TAG_SEAL_PHRASE, phrase);
	assert_int_equal(serve(vault, 9), -EACCES);
	assert_false(got.field[KEYD_TAG_BLOB].present);
	assert_int_equal(serve(vault, 8), -EACCES);
	assert_int_equal(serve(vault, 7), 0);
	blob_size = (unsigned char)got.field[KEYD_TAG_BLOB].size_bytes;
	memcpy(blob, got.field[KEYD_TAG_BLOB].bytes, blob_size);
	copy_size = (unsigned char)got.field[KEYD_TAG_COPY_PHRASE].size_bytes;
	memcpy(copy, got.field[KEYD_TAG_COPY_PHRASE].bytes, copy_size);

	keyd_wire_begin(&call, KEYD_RELEASE, 0);
	keyd_wire_add_text(&call, KEYD_TAG_NAME, "personal/home");
	keyd_wire_add(&call, KEYD_TAG_BLOB, blob, blob_size);
	assert_int_equal(serve(vault, 8), -EACCES);
	assert_int_equal(serve(vault, 7), 0);
	assert_int_equal(got.field[KEYD_TAG_KEY].size_bytes, 32);
	memcpy(key, got.field[KEYD_TAG_KEY].bytes, 32);

	/* Lost PC: another vault takes the key in from the phrase's copy. */
	vault_close(vault);
	fixture_remove(directory);
	fixture_directory(directory);
	vault = own_vault(directory);
	keyd_wire_begin(&call, KEYD_SEAL, 0);
	keyd_wire_add_text(&call, KEYD_TAG_NAME, "personal/home");
	keyd_wire_add(&call, KEYD_TAG_COPY, copy, copy_size);
	keyd_wire_add_text(&call, KEYD_TAG_PHRASE, phrase);
	assert_int_equal(serve(vault, 7), 0);
	blob_size = (unsigned char)got.field[KEYD_TAG_BLOB].size_bytes;
	memcpy(blob, got.field[KEYD_TAG_BLOB].bytes, blob_size);
	keyd_wire_begin(&call, KEYD_RELEASE, 0);
	keyd_wire_add_text(&call, KEYD_TAG_NAME, "personal/home");
	keyd_wire_add(&call, KEYD_TAG_BLOB, blob, blob_size);
	assert_int_equal(serve(vault, 7), 0);
	assert_memory_equal(got.field[KEYD_TAG_KEY].bytes, key, 32);

	/* Its owner alone may wipe it. */
	keyd_wire_begin(&call, KEYD_WIPE, 0);
	assert_int_equal(serve(vault, 7), 0);
	keyd_wire_begin(&call, KEYD_RELEASE, 0);
	keyd_wire_add_text(&call, KEYD_TAG_NAME, "personal/home");
	keyd_wire_add(&call, KEYD_TAG_BLOB, blob, blob_size);
	assert_int_equal(serve(vault, 7), -EKEYREVOKED);
	vault_close(vault);
	fixture_remove(directory);
}

static void malformed_messages_are_refused_whole(void **state)
{
	struct keyd_header header = {KEYD_MAGIC, KEYD_VERSION, KEYD_STATE, 0, 0};
	unsigned char bytes[64];
	struct keyd_message message;
	struct keyd_field field = {KEYD_TAG_NAME, 0, 4};

	memcpy(bytes, &header, sizeof(header));
	assert_int_equal(keyd_wire_parse(bytes, sizeof(header), &message), 0);
	assert_int_equal(keyd_wire_parse(bytes, sizeof(header) - 1, &message), -EBADMSG);
	assert_int_equal(keyd_wire_parse(bytes, sizeof(header) + 1, &message), -EBADMSG);
	header.length_bytes = 2 * (sizeof(field) + 4);
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + 16, &field, sizeof(field));
	memcpy(bytes + 28, &field, sizeof(field));
	assert_int_equal(keyd_wire_parse(bytes, 40, &message), -EBADMSG); /* one tag twice */
	field.tag = KEYD_TAG_KEY;
	memcpy(bytes + 28, &field, sizeof(field));
	assert_int_equal(keyd_wire_parse(bytes, 40, &message), 0);
	field.length_bytes = 5;
	memcpy(bytes + 28, &field, sizeof(field));
	assert_int_equal(keyd_wire_parse(bytes, 40, &message), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(phrase_reads_back_however_it_is_written),
	    cmocka_unit_test(mistyped_phrase_is_noticed),
	    cmocka_unit_test(copy_opens_with_its_phrase_and_for_its_disk_only),
	    cmocka_unit_test(recovery_needs_every_officer_in_turn),
	    cmocka_unit_test(sealed_key_is_released_to_the_agent_and_to_nobody_else),
	    cmocka_unit_test(malformed_messages_are_refused_whole),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
