/* roles_test.c: envelopes and the roles document. */
#include "company.h"
#include "trust/strict_json.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const enum company_key roots[] = {KEY_ROOT_1, KEY_ROOT_2};

static void a_signature_covers_exact_bytes_and_type(void **state)
{
	static const enum company_key images = KEY_IMAGES;
	struct company company;
	struct dsse_envelope envelope;
	const struct public_key *key = &company.keys[KEY_IMAGES].public_half;

	company_make(&company);
	company_sign(&company, &envelope, "type/a", "payload", 1, &images);
	assert_int_equal(dsse_verify(&envelope, "type/a", key, 1, 1), 0);
	assert_int_equal(dsse_verify(&envelope, "type/b", key, 1, 1), -EPROTOTYPE);
	assert_int_equal(dsse_verify(&envelope, "type/a", key, 1, 0), -EINVAL);
	assert_int_equal(
	    dsse_verify(&envelope, "type/a", &company.keys[KEY_POLICY].public_half, 1, 1),
	    -EKEYREJECTED);
	strcpy(envelope.type, "type/b");
	assert_int_equal(dsse_verify(&envelope, "type/b", key, 1, 1), -EKEYREJECTED);
	strcpy(envelope.type, "type/a");
	envelope.payload[0] ^= 1;
	assert_int_equal(dsse_verify(&envelope, "type/a", key, 1, 1), -EKEYREJECTED);
	dsse_release(&envelope);
}

static void one_key_counts_once(void **state)
{
	static const enum company_key keys[] = {KEY_OFFICER_1, KEY_OFFICER_1};
	struct company company;
	struct dsse_envelope envelope;
	struct public_key listed[3];

	company_make(&company);
	company_sign(&company, &envelope, "t", "p", 2, keys);
	assert_int_equal(envelope.signature_count, 1);
	/* Also if the envelope repeats it, or the verifier's list does. */
	envelope.signatures[1] = envelope.signatures[0];
	envelope.signature_count = 2;
	listed[0] = listed[1] = company.keys[KEY_OFFICER_1].public_half;
	listed[2] = company.keys[KEY_OFFICER_2].public_half;
	assert_int_equal(dsse_verify(&envelope, "t", listed, 3, 2), -EKEYREJECTED);
	assert_int_equal(dsse_verify(&envelope, "t", listed, 3, 1), 0);
	dsse_release(&envelope);
}

static void an_envelope_survives_its_text(void **state)
{
	struct company company;
	struct dsse_envelope envelope, again;
	char *text;

	company_make(&company);
	company_sign(&company, &envelope, "t", "{}", 2, roots);
	assert_int_equal(dsse_write(&envelope, &text), 0);
	assert_int_equal(dsse_parse(text, strlen(text), &again), 0);
	assert_int_equal(again.signature_count, 2);
	assert_memory_equal(again.signatures, envelope.signatures, sizeof(envelope.signatures));
	assert_int_equal(dsse_verify(&again, "t", company.roles.roles[ROLE_ROOT].keys, 2, 2), 0);
	dsse_release(&again);
	dsse_release(&envelope);
	free(text);
}

static void malformed_envelopes_are_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "[]",
	    "{}",
	    "{\"payload\":\"\",\"payloadType\":\"t\"}",
	    "{\"payload\":1,\"payloadType\":\"t\",\"signatures\":[]}",
	    "{\"payload\":\"!\",\"payloadType\":\"t\",\"signatures\":[]}",
	    "{\"payload\":\"\",\"payloadType\":\"\",\"signatures\":[]}",
	    "{\"payload\":\"\",\"payloadType\":\"t\",\"signatures\":[],\"x\":1}",
	    "{\"payload\":\"\",\"payloadType\":\"t\",\"signatures\":[{}]}",
	    "{\"payload\":\"\",\"payloadType\":\"t\",\"signatures\":[{\"keyid\":\"00\",\"sig\":"
	    "\"\"}]}",
	    "{\"payload\":\"\",\"payloadType\":\"t\",\"signatures\":[{\"keyid\":\"00\",\"sig\":"
	    "\"\",\"x\":1}]}"};
	struct dsse_envelope envelope;
	char many[2000] = "{\"payload\":\"\",\"payloadType\":\"t\",\"signatures\":[";

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_not_equal(dsse_parse(bad[i], strlen(bad[i]), &envelope), 0);
	for (int i = 0; i < 17; i++)
		strcat(many, i ? ",{}" : "{}");
	strcat(many, "]}");
	assert_int_equal(dsse_parse(many, strlen(many), &envelope), -EMSGSIZE);
	assert_int_equal(dsse_new(&envelope, "", "x", 1), -EMSGSIZE);
	assert_int_equal(dsse_new(&envelope, "t", "x", DSSE_PAYLOAD_MAX + 1), -EMSGSIZE);
}

static void an_envelope_has_room_for_sixteen(void **state)
{
	struct dsse_envelope envelope;
	struct signing_key key;

	assert_int_equal(dsse_new(&envelope, "t", "x", 1), 0);
	for (int i = 0; i < DSSE_SIGNATURES_MAX; i++) {
		assert_int_equal(signing_key_generate(&key, "k"), 0);
		assert_int_equal(dsse_sign(&envelope, &key), 0);
	}
	assert_int_equal(dsse_sign(&envelope, &key), 0);
	assert_int_equal(signing_key_generate(&key, "k"), 0);
	assert_int_equal(dsse_sign(&envelope, &key), -ENOSPC);
	dsse_release(&envelope);
}

/* Writes, changes one place of the text, reads. */
static int read_changed(struct company *company, const char *from, const char *to)
{
	struct roles *roles = malloc(sizeof(*roles));
	char *text, *at, changed[16384];
	int status;

	assert_int_equal(roles_write(&company->roles, &text), 0);
	at = strstr(text, from);
	assert_non_null(at);
	snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, to,
		 at + strlen(from));
	status = roles_read(changed, strlen(changed), roles);
	free(text);
	free(roles);
	return status;
}

static void the_rules_of_a_roles_document_hold(void **state)
{
	struct company company;
	struct roles *roles = malloc(sizeof(*roles));
	char *text;

	company_make(&company);
	company.roles.recovery_count = 2;
	assert_int_equal(roles_write(&company.roles, &text), 0);
	assert_int_equal(roles_read(text, strlen(text), roles), 0);
	assert_int_equal(roles->roles[ROLE_DESTRUCTION].threshold, 2);
	assert_int_equal(roles->recovery_count, 2);
	free(text);
	free(roles);
	assert_int_equal(read_changed(&company, "\"type\":\"roles\"", "\"type\":\"rules\""),
			 -EBADMSG);
	assert_int_equal(read_changed(&company, "\"type\":\"roles\"", "\"type\":\"roles\",\"x\":1"),
			 -EBADMSG);
	assert_int_equal(read_changed(&company, "\"version\":1", "\"version\":0"), -EBADMSG);
	assert_int_equal(read_changed(&company, "\"expires\":", "\"expires\":-"), -EBADMSG);
	/* One officer is not enough, more than there are is a dead end, none opens the door. */
	company.roles.roles[ROLE_DESTRUCTION].threshold = 1;
	assert_int_equal(read_changed(&company, "{", "{"), -EBADMSG);
	company.roles.roles[ROLE_DESTRUCTION].threshold = 3;
	assert_int_equal(read_changed(&company, "{", "{"), -EBADMSG);
	company.roles.roles[ROLE_DESTRUCTION].threshold = 2;
	company.roles.roles[ROLE_IMAGES].threshold = 0;
	assert_int_equal(read_changed(&company, "{", "{"), -EBADMSG);
	company.roles.roles[ROLE_IMAGES].threshold = 1;
	assert_int_equal(read_changed(&company, "{", "{"), 0);
	assert_int_equal(read_changed(&company, "\"recovery\":[\"AAAA", "\"recovery\":[1,\"AAAA"),
			 -EBADMSG);
	assert_int_equal(read_changed(&company, "\"recovery\":[\"AAAA", "\"recovery\":[\"AAA"),
			 -EBADMSG);
	assert_int_equal(read_changed(&company, "\"recovery\":[", "\"recovery\":[[],[],[],"),
			 -EBADMSG);
}

static void keys_and_roles_must_fit_together(void **state)
{
	struct company company;
	struct roles_role *images = &company.roles.roles[ROLE_IMAGES];

	company_make(&company);
	assert_int_equal(read_changed(&company, "\"name\":\"images\"", "\"name\":\"Images\""),
			 -EBADMSG);
	assert_int_equal(read_changed(&company, "\"public\":\"", "\"public\":\"AA"), -EBADMSG);
	assert_int_equal(
	    read_changed(&company, "\"images\":{\"keys\":[\"", "\"images\":{\"keys\":[\"0"),
	    -EBADMSG);
	assert_int_equal(
	    read_changed(&company, "\"images\":{\"keys\":[\"", "\"images\":{\"keys\":[1,\""),
	    -EBADMSG);
	assert_int_equal(read_changed(&company, "\"images\":{", "\"pictures\":{"), -EBADMSG);
	assert_int_equal(
	    read_changed(&company, "\"images\":{\"keys\"", "\"images\":{\"x\":1,\"keys\""),
	    -EBADMSG);
	/* The same key twice in a role. */
	images->keys[1] = images->keys[0];
	images->key_count = 2;
	assert_int_equal(read_changed(&company, "{", "{"), -EBADMSG);
	images->key_count = 1;
	/* A key under another's id. */
	company.roles.keys[2].key = company.keys[KEY_STRANGER].public_half;
	assert_int_equal(read_changed(&company, "{", "{"), -EBADMSG);
}

static void a_servers_key_may_sign_nothing_else(void **state)
{
	struct company company;

	company_make(&company);
	assert_int_equal(roles_add_key(&company.roles, ROLE_POLICY,
				       &company.keys[KEY_SERVER].public_half, "server"),
			 0);
	assert_int_equal(read_changed(&company, "{", "{"), -EBADMSG);
}

static void names_and_room_of_keys_are_checked(void **state)
{
	struct company company;
	struct signing_key key;

	company_make(&company);
	assert_int_equal(roles_add_key(&company.roles, ROLE_IMAGES,
				       &company.keys[KEY_STRANGER].public_half, "X"),
			 -EINVAL);
	assert_int_equal(roles_add_key(&company.roles, ROLE_IMAGES,
				       &company.keys[KEY_IMAGES].public_half, "images"),
			 0);
	assert_int_equal(company.roles.roles[ROLE_IMAGES].key_count, 1);
	while (company.roles.key_count < ROLES_KEYS_MAX) {
		assert_int_equal(signing_key_generate(&key, "k"), 0);
		assert_int_equal(roles_add_key(&company.roles, ROLE_IMAGES, &key.public_half, "k"),
				 0);
	}
	assert_int_equal(signing_key_generate(&key, "k"), 0);
	assert_int_equal(roles_add_key(&company.roles, ROLE_IMAGES, &key.public_half, "k"),
			 -ENOSPC);
	company.roles.roles[ROLE_IMAGES].key_count = ROLES_KEYS_MAX;
	assert_int_equal(roles_add_key(&company.roles, ROLE_IMAGES,
				       &company.keys[KEY_POLICY].public_half, "policy"),
			 -ENOSPC);
	assert_string_equal(roles_name(ROLE_DESTRUCTION), "destruction");
	assert_string_equal(roles_name(ROLE_COUNT), "unknown");
	assert_int_equal(roles_from_name("policy"), ROLE_POLICY);
	assert_int_equal(roles_from_name("king"), ROLE_COUNT);
}

static void sign_roles(struct company *company, struct dsse_envelope *envelope, size_t count,
		       const enum company_key *keys)
{
	char *text;

	assert_int_equal(roles_write(&company->roles, &text), 0);
	company_sign(company, envelope, DSSE_TYPE_ROLES, text, count, keys);
	free(text);
}

static void roles_follow_one_by_one_signed_by_old_and_new(void **state)
{
	static const enum company_key new_roots[] = {KEY_ROOT_1, KEY_STRANGER},
				      all[] = {KEY_ROOT_1, KEY_ROOT_2, KEY_STRANGER};
	struct company company;
	struct dsse_envelope envelope;
	struct roles current, next;

	company_make(&company);
	sign_roles(&company, &envelope, 1, roots);
	assert_int_equal(roles_first(&envelope, &current), -EKEYREJECTED);
	dsse_release(&envelope);
	sign_roles(&company, &envelope, 2, roots);
	assert_int_equal(roles_first(&envelope, &current), 0);
	/* The same version again is not the next one. */
	assert_int_equal(roles_follow(&current, &envelope, &next), -ESTALE);
	dsse_release(&envelope);
	/* The stranger replaces root-2: only both generations together may say so. */
	company.roles.version = 2;
	company.roles.roles[ROLE_ROOT].keys[1] = company.keys[KEY_STRANGER].public_half;
	assert_int_equal(roles_add_key(&company.roles, ROLE_ROOT,
				       &company.keys[KEY_STRANGER].public_half, "stranger"),
			 0);
	sign_roles(&company, &envelope, 2, new_roots);
	assert_int_equal(roles_follow(&current, &envelope, &next), -EKEYREJECTED);
	dsse_release(&envelope);
	sign_roles(&company, &envelope, 2, roots);
	assert_int_equal(roles_follow(&current, &envelope, &next), -EKEYREJECTED);
	dsse_release(&envelope);
	sign_roles(&company, &envelope, 3, all);
	assert_int_equal(roles_follow(&current, &envelope, &current), 0);
	assert_int_equal(current.version, 2);
	dsse_release(&envelope);
	/* Version 4 after 2 skips one. */
	company.roles.version = 4;
	sign_roles(&company, &envelope, 3, all);
	assert_int_equal(roles_follow(&current, &envelope, &next), -ESTALE);
	dsse_release(&envelope);
	company_sign(&company, &envelope, DSSE_TYPE_ROLES, "{}", 3, all);
	assert_int_equal(roles_follow(&current, &envelope, &next), -EBADMSG);
	assert_int_equal(roles_first(&envelope, &next), -EBADMSG);
	dsse_release(&envelope);
	assert_true(roles_are_fresh(&current, current.expires - 1));
	assert_false(roles_are_fresh(&current, current.expires));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_signature_covers_exact_bytes_and_type),
	    cmocka_unit_test(one_key_counts_once),
	    cmocka_unit_test(an_envelope_survives_its_text),
	    cmocka_unit_test(malformed_envelopes_are_refused),
	    cmocka_unit_test(an_envelope_has_room_for_sixteen),
	    cmocka_unit_test(the_rules_of_a_roles_document_hold),
	    cmocka_unit_test(keys_and_roles_must_fit_together),
	    cmocka_unit_test(a_servers_key_may_sign_nothing_else),
	    cmocka_unit_test(names_and_room_of_keys_are_checked),
	    cmocka_unit_test(roles_follow_one_by_one_signed_by_old_and_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
