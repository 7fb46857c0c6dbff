/* descriptor_test.c: a guest's descriptor has one spelling and holds for one key; the configuration
 * made from it says nothing else than it. */
#include "trust/guest_config.h"
#include "unit.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct descriptor usual = {
    .memory_mib = 2048, .processors = 2, .has_network = true, .has_guest_agent = true, .measurement = {0xab, 0xcd}};

static void make_key(struct signing_key *key)
{
	assert_int_equal(signing_key_start(), 0);
	assert_int_equal(signing_key_generate(key, "images"), 0);
}

static void what_was_signed_is_what_is_read(void **state)
{
	static const char begins[] =
	    "memory 2048\nprocessors 2\nnetwork yes\nguest-agent yes\nmeasurement abcd00";
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
	    "memory 02048\nprocessors 2\nnetwork yes\nguest-agent yes\n",
	    "memory 2048\nprocessors +2\nnetwork yes\nguest-agent yes\n",
	    "memory 2048 processors 2 network yes guest-agent yes\n",
	    "memory  2048\nprocessors 2\nnetwork yes\nguest-agent yes\n",
	    "memory 2048\nprocessors 2\nnetwork YES\nguest-agent yes\n",
	    "memory 2048\nprocessors 2\nnetwork yes\nguest-agent Yes\n",
	    "memory 2048\nprocessors 2\nguest-agent yes\nnetwork yes\n",
	    "memory 2048\nprocessors 2\nnetwork yes\nguest-agent yes\nguest-agent yes\n",
	    "\nmemory 2048\nprocessors 2\nnetwork yes\nguest-agent yes\n",
	    "memory 4294969344\nprocessors 2\nnetwork yes\nguest-agent yes\n"};
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

/** As they were signed when every guest had a port for its agent. */
static void descriptors_from_before_the_port_was_named_have_it(void **state)
{
	char lines[DESCRIPTOR_TEXT_MAX], message[2 * DESCRIPTOR_TEXT_MAX], digits[65], hex[2 * crypto_sign_BYTES + 1];
	char text[2 * DESCRIPTOR_TEXT_MAX];
	uint8_t signature[crypto_sign_BYTES];
	struct signing_key key;
	struct descriptor read;

	(void)state;
	make_key(&key);
	sodium_bin2hex(digits, sizeof(digits), usual.measurement, sizeof(usual.measurement));
	snprintf(lines, sizeof(lines), "memory 2048\nprocessors 2\nnetwork yes\nmeasurement %s\n", digits);
	snprintf(message, sizeof(message), "bulkhead guest descriptor 2\n%s", lines);
	crypto_sign_detached(signature, NULL, (const uint8_t *)message, strlen(message), key.secret);
	sodium_bin2hex(hex, sizeof(hex), signature, sizeof(signature));
	snprintf(text, sizeof(text), "%ssignature %s\n", lines, hex);
	assert_int_equal(descriptor_verify(text, strlen(text), &key.public_half, &read), 0);
	assert_memory_equal(&read, &usual, sizeof(read));
	/* What was signed with the line is not taken without it, nor the other way round. */
	snprintf(text, sizeof(text), "memory 2048\nprocessors 2\nnetwork yes\nguest-agent yes\nmeasurement %s\nsignature %s\n",
		 digits, hex);
	assert_int_equal(descriptor_verify(text, strlen(text), &key.public_half, &read), -EKEYREJECTED);
	assert_int_equal(descriptor_sign(&usual, &key, message), 0);
	snprintf(text, sizeof(text), "%s%s", lines, strstr(message, "signature"));
	assert_int_equal(descriptor_verify(text, strlen(text), &key.public_half, &read), -EKEYREJECTED);
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

static const struct guest_config start = {.name = "work",
					  .platform = "# what boots\nfirmware = /fw.fd",
					  .system = "/run/system",
					  .network = "/run/network",
					  .mac = "02:00:00:00:00:01",
					  .guest_agent = "/run/port"};

static void the_configuration_says_what_the_descriptor_says(void **state)
{
	struct descriptor without = usual;
	char *text;

	(void)state;
	assert_int_equal(guest_config_write(&start, &usual, &text), 0);
	assert_string_equal(text, "# what boots\nfirmware = /fw.fd\nname = work\nmemory = 2048M\n"
				  "processors = 2\nprotected = yes\ndisk = /run/system\n"
				  "network = /run/network\nmac = 02:00:00:00:00:01\nguest-agent = /run/port\n");
	free(text);
	without.has_network = false;
	assert_int_equal(guest_config_write(&start, &without, &text), 0);
	assert_null(strstr(text, "network"));
	assert_non_null(strstr(text, "guest-agent = /run/port\n"));
	free(text);
	without.has_guest_agent = false;
	assert_int_equal(guest_config_write(&start, &without, &text), 0);
	assert_null(strstr(text, "guest-agent"));
	free(text);
}

static void neither_platform_nor_names_can_add_other_lines(void **state)
{
	static const char *const platforms[] = {"protected = no", "firmware = /fw.fd\nmemory = 64M",
						"firmwares = /fw.fd", "descriptor = /other", "firmware"};
	struct guest_config config = start;
	char *text;

	(void)state;
	for (size_t i = 0; i < sizeof(platforms) / sizeof(platforms[0]); i++) {
		config.platform = platforms[i];
		assert_int_equal(guest_config_write(&config, &usual, &text), -EINVAL);
		assert_null(text);
	}
	config = start;
	config.system = "/run/system\nprotected = no";
	assert_int_equal(guest_config_write(&config, &usual, &text), -EINVAL);
	config = start;
	config.mac = NULL; /* a card that would not be there measures otherwise */
	assert_int_equal(guest_config_write(&config, &usual, &text), -EINVAL);
	config = start;
	config.guest_agent = NULL; /* and so does a port */
	assert_int_equal(guest_config_write(&config, &usual, &text), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_signed_is_what_is_read),
	    cmocka_unit_test(another_key_or_any_other_byte_is_refused),
	    cmocka_unit_test(other_spellings_of_the_same_are_refused),
	    cmocka_unit_test(descriptors_from_before_the_port_was_named_have_it),
	    cmocka_unit_test(machines_that_no_monitor_makes_are_not_signed),
	    cmocka_unit_test(the_configuration_says_what_the_descriptor_says),
	    cmocka_unit_test(neither_platform_nor_names_can_add_other_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
