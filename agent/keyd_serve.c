/* The five calls of bulkhead-keyd: see keyd_serve.h. */
#include "keyd_serve.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "phrase.h"
#include "trust/strict_json.h"

#define FIELD(tag) (1u << KEYD_TAG_##tag)

struct call {
	struct vault *vault;
	const struct keyd_peer *peer;
	const struct keyd_message *message;
	struct keyd_writer *answer;
	const char *error; /* set where the vault's own line does not fit */
};

static const struct keyd_value *value_of(const struct call *call, enum keyd_tag tag)
{
	return &call->message->field[tag];
}

static int refuse(struct call *call, int result, const char *error)
{
	call->error = error;
	return result;
}

static int add_state(struct call *call)
{
	json_t *state = vault_state(call->vault);
	char *text = state ? strict_json_write(state) : NULL;

	if (text)
		keyd_wire_add_text(call->answer, KEYD_TAG_STATE, text);
	free(text);
	json_decref(state);
	return text ? 0 : -EIO;
}

static int serve_state(struct call *call)
{
	return add_state(call);
}

static int serve_lease(struct call *call)
{
	const struct keyd_value *roles = value_of(call, KEYD_TAG_ROOT),
				*lease = value_of(call, KEYD_TAG_LEASE);
	char owner[65], device[65];
	int result = 0;

	if (value_of(call, KEYD_TAG_OWNER)->present || value_of(call, KEYD_TAG_DEVICE)->present) {
		if (!roles->present ||
		    keyd_wire_text(call->message, KEYD_TAG_OWNER, owner, sizeof(owner)) != 0 ||
		    keyd_wire_text(call->message, KEYD_TAG_DEVICE, device, sizeof(device)) != 0 ||
		    !strict_json_is_name(owner) || !strict_json_is_name(device))
			return refuse(
			    call, -EINVAL,
			    "binding needs a root of trust, an owner's and a device's name");
		result = vault_bind(call->vault, (const char *)roles->bytes, roles->size_bytes,
				    owner, device);
	} else if (roles->present) {
		result =
		    vault_follow_roles(call->vault, (const char *)roles->bytes, roles->size_bytes);
	}
	if (result == 0 && lease->present)
		result = vault_freshen(call->vault, (const char *)lease->bytes, lease->size_bytes);
	return result == 0 ? add_state(call) : result;
}

/** An order beside the key's source: who has the key gives it, whom it names takes it. */
static int take_order(struct call *call, const char *name, unsigned char recipient[32])
{
	const struct keyd_value *order = value_of(call, KEYD_TAG_ORDER);
	int result = vault_take_release_order(call->vault, name, (const char *)order->bytes,
					      order->size_bytes, recipient);

	if (result == 0 && value_of(call, KEYD_TAG_COPY)->present &&
	    memcmp(recipient, vault_exchange_key(call->vault), 32) != 0)
		return refuse(call, -EXDEV, "the order releases the key to another vault");
	return result;
}

/** Where the key to wrap comes from: given, wrapped earlier, a copy, or (all absent) nothing but
 * chance. */
static int find_key(struct call *call, const char *name, unsigned char key[32])
{
	const struct keyd_value *given = value_of(call, KEYD_TAG_KEY),
				*blob = value_of(call, KEYD_TAG_BLOB);
	const struct keyd_value *copy = value_of(call, KEYD_TAG_COPY);
	const struct keyd_value *phrase = value_of(call, KEYD_TAG_PHRASE);
	const char *slash = strchr(name, '/'), *disk = slash ? slash + 1 : name;
	struct vault_wrapped wrapped;
	int result;

	if (given->present) {
		if (given->size_bytes != 32)
			return refuse(call, -EINVAL, "a key has 32 bytes");
		memcpy(key, given->bytes, 32);
		return 0;
	}
	if (blob->present) {
		if (blob->size_bytes > sizeof(wrapped.bytes))
			return refuse(call, -EINVAL, "this is no wrapped key");
		memcpy(wrapped.bytes, blob->bytes, blob->size_bytes);
		wrapped.size_bytes = blob->size_bytes;
		return vault_release(call->vault, name, &wrapped, false, NULL, key);
	}
	if (copy->present && !phrase->present)
		return vault_open_released(call->vault, name, copy->bytes, copy->size_bytes, key);
	if (!copy->present) {
		randombytes_buf(key, 32);
		return 0;
	}
	result = key_copy_from_phrase(copy->bytes, copy->size_bytes, disk,
				      (const char *)phrase->bytes, phrase->size_bytes, key);
	if (result == -EKEYREJECTED)
		return refuse(call, result, "this phrase does not open this disk's copy");
	if (result == -EBADMSG)
		return refuse(call, result, "the phrase has a wrong word, or the copy is damaged");
	return result == 0
		   ? 0
		   : refuse(call, result, "a recovery phrase is nine words of five letters");
}

/** One source at most; a copy with a phrase or an order; an order with a copy or a wrapped key. */
static bool sources_fit(const struct call *call)
{
	bool given = value_of(call, KEYD_TAG_KEY)->present,
	     blob = value_of(call, KEYD_TAG_BLOB)->present;
	bool copy = value_of(call, KEYD_TAG_COPY)->present,
	     phrase = value_of(call, KEYD_TAG_PHRASE)->present;
	bool order = value_of(call, KEYD_TAG_ORDER)->present;

	return given + blob + copy <= 1 && phrase + order <= 1 && (!copy || phrase || order) &&
	       (!phrase || copy) && (!order || copy || blob) &&
	       !(order && value_of(call, KEYD_TAG_RECIPIENT)->present);
}

static int add_recipient_copy(struct call *call, const char *disk, const unsigned char key[32],
			      const unsigned char *recipients, size_t size_bytes)
{
	struct key_copy copy;
	int result = size_bytes % KEY_COPY_RECIPIENT_BYTES == 0
			 ? key_copy_to_recipients(key, disk, recipients,
						  size_bytes / KEY_COPY_RECIPIENT_BYTES, &copy)
			 : -EINVAL;

	if (result != 0)
		return refuse(call, result,
			      "recovery keys are 1 to 4 X25519 public keys of 32 bytes");
	keyd_wire_add(call->answer, KEYD_TAG_COPY_RECIPIENT, copy.bytes, copy.size_bytes);
	return 0;
}

static int add_copies(struct call *call, const char *name, const unsigned char key[32],
		      const unsigned char *ordered_recipient)
{
	const struct keyd_value *recipients = value_of(call, KEYD_TAG_RECIPIENT);
	const struct keyd_value *phrase = value_of(call, KEYD_TAG_SEAL_PHRASE);
	const char *slash = strchr(name, '/'), *disk = slash ? slash + 1 : name;
	struct key_copy copy;
	int result = 0;

	if (ordered_recipient)
		result = add_recipient_copy(call, disk, key, ordered_recipient, 32);
	else if (recipients->present)
		result =
		    add_recipient_copy(call, disk, key, recipients->bytes, recipients->size_bytes);
	if (result == 0 && phrase->present) {
		result =
		    key_copy_to_phrase(key, disk, (const char *)phrase->bytes, phrase->size_bytes,
				       vault_phrase_cost(call->vault), &copy);
		if (result != 0)
			return refuse(call, result,
				      "a recovery phrase is nine words of five letters");
		keyd_wire_add(call->answer, KEYD_TAG_COPY_PHRASE, copy.bytes, copy.size_bytes);
	}
	return result;
}

/** The call's flags, none where it carries none. False: there are others than `known`. */
static bool read_flags(const struct call *call, uint32_t known, uint32_t *flags)
{
	const struct keyd_value *value = value_of(call, KEYD_TAG_FLAGS);

	*flags = 0;
	if (!value->present)
		return true;
	if (value->size_bytes != sizeof(*flags))
		return false;
	memcpy(flags, value->bytes, sizeof(*flags));
	return !(*flags & ~known);
}

static int serve_seal(struct call *call)
{
	struct vault_wrapped wrapped;
	char name[KEYD_NAME_MAX_BYTES];
	unsigned char key[32], recipient[32];
	bool ordered = value_of(call, KEYD_TAG_ORDER)->present;
	bool gives = ordered && value_of(call, KEYD_TAG_BLOB)->present;
	uint32_t flags;
	int result = keyd_wire_text(call->message, KEYD_TAG_NAME, name, sizeof(name));

	if (result != 0)
		return refuse(call, -EINVAL, "a key's name is GUEST/DISK");
	if (!read_flags(call, KEYD_SEAL_FOR_GUEST, &flags))
		return refuse(call, -EINVAL, "there is no such flag");
	if (!sources_fit(call))
		return refuse(call, -EINVAL, "a key comes from one place only");
	if (ordered)
		result = take_order(call, name, recipient);
	if (result == 0)
		result = find_key(call, name, key);
	if (result == 0)
		result = vault_wrap(call->vault, name, key, flags & KEYD_SEAL_FOR_GUEST, &wrapped);
	if (result == 0)
		result = add_copies(call, name, key, gives ? recipient : NULL);
	if (result == 0)
		keyd_wire_add(call->answer, KEYD_TAG_BLOB, wrapped.bytes, wrapped.size_bytes);
	sodium_memzero(key, sizeof(key));
	return result;
}

static int serve_release(struct call *call)
{
	const struct keyd_value *blob = value_of(call, KEYD_TAG_BLOB),
				*descriptor = value_of(call, KEYD_TAG_DESCRIPTOR);
	const struct vault_guest guest = {(const char *)descriptor->bytes, descriptor->size_bytes, call->peer->guest};
	bool has_guest = descriptor->present && guest.measurement;
	struct vault_wrapped wrapped;
	char name[KEYD_NAME_MAX_BYTES];
	unsigned char key[32];
	uint32_t flags;
	int result;

	if (keyd_wire_text(call->message, KEYD_TAG_NAME, name, sizeof(name)) != 0 ||
	    !blob->present || blob->size_bytes > sizeof(wrapped.bytes) ||
	    !read_flags(call, KEYD_RELEASE_START, &flags))
		return refuse(call, -EINVAL, "a release needs a name and a wrapped key");
	memcpy(wrapped.bytes, blob->bytes, blob->size_bytes);
	wrapped.size_bytes = blob->size_bytes;
	result = vault_release(call->vault, name, &wrapped, flags & KEYD_RELEASE_START, has_guest ? &guest : NULL, key);
	if (result == 0)
		keyd_wire_add(call->answer, KEYD_TAG_KEY, key, sizeof(key));
	sodium_memzero(key, sizeof(key));
	return result;
}

static int serve_wipe(struct call *call)
{
	const struct keyd_value *order = value_of(call, KEYD_TAG_ORDER);
	unsigned char receipt[TPM_RECEIPT_MAX_BYTES];
	size_t receipt_size = 0;
	int result = vault_wipe(call->vault, order->present ? (const char *)order->bytes : NULL,
				order->size_bytes, receipt, sizeof(receipt), &receipt_size);

	if (result != 0)
		return result;
	keyd_wire_add(call->answer, KEYD_TAG_RECEIPT, receipt, receipt_size);
	return add_state(call);
}

/* Which call takes which fields, and who besides the agent may make it. */
static const struct {
	uint32_t fields;
	bool anyone_named;
	int (*serve)(struct call *call);
} calls[] = {
    [KEYD_STATE] = {0, true, serve_state},
    [KEYD_LEASE] = {FIELD(ROOT) | FIELD(OWNER) | FIELD(DEVICE) | FIELD(LEASE), false, serve_lease},
    [KEYD_SEAL] = {FIELD(NAME) | FIELD(KEY) | FIELD(BLOB) | FIELD(COPY) | FIELD(PHRASE) |
		       FIELD(ORDER) | FIELD(RECIPIENT) | FIELD(SEAL_PHRASE) | FIELD(FLAGS),
		   false, serve_seal},
    [KEYD_RELEASE] = {FIELD(NAME) | FIELD(BLOB) | FIELD(FLAGS) | FIELD(DESCRIPTOR), false, serve_release},
    [KEYD_WIPE] = {FIELD(ORDER), false, serve_wipe},
};

static int admit(struct call *call, const struct keyd_access *access)
{
	uid_t peer = call->peer->user;
	uint16_t number = call->message->call;

	if (number >= sizeof(calls) / sizeof(calls[0]) || !calls[number].serve)
		return refuse(call, -ENOSYS, "there is no such call");
	if (peer != access->agent && (!calls[number].anyone_named || peer != access->state))
		return refuse(call, -EACCES, "this user may not make this call");
	for (unsigned int tag = 1; tag < KEYD_TAG_COUNT; tag++)
		if (call->message->field[tag].present && !(calls[number].fields & 1u << tag))
			return refuse(call, -EINVAL, "this call does not take this field");
	return call->message->error ? refuse(call, -EINVAL, "a call carries no error") : 0;
}

void keyd_serve(struct vault *vault, const struct keyd_access *access, const struct keyd_peer *peer,
		const unsigned char *bytes, size_t size_bytes, struct keyd_writer *answer)
{
	struct keyd_message message;
	struct call call = {vault, peer, &message, answer, NULL};
	int result = keyd_wire_parse(bytes, size_bytes, &message);

	if (result != 0)
		call.error = "this is no message of this protocol";
	keyd_wire_begin(answer, message.call, 0);
	if (result == 0)
		result = admit(&call, access);
	if (result == 0)
		result = calls[message.call].serve(&call);
	if (result == 0)
		result = keyd_wire_end(answer);
	if (result == 0)
		return;
	/* Nothing that was added before the failure leaves: it may be a key. */
	sodium_memzero(answer->bytes, answer->size_bytes);
	keyd_wire_begin(answer, message.call, (uint32_t)-result);
	keyd_wire_add_text(answer, KEYD_TAG_ERROR, call.error ? call.error : vault_error(vault));
	keyd_wire_end(answer);
}
