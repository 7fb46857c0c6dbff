/*
 * hacked_test.c: the attacker has the whole server: its disk, its database, every key on it. Each
 * row is an attack on a PC (or on an administrator's command) through the code that both use to
 * check. It must fail; then it is played again with the one check removed that stops it, and must
 * succeed: so each row shows which check carries the weight, and that the attack is a real one. The
 * checks are taken out by the linker (--wrap), never in the product.
 */
#include "agent/key_copy.h"
#include "agent/phrase.h"
#include "fixture.h"
#include "store/domain.h"
#include "store/frame.h"
#include "unit.h"

#include <errno.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Which check is missing now. */
static enum check {
	CHECK_NONE,
	CHECK_SIGNATURE,
	CHECK_VERSION,
	CHECK_FRESH,
	CHECK_ADDRESS,
	CHECK_PIN,
	CHECK_TAG,
	CHECK_KEY
} removed;

int __real_dsse_verify(const struct dsse_envelope *envelope, const char *type,
		       const struct public_key *keys, size_t key_count, size_t threshold);
int __wrap_dsse_verify(const struct dsse_envelope *envelope, const char *type,
		       const struct public_key *keys, size_t key_count, size_t threshold);
bool __real_document_advances(uint64_t held, uint64_t offered);
bool __wrap_document_advances(uint64_t held, uint64_t offered);
bool __real_document_is_fresh(int64_t expires, int64_t now);
bool __wrap_document_is_fresh(int64_t expires, int64_t now);
bool __real_document_is_for(const char *named, const char *own);
bool __wrap_document_is_for(const char *named, const char *own);
bool __real_document_is_pinned(const uint8_t found[32], const uint8_t pin[32]);
bool __wrap_document_is_pinned(const uint8_t found[32], const uint8_t pin[32]);
int __real_EVP_CipherFinal_ex(EVP_CIPHER_CTX *context, unsigned char *out, int *out_bytes);
int __wrap_EVP_CipherFinal_ex(EVP_CIPHER_CTX *context, unsigned char *out, int *out_bytes);

int __wrap_dsse_verify(const struct dsse_envelope *envelope, const char *type,
		       const struct public_key *keys, size_t key_count, size_t threshold)
{
	return removed == CHECK_SIGNATURE
		   ? 0
		   : __real_dsse_verify(envelope, type, keys, key_count, threshold);
}

bool __wrap_document_advances(uint64_t held, uint64_t offered)
{
	return removed == CHECK_VERSION || __real_document_advances(held, offered);
}

bool __wrap_document_is_fresh(int64_t expires, int64_t now)
{
	return removed == CHECK_FRESH || __real_document_is_fresh(expires, now);
}

bool __wrap_document_is_for(const char *named, const char *own)
{
	return removed == CHECK_ADDRESS || __real_document_is_for(named, own);
}

bool __wrap_document_is_pinned(const uint8_t found[32], const uint8_t pin[32])
{
	return removed == CHECK_PIN || __real_document_is_pinned(found, pin);
}

int __wrap_EVP_CipherFinal_ex(EVP_CIPHER_CTX *context, unsigned char *out, int *out_bytes)
{
	int result = __real_EVP_CipherFinal_ex(context, out, out_bytes);

	if (removed != CHECK_TAG)
		return result;
	*out_bytes = result == 1 ? *out_bytes : 0;
	return 1;
}

/* The company, its server, one PC, and what the attacker finds. */
static struct fixture fixture;
static struct client pc;
static struct memory memory;	      /* of the PC, before each attack */
static struct signing_key server_key; /* read from the disk, as the attacker does */
static struct domain disk;	      /* alice's: its key never reaches the server */
static char phrase[PHRASE_TEXT_BYTES];
static struct key_copy copy;
static uint8_t plain[8192], frame[FRAME_STORED_MAX];
static struct frame_header frame_head;
static struct frame_codec *codec;

static void read_server_key(void)
{
	char path[300], text[SIGNING_KEY_FILE_MAX];
	FILE *file;
	size_t got;

	snprintf(path, sizeof(path), "%s/server.key", fixture.directory);
	file = fopen(path, "r");
	assert_non_null(file);
	got = fread(text, 1, sizeof(text), file);
	fclose(file);
	assert_int_equal(signing_key_read(text, got, NULL, &server_key), 0);
}

/* Backs a disk up to the server as an agent does: a sealed frame as a pack, the key's copy sealed
 * to a phrase. */
static void back_up(void)
{
	static const char pack[] =
	    "00000000000000000000000000000000000000000000000000000000000000cc";
	char body[1400], data[1200];
	uint8_t key[32];

	assert_int_equal(domain_create(&disk), 0);
	randombytes_buf(plain, sizeof(plain));
	frame_head.kind = FRAME_DATA;
	randombytes_buf(frame_head.salt, sizeof(frame_head.salt));
	assert_int_equal(domain_pack_key(&disk, frame_head.salt, key), 0);
	codec = frame_codec_new();
	assert_int_equal(frame_seal(codec, key, &frame_head, plain, sizeof(plain), 1, frame), 0);
	phrase_generate(phrase);
	assert_int_equal(key_copy_to_phrase(disk.key, "alice-work", phrase, strlen(phrase),
					    KEY_COPY_COST_LEAST, &copy),
			 0);
	assert_int_equal(
	    client_call(&pc, "POST", "/api/v1/device/disks", "{\"disk\":\"alice-work\"}", NULL),
	    201);
	assert_int_equal(fixture_send_pack(&pc, pack, frame, frame_head.stored_bytes), 201);
	sodium_bin2base64(data, sizeof(data), copy.bytes, copy.size_bytes,
			  sodium_base64_VARIANT_ORIGINAL);
	snprintf(body, sizeof(body), "{\"copies\":[{\"kind\":\"phrase\",\"data\":\"%s\"}]}", data);
	assert_int_equal(client_call(&pc, "PUT", "/api/v1/device/keys/alice-work", body, NULL),
			 201);
}

static int set_up(void **state)
{
	fixture_open(&fixture);
	fixture_alice(&fixture);
	fixture_enrol(&fixture, &pc, "alice", "pc-1");
	fixture_memory(&fixture, pc.device, &memory);
	/* Kept on the PC: catalogue 5 with floor 2, policy 5, order 3, audit head 9, state 50. */
	memory.image_count = 1;
	strcpy(memory.images[0].image, "work");
	memory.images[0].catalogue = 5;
	memory.images[0].floor = 2;
	memory.policy = 5;
	memory.order = 3;
	memory.state = 50;
	memory.time = COMPANY_NOW;
	memory.head.sequence = 9;
	back_up();
	read_server_key();
	return 0;
}

static int tear_down(void **state)
{
	frame_codec_free(codec);
	client_close(&pc);
	fixture_close(&fixture);
	return 0;
}

/* Signs with what the attacker has: the server's key; or replays what a real hand once signed. */
static void forge(struct dsse_envelope *envelope, const char *type, char *payload)
{
	assert_int_equal(dsse_new(envelope, type, payload, strlen(payload)), 0);
	assert_int_equal(dsse_sign(envelope, &server_key), 0);
	free(payload);
}

static void replay(struct dsse_envelope *envelope, const char *type, char *payload, size_t count,
		   const enum company_key *keys)
{
	company_sign(&fixture.company, envelope, type, payload, count, keys);
	free(payload);
}

static char *catalogue_payload(uint64_t version, int64_t expires)
{
	struct catalogue *catalogue = calloc(1, sizeof(*catalogue));
	uint8_t manifest[32] = {0xee};
	char *text;

	strcpy(catalogue->image, "work");
	catalogue->version = version;
	catalogue->expires = expires;
	catalogue_append(catalogue, "1", manifest, 8, 1);
	catalogue_append(catalogue, "2", manifest, 8, 1);
	catalogue_append(catalogue, "3", manifest, 8, 1);
	assert_int_equal(catalogue_write(catalogue, &text), 0);
	free(catalogue);
	return text;
}

static char *policy_payload(unsigned int version)
{
	char *text;

	assert_true(asprintf(&text,
			     "{\"type\":\"policy\",\"version\":%u,\"expires\":2000000000,"
			     "\"default\":{\"usb\":[\"storage\"]},"
			     "\"groups\":{},\"users\":{},\"devices\":{}}",
			     version) > 0);
	return text;
}

static char *order_payload(enum order_kind kind, const char *device, uint64_t sequence,
			   int64_t expires)
{
	struct order order = {.kind = kind, .sequence = sequence, .issued = 1, .expires = expires};
	char *text;

	snprintf(order.device, sizeof(order.device), "%s", device);
	strcpy(order.guest, "*");
	strcpy(order.disk, "alice-work");
	assert_int_equal(order_write(&order, &text), 0);
	return text;
}

static int take_catalogue(struct memory *held, struct dsse_envelope *envelope)
{
	struct catalogue *catalogue = malloc(sizeof(*catalogue));
	int status = memory_accept_catalogue(held, "work", envelope, catalogue);

	free(catalogue);
	dsse_release(envelope);
	return status;
}

static int take_policy(struct memory *held, struct dsse_envelope *envelope)
{
	struct policy *policy = NULL;
	int status = memory_accept_policy(held, envelope, &policy);

	if (!status)
		policy_free(policy);
	dsse_release(envelope);
	return status;
}

static int take_order(struct memory *held, struct dsse_envelope *envelope)
{
	struct order order;
	int status = memory_accept_order(held, envelope, COMPANY_NOW, &order);

	dsse_release(envelope);
	return status;
}

static const enum company_key images = KEY_IMAGES, policies = KEY_POLICY;
static const enum company_key officers[] = {KEY_OFFICER_1, KEY_OFFICER_2};

static int forged_image(struct memory *held)
{
	struct dsse_envelope envelope;

	forge(&envelope, DSSE_TYPE_CATALOGUE, catalogue_payload(6, INT32_MAX));
	return take_catalogue(held, &envelope);
}

static int rolled_back_image(struct memory *held)
{
	struct dsse_envelope envelope;

	replay(&envelope, DSSE_TYPE_CATALOGUE, catalogue_payload(4, INT32_MAX), 1, &images);
	return take_catalogue(held, &envelope);
}

static int release_below_the_floor(struct memory *held)
{
	/* The server may sign states: it names release 1, once installed here and full of holes. */
	return memory_may_start(held, "work", 1);
}

static int frozen_image(struct memory *held)
{
	struct catalogue *catalogue = malloc(sizeof(*catalogue));
	struct state *state = calloc(1, sizeof(*state));
	struct dsse_envelope envelope;
	int status;

	replay(&envelope, DSSE_TYPE_CATALOGUE, catalogue_payload(5, COMPANY_NOW - 1), 1, &images);
	status = memory_accept_catalogue(held, "work", &envelope, catalogue);
	state->expires = INT32_MAX;
	if (!status)
		status = memory_may_install(held, state, catalogue, 3, COMPANY_NOW);
	dsse_release(&envelope);
	free(state);
	free(catalogue);
	return status;
}

static int forged_policy(struct memory *held)
{
	struct dsse_envelope envelope;

	forge(&envelope, DSSE_TYPE_POLICY, policy_payload(6));
	return take_policy(held, &envelope);
}

static int rolled_back_policy(struct memory *held)
{
	struct dsse_envelope envelope;

	replay(&envelope, DSSE_TYPE_POLICY, policy_payload(4), 1, &policies);
	return take_policy(held, &envelope);
}

static int another_pcs_state(struct memory *held)
{
	struct state *state = calloc(1, sizeof(*state));
	struct dsse_envelope envelope;
	char *payload;
	int status;

	strcpy(state->device, "d-other");
	strcpy(state->ring, "deployed");
	state->serial = 60;
	assert_int_equal(state_write(state, &payload), 0);
	forge(&envelope, DSSE_TYPE_STATE, payload);
	status = memory_accept_state(held, &envelope, state);
	dsse_release(&envelope);
	free(state);
	return status;
}

/* Roles of the attacker's own making, to take the PC over for good. */
static char *own_roles(uint64_t version)
{
	struct roles *roles = malloc(sizeof(*roles));
	char *text;

	*roles = fixture.company.roles;
	roles->version = version;
	for (int role = 0; role < ROLE_SERVER; role++) {
		roles->roles[role].key_count = 0;
		assert_int_equal(roles_add_key(roles, (enum role)role,
					       &fixture.company.keys[KEY_STRANGER].public_half,
					       "stranger"),
				 0);
		roles->roles[role].threshold = 1;
	}
	roles->roles[ROLE_DESTRUCTION].keys[1] = fixture.company.keys[KEY_ROOT_1].public_half;
	roles->roles[ROLE_DESTRUCTION].key_count = 2;
	roles->roles[ROLE_DESTRUCTION].threshold = 2;
	assert_int_equal(roles_write(roles, &text), 0);
	free(roles);
	return text;
}

static int forged_roles(struct memory *held)
{
	static const enum company_key stranger = KEY_STRANGER;
	struct dsse_envelope envelope;
	int status;

	replay(&envelope, DSSE_TYPE_ROLES, own_roles(2), 1, &stranger);
	status = memory_accept_roles(held, &envelope);
	dsse_release(&envelope);
	return status;
}

static int enrolment_into_forged_roles(struct memory *held)
{
	static const enum company_key stranger = KEY_STRANGER;
	static const uint8_t pin_of_the_token[32] = {1};
	struct dsse_envelope envelope;
	int status;

	replay(&envelope, DSSE_TYPE_ROLES, own_roles(1), 1, &stranger);
	status = memory_start(held, pc.device, &envelope, pin_of_the_token);
	dsse_release(&envelope);
	return status;
}

static int forged_wipe(struct memory *held)
{
	struct dsse_envelope envelope;

	forge(&envelope, DSSE_TYPE_ORDER, order_payload(ORDER_WIPE, pc.device, 4, INT32_MAX));
	return take_order(held, &envelope);
}

static int wipe_by_one_officer(struct memory *held)
{
	static const enum company_key one = KEY_OFFICER_1;
	struct dsse_envelope envelope;

	replay(&envelope, DSSE_TYPE_ORDER, order_payload(ORDER_WIPE, pc.device, 4, INT32_MAX), 1,
	       &one);
	assert_int_equal(dsse_sign(&envelope, &server_key), 0);
	return take_order(held, &envelope);
}

static int replayed_wipe(struct memory *held)
{
	struct dsse_envelope envelope;

	replay(&envelope, DSSE_TYPE_ORDER, order_payload(ORDER_WIPE, pc.device, 3, INT32_MAX), 2,
	       officers);
	return take_order(held, &envelope);
}

static int redirected_wipe(struct memory *held)
{
	struct dsse_envelope envelope;

	replay(&envelope, DSSE_TYPE_ORDER, order_payload(ORDER_WIPE, "d-other", 4, INT32_MAX), 2,
	       officers);
	return take_order(held, &envelope);
}

static int expired_wipe(struct memory *held)
{
	struct dsse_envelope envelope;

	replay(&envelope, DSSE_TYPE_ORDER, order_payload(ORDER_WIPE, pc.device, 4, COMPANY_NOW - 1),
	       2, officers);
	return take_order(held, &envelope);
}

static int forged_key_release(struct memory *held)
{
	struct dsse_envelope envelope;

	forge(&envelope, DSSE_TYPE_ORDER,
	      order_payload(ORDER_RELEASE_KEY, pc.device, 4, INT32_MAX));
	return take_order(held, &envelope);
}

static int shortened_audit_log(struct memory *held)
{
	struct audit_head head = {.sequence = 8};
	char text[AUDIT_HEAD_TEXT_MAX];

	assert_int_equal(audit_head_sign(&head, &server_key, text), 0);
	return memory_accept_head(held, text);
}

/* Every run of 32 bytes in every file of the server, tried as the disk's key: nothing there opens
 * the backup. */
static int opened;

static void try_key(const uint8_t candidate[32])
{
	struct frame_header head;
	struct domain domain;
	uint8_t key[32], out[sizeof(plain)];

	if (domain_open(candidate, &domain) || memcmp(domain.id, disk.id, sizeof(disk.id)))
		return;
	if (!domain_pack_key(&domain, frame_head.salt, key) &&
	    !frame_open(codec, key, frame, frame_head.stored_bytes, &head, out, sizeof(out)) &&
	    !memcmp(out, plain, sizeof(out)))
		opened = 1;
}

static int try_file(const char *path, const struct stat *info, int kind, struct FTW *place)
{
	uint8_t *bytes;
	FILE *file;
	size_t got;

	if (kind != FTW_F || info->st_size > (8 << 20))
		return 0;
	file = fopen(path, "r");
	assert_non_null(file);
	bytes = malloc((size_t)info->st_size + 1);
	got = fread(bytes, 1, (size_t)info->st_size, file);
	fclose(file);
	/* The key itself would be there in plain, as base64 or as hexadecimal. */
	if (got >= 32 && memmem(bytes, got, disk.key, 32))
		try_key(disk.key);
	{
		char text[2][80];

		sodium_bin2hex(text[0], sizeof(text[0]), disk.key, 32);
		sodium_bin2base64(text[1], sizeof(text[1]), disk.key, 32,
				  sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
		for (int i = 0; i < 2; i++)
			if (memmem(bytes, got, text[i], strlen(text[i])))
				try_key(disk.key);
	}
	free(bytes);
	return 0;
}

static int read_backup(struct memory *held)
{
	uint8_t key[32];
	char guess[PHRASE_TEXT_BYTES];

	opened = 0;
	assert_int_equal(nftw(fixture.directory, try_file, 8, FTW_PHYS), 0);
	try_key(server_key.secret);
	try_key(fixture.server->key.secret);
	/* The sealed copy needs the user's phrase; the control knows it. */
	phrase_generate(guess);
	if (!key_copy_from_phrase(copy.bytes, copy.size_bytes, "alice-work",
				  removed == CHECK_KEY ? phrase : guess, strlen(phrase), key))
		try_key(key);
	return opened ? 0 : -EACCES;
}

static int change_backup(struct memory *held)
{
	uint8_t changed[sizeof(frame)], key[32], out[sizeof(plain)];
	struct frame_header head;
	int status;

	memcpy(changed, frame, frame_head.stored_bytes);
	changed[FRAME_HEADER_BYTES + 100] ^= 1;
	assert_int_equal(domain_pack_key(&disk, frame_head.salt, key), 0);
	status = frame_open(codec, key, changed, frame_head.stored_bytes, &head, out, sizeof(out));
	if (!status)
		assert_memory_not_equal(out, plain, sizeof(out));
	return status;
}

static const struct attack {
	const char *name;
	int (*play)(struct memory *held); /* 0: the attack succeeds */
	int refusal;
	enum check check;
	const char *check_name;
} attacks[] = {
    {"a forged image", forged_image, -EKEYREJECTED, CHECK_SIGNATURE, "signature of role images"},
    {"an old catalogue", rolled_back_image, -ESTALE, CHECK_VERSION, "versions only rise"},
    {"a release below the floor", release_below_the_floor, -EPERM, CHECK_VERSION, "security floor"},
    {"a frozen catalogue", frozen_image, -EKEYEXPIRED, CHECK_FRESH, "expiry"},
    {"a forged policy", forged_policy, -EKEYREJECTED, CHECK_SIGNATURE, "signature of role policy"},
    {"an old policy", rolled_back_policy, -ESTALE, CHECK_VERSION, "versions only rise"},
    {"another PC's state", another_pcs_state, -EXDEV, CHECK_ADDRESS, "made out to this PC"},
    {"forged roles", forged_roles, -EKEYREJECTED, CHECK_SIGNATURE, "signatures of role root"},
    {"enrolment into forged roles", enrolment_into_forged_roles, -EKEYREJECTED, CHECK_PIN,
     "pin in the token"},
    {"a forged wipe", forged_wipe, -EKEYREJECTED, CHECK_SIGNATURE, "two officers"},
    {"a wipe by one officer and the server", wipe_by_one_officer, -EKEYREJECTED, CHECK_SIGNATURE,
     "two officers"},
    {"a wipe played again", replayed_wipe, -ESTALE, CHECK_VERSION, "sequence of the PC"},
    {"another PC's wipe", redirected_wipe, -EXDEV, CHECK_ADDRESS, "made out to this PC"},
    {"an expired wipe", expired_wipe, -EKEYEXPIRED, CHECK_FRESH, "expiry"},
    {"a forged key release", forged_key_release, -EKEYREJECTED, CHECK_SIGNATURE, "two officers"},
    {"a shortened audit log", shortened_audit_log, -ESTALE, CHECK_VERSION, "witnessed head"},
    {"reading a backup", read_backup, -EACCES, CHECK_KEY, "the key is not on the server"},
    {"changing a backup", change_backup, -EBADMSG, CHECK_TAG, "authenticated encryption"},
};

static void a_hacked_server_gets_nothing_past_a_pc(void **state)
{
	struct memory held, before;

	print_message("# %-38s %-30s %-10s %s\n", "attack", "check", "outcome",
		      "without the check");
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		const struct attack *attack = &attacks[i];
		int with, without;

		held = memory;
		before = memory;
		removed = CHECK_NONE;
		with = attack->play(&held);
		/* Refused, for the reason that is meant, and nothing of it stays. */
		if (with != attack->refusal)
			fail_msg("%s: %d instead of %d", attack->name, with, attack->refusal);
		if (attack->check != CHECK_FRESH || attack->play != frozen_image)
			assert_memory_equal(&held, &before, sizeof(held));
		held = memory;
		removed = attack->check;
		without = attack->play(&held);
		removed = CHECK_NONE;
		if (without)
			fail_msg("%s: fails (%d) even without \"%s\": the row shows nothing",
				 attack->name, without, attack->check_name);
		print_message("# %-38s %-30s %-10s %s\n", attack->name, attack->check_name,
			      "refused", "succeeds");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_hacked_server_gets_nothing_past_a_pc)};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
