/* descriptor_test.c: a guest's descriptor has one spelling and holds for one key. */
#include "trust/descriptor.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

static const struct descriptor usual = {
    .memory_mib = 2048, .processors = 2, .has_network = true, .measurement = {0xab, 0xcd}};

static void make_key(struct signing_key *key)
{
	assert_int_equal(signing_key_start(), 0);
	assert_int_equal(signing_key_generate(key, "images"), 0);
}

static void what_was_signed_is_what_is_read(void **state)
{
	static const char begins[] =
	    "memory 2048\nprocessors 2\nnetwork yes\nmeasurement abcd00";
	char text[DESCRIPTOR_TEXT_MAX];
	struct descriptor read;
	struct signing_key key;

	(void)state;
	make_key(&key);
	assert_int_equal(descriptor_sign(&usual, &key, text), 0);
	assert_int_equal(strncmp(text, begins, strlen(begins)), 0);
	assert_int_equal(descriptor_verify(text, strlen(text), &key.public_half, &read), 0);
	assert_memory_equal(&read, &usual, sizeof(read));
	assert_int_equal(descriptor_read(text, strlen(text), &read), 0);
}

static void another_key_or_any_other_byte_is_refused(void **state)
{
	char text[DESCRIPTOR_TEXT_MAX];
	struct signing_key key, other;
	struct descriptor read;
	size_t size;

	(void)state;
	make_key(&key);
	make_key(&other);
	assert_int_equal(descriptor_sign(&usual, &key, text), 0);
	size = strlen(text);
	assert_int_equal(descriptor_verify(text, size, &other.public_half, &read), -EKEYREJECTED);
	for (size_t i = 0; i < size; i++) {
		char kept = text[i];

		for (int bit = 0; bit < 8; bit++) {
			text[i] = (char)(kept ^ (1 << bit));
			assert_int_not_equal(
			    descriptor_verify(text, size, &key.public_half, &read), 0);
		}
		text[i] = kept;
		assert_int_equal(descriptor_read(text, i, &read), -EBADMSG);
	}
	text[size] = '\n';
	assert_int_equal(descriptor_read(text, size + 1, &read), -EBADMSG);
}

static void other_spellings_of_the_same_are_refused(void **state)
{
	static const char *const heads[] = {
	    "memory 02048\nprocessors 2\nnetwork yes\n", "memory 2048\nprocessors +2\nnetwork yes\n",
	    "memory 2048 processors 2 network yes\n",	  "memory  2048\nprocessors 2\nnetwork yes\n",
	    "memory 2048\nprocessors 2\nnetwork YES\n",  "\nmemory 2048\nprocessors 2\nnetwork yes\n",
	    "memory 4294969344\nprocessors 2\nnetwork yes\n"};
	char text[DESCRIPTOR_TEXT_MAX], changed[2 * DESCRIPTOR_TEXT_MAX];
	struct signing_key key;
	struct descriptor read;

	(void)state;
	make_key(&key);
	assert_int_equal(descriptor_sign(&usual, &key, text), 0);
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		strcpy(changed, heads[i]);
		strcat(changed, strstr(text, "measurement"));
		assert_int_equal(descriptor_verify(changed, strlen(changed), &key.public_half, &read),
				 -EBADMSG);
	}
}

static void machines_that_no_monitor_makes_are_not_signed(void **state)
{
	static const struct descriptor wrong[] = {{.memory_mib = 62, .processors = 1},
						  {.memory_mib = 65538, .processors = 1},
						  {.memory_mib = 65, .processors = 1},
						  {.memory_mib = 64, .processors = 0},
						  {.memory_mib = 64, .processors = 17}};
	char text[DESCRIPTOR_TEXT_MAX];
	struct signing_key key;

	(void)state;
	make_key(&key);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(descriptor_sign(&wrong[i], &key, text), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_signed_is_what_is_read),
	    cmocka_unit_test(another_key_or_any_other_byte_is_refused),
	    cmocka_unit_test(other_spellings_of_the_same_are_refused),
	    cmocka_unit_test(machines_that_no_monitor_makes_are_not_signed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
