/* measured_guest_test.c: only the sealed guest that a key of the role images has described is the one that was described. */
#include "trust/measured_guest.h"

#include <errno.h>
#include <string.h>

#include "company.h"
#include "unit.h"

static struct company company;

static void describe(const struct bulkhead_measurement *measurement, enum company_key key, char text[DESCRIPTOR_TEXT_MAX])
{
	struct descriptor descriptor = {.memory_mib = 256, .processors = 1};

	memcpy(descriptor.measurement, measurement->digest, sizeof(descriptor.measurement));
	assert_int_equal(descriptor_sign(&descriptor, &company.keys[key], text), 0);
}

static int check(const char *text, const struct bulkhead_measurement *measurement)
{
	return measured_guest_check(&company.roles, text, strlen(text), measurement);
}

static void the_described_guest_is_recognized_and_no_other(void **state)
{
	struct bulkhead_measurement measurement = {.digest = {1, 2, 3}, .is_sealed = 1};
	char text[DESCRIPTOR_TEXT_MAX];

	(void)state;
	describe(&measurement, KEY_IMAGES, text);
	assert_int_equal(check(text, &measurement), 0);
	for (unsigned int bit = 0; bit < 8 * sizeof(measurement.digest); bit++) {
		measurement.digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(check(text, &measurement), -EXDEV);
		measurement.digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	/* Until the seal what was measured can become something else. */
	measurement.is_sealed = 0;
	assert_int_equal(check(text, &measurement), -EAGAIN);
}

static void only_a_key_of_the_role_images_describes(void **state)
{
	const struct bulkhead_measurement measurement = {.digest = {9}, .is_sealed = 1};
	char text[DESCRIPTOR_TEXT_MAX];

	(void)state;
	for (int key = 0; key < KEY_COUNT; key++) {
		describe(&measurement, key, text);
		assert_int_equal(check(text, &measurement), key == KEY_IMAGES ? 0 : -EKEYREJECTED);
	}
	assert_int_equal(check("", &measurement), -EBADMSG);
}

static void each_key_of_the_role_will_do(void **state)
{
	const struct bulkhead_measurement measurement = {.digest = {9}, .is_sealed = 1};
	struct roles two = company.roles;
	char text[DESCRIPTOR_TEXT_MAX];

	(void)state;
	assert_int_equal(roles_add_key(&two, ROLE_IMAGES, &company.keys[KEY_STRANGER].public_half, "second"), 0);
	describe(&measurement, KEY_STRANGER, text);
	assert_int_equal(measured_guest_check(&two, text, strlen(text), &measurement), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_described_guest_is_recognized_and_no_other),
	    cmocka_unit_test(only_a_key_of_the_role_images_describes),
	    cmocka_unit_test(each_key_of_the_role_will_do),
	};

	company_make(&company);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
