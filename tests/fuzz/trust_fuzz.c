/* trust_fuzz.c: every reader of trust/ on bytes of a stranger; the first byte chooses. What is read
 * must be written and read again as the same. */
#include "trust/measured_guest.h"
#include "trust/memory.h"
#include "trust/strict_json.h"
#include "trust/token.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void again(int status, char *text, int (*read)(const void *, size_t, void *), void *into)
{
	if (status)
		return;
	if (read(text, strlen(text), into))
		abort();
	free(text);
}

#define READER(name, type)                                                                         \
	static int read_##name(const void *text, size_t text_bytes, void *into)                    \
	{                                                                                          \
		return name##_read(text, text_bytes, into);                                        \
	}                                                                                          \
	static void try_##name(const uint8_t *data, size_t bytes)                                  \
	{                                                                                          \
		static type value;                                                                 \
		char *text = NULL;                                                                 \
                                                                                                   \
		if (!name##_read((const void *)data, bytes, &value))                               \
			again(name##_write(&value, &text), text, read_##name, &value);             \
	}

READER(roles, struct roles)
READER(catalogue, struct catalogue)
READER(state, struct state)
READER(lease, struct lease)
READER(order, struct order)
READER(memory, struct memory)

static void try_text(const uint8_t *data, size_t bytes)
{
	static struct token token;
	struct audit_head head;
	char *text = malloc(bytes + 1);

	memcpy(text, data, bytes);
	text[bytes] = 0;
	token_read(text, &token);
	audit_head_read(text, &head);
	audit_follow(&head, text, bytes);
	free(text);
}

static void try_rest(const uint8_t *data, size_t bytes)
{
	struct dsse_envelope envelope;
	struct policy_effective effective;
	struct policy_subject subject = {.device = "d"};
	struct policy *policy;
	struct public_key key;
	char name[SIGNING_KEY_NAME_MAX];

	if (!dsse_parse((const char *)data, bytes, &envelope)) {
		dsse_verify(&envelope, envelope.type, &(struct public_key){{1}}, 1, 1);
		dsse_release(&envelope);
	}
	if (!policy_read(data, bytes, &policy)) {
		policy_merge(policy, &subject, &effective);
		json_decref(policy_view(&effective));
		policy_free(policy);
	}
	signing_key_read_public((const char *)data, bytes, &key, name);
}

/** A described guest with some bytes of its descriptor and its measurement changed: it is the described one no more. */
static void try_guest(const uint8_t *data, size_t bytes)
{
	static struct signing_key key;
	static struct roles roles;
	struct {
		struct bulkhead_measurement measurement;
		char descriptor[DESCRIPTOR_TEXT_MAX];
	} signed_guest = {.measurement = {.digest = {1, 2, 3}, .is_sealed = 1}}, guest;
	struct descriptor descriptor = {.memory_mib = 256, .processors = 1, .measurement = {1, 2, 3}};
	size_t text_bytes;

	if (roles.key_count == 0 && (signing_key_generate(&key, "images") ||
				     roles_add_key(&roles, ROLE_IMAGES, &key.public_half, "images")))
		abort();
	if (descriptor_sign(&descriptor, &key, signed_guest.descriptor))
		abort();
	text_bytes = strlen(signed_guest.descriptor);
	guest = signed_guest;
	for (; bytes >= 3; data += 3, bytes -= 3)
		((uint8_t *)&guest)[(data[0] << 8 | data[1]) % sizeof(guest)] ^= data[2];
	if (measured_guest_check(&roles, guest.descriptor, text_bytes, &guest.measurement) == 0 &&
	    (memcmp(guest.descriptor, signed_guest.descriptor, text_bytes) ||
	     memcmp(guest.measurement.digest, signed_guest.measurement.digest, sizeof(guest.measurement.digest)) ||
	     !guest.measurement.is_sealed))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static void (*const readers[])(const uint8_t *,
				       size_t) = {try_roles, try_catalogue, try_state, try_lease,
						  try_order, try_memory,    try_text,  try_rest, try_guest};

	if (!bytes || signing_key_start())
		return 0;
	readers[data[0] % 9](data + 1, bytes - 1);
	return 0;
}
