/* company.c: see company.h. */
#include "company.h"
#include "unit.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void company_make(struct company *company)
{
	static const char *const names[KEY_COUNT] = {
	    "root-1", "root-2", "images", "policy", "officer-1", "officer-2", "server", "stranger"};
	static const enum role of[KEY_COUNT] = {ROLE_ROOT,   ROLE_ROOT,	       ROLE_IMAGES,
						ROLE_POLICY, ROLE_DESTRUCTION, ROLE_DESTRUCTION,
						ROLE_SERVER, ROLE_COUNT};
	uint8_t seed[32] = {0};

	assert_int_equal(signing_key_start(), 0);
	memset(company, 0, sizeof(*company));
	company->roles.version = 1;
	company->roles.expires = COMPANY_NOW + 1000;
	for (int i = 0; i < KEY_COUNT; i++) {
		struct signing_key *key = &company->keys[i];

		seed[0] = (uint8_t)(i + 1);
		crypto_sign_seed_keypair(key->public_half.bytes, key->secret, seed);
		strcpy(key->name, names[i]);
		if (of[i] != ROLE_COUNT)
			assert_int_equal(
			    roles_add_key(&company->roles, of[i], &key->public_half, names[i]), 0);
	}
	for (int role = 0; role < ROLE_COUNT; role++)
		company->roles.roles[role].threshold = company->roles.roles[role].key_count;
}

void company_sign(const struct company *company, struct dsse_envelope *envelope, const char *type,
		  const char *payload, size_t count, const enum company_key *keys)
{
	assert_int_equal(dsse_new(envelope, type, payload, strlen(payload)), 0);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(dsse_sign(envelope, &company->keys[keys[i]]), 0);
}

char *company_sign_text(const struct company *company, const char *type, const char *payload,
			enum company_key key)
{
	struct dsse_envelope envelope;
	char *text;

	company_sign(company, &envelope, type, payload, 1, &key);
	assert_int_equal(dsse_write(&envelope, &text), 0);
	dsse_release(&envelope);
	return text;
}

void company_memory(const struct company *company, struct memory *memory)
{
	static const enum company_key roots[] = {KEY_ROOT_1, KEY_ROOT_2};
	struct dsse_envelope envelope;
	uint8_t pin[32];
	char *text;

	assert_int_equal(roles_write(&company->roles, &text), 0);
	company_sign(company, &envelope, DSSE_TYPE_ROLES, text, 2, roots);
	roles_pin(&envelope, pin);
	assert_int_equal(memory_start(memory, "d-1", &envelope, pin), 0);
	dsse_release(&envelope);
	free(text);
}
