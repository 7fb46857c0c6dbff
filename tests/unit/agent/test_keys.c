/* Recovery phrases, sealed copies, and keyd's messages and calls. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"
#include "key_copy.h"
#include "keyd_guest.h"
#include "keyd_serve.h"
#include "passed_file.h"
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
	char why[PHRASE_WHY_BYTES];
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
	assert_false(phrase_holds(text, why));
	assert_non_null(strstr(why, "word 2 is none"));
	assert_false(phrase_holds("babab babab", why));
	assert_non_null(strstr(why, "not the nine words"));
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

static int serve(struct vault *vault, uid_t user)
{
	const struct keyd_peer peer = {.user = user};

	assert_int_equal(keyd_wire_end(&call), 0);
	keyd_serve(vault, &access_of_7, &peer, call.bytes, call.size_bytes, &answer);
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

/** Sends a message with `count` copies of a file beside it; what arrives with it is returned. */
static int pass_files(int socket, int other, unsigned int count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {0};
	unsigned char byte = 1;
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	int passed;

	if (count > 0) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		*CMSG_FIRSTHDR(&message) = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
							    .cmsg_len = CMSG_LEN(count * sizeof(int))};
		for (unsigned int i = 0; i < count; i++)
			memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)) + i * sizeof(int), &socket, sizeof(int));
	}
	assert_int_equal(sendmsg(socket, &message, 0), 1);
	assert_int_equal(passed_file_receive(other, &byte, 1, &passed), 1);
	return passed;
}

static int open_files(void)
{
	int count = 0;

	for (int file = 0; file < 256; file++)
		count += fcntl(file, F_GETFD) >= 0;
	return count;
}

static void one_file_comes_with_a_message_and_no_more_stay_open(void **state)
{
	int ends[2], before, passed;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	before = open_files();
	assert_int_equal(pass_files(ends[0], ends[1], 0), -1);
	passed = pass_files(ends[0], ends[1], 1);
	assert_true(passed >= 0);
	assert_int_equal(fcntl(passed, F_GETFD), FD_CLOEXEC);
	close(passed);
	passed = pass_files(ends[0], ends[1], 2);
	if (passed >= 0)
		close(passed);
	assert_int_equal(open_files(), before);
	close(ends[0]);
	assert_int_equal(passed_file_receive(ends[1], ends, sizeof(ends), &passed), 0);
	close(ends[1]);
}

static void a_file_that_is_no_guest_measures_as_nothing(void **state)
{
	struct bulkhead_measurement measurement;
	int device = keyd_guest_open("/dev/null");

	assert_true(device >= 0); /* a device, but not the hypervisor's */
	assert_true(keyd_guest_measure(device, 0, &measurement) < 0);
	assert_int_equal(keyd_guest_measure(device, -1, &measurement), -EINVAL);
	assert_int_equal(keyd_guest_measure(-1, 0, &measurement), -EINVAL);
	close(device);
	assert_int_equal(keyd_guest_open("/proc/self/exe"), -ELOOP); /* nor through a link */
	assert_int_equal(keyd_guest_open("/etc/passwd"), -ENODEV);
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
	    cmocka_unit_test(one_file_comes_with_a_message_and_no_more_stay_open),
	    cmocka_unit_test(a_file_that_is_no_guest_measures_as_nothing),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
