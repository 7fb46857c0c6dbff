/* What the agent asks of its vault: see agent_keys.h. */
#include "agent_keys.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keyd_client.h"
#include "trust/strict_json.h"

/* Messages are 64 KiB: too large for a thread's stack twice over. */
struct exchange {
	struct keyd_writer call;
	struct keyd_answer answer;
};

static struct exchange *begin(enum keyd_call call)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));

	if (exchange)
		keyd_wire_begin(&exchange->call, (uint16_t)call, 0);
	return exchange;
}

static int perform_for(struct exchange *exchange, const char *socket, int guest, char error[256])
{
	int result = keyd_client_call(socket, &exchange->call, guest, &exchange->answer);

	if (result != 0)
		snprintf(error, 256, "%s", exchange->answer.error);
	return result;
}

static int perform(struct exchange *exchange, const char *socket, char error[256])
{
	return perform_for(exchange, socket, -1, error);
}

static int finish(struct exchange *exchange, int result)
{
	sodium_memzero(exchange, sizeof(*exchange));
	free(exchange);
	return result;
}

int agent_keys_state(const char *socket, json_t **state, char error[256])
{
	struct exchange *exchange = begin(KEYD_STATE);
	const struct keyd_value *value;
	int result;

	if (!exchange)
		return -ENOMEM;
	result = perform(exchange, socket, error);
	value = &exchange->answer.message.field[KEYD_TAG_STATE];
	if (result == 0)
		result = strict_json_parse((const char *)value->bytes, value->size_bytes,
					   KEYD_MESSAGE_MAX_BYTES, state);
	return finish(exchange, result);
}

int agent_keys_bind(const char *socket, const char *roles, const char *owner, const char *device,
		    char error[256])
{
	struct exchange *exchange = begin(KEYD_LEASE);

	if (!exchange)
		return -ENOMEM;
	keyd_wire_add_text(&exchange->call, KEYD_TAG_ROOT, roles);
	keyd_wire_add_text(&exchange->call, KEYD_TAG_OWNER, owner);
	keyd_wire_add_text(&exchange->call, KEYD_TAG_DEVICE, device);
	return finish(exchange, perform(exchange, socket, error));
}

int agent_keys_follow(const char *socket, const char *roles, char error[256])
{
	struct exchange *exchange = begin(KEYD_LEASE);

	if (!exchange)
		return -ENOMEM;
	keyd_wire_add_text(&exchange->call, KEYD_TAG_ROOT, roles);
	return finish(exchange, perform(exchange, socket, error));
}

int agent_keys_freshen(const char *socket, const char *envelope, char error[256])
{
	struct exchange *exchange = begin(KEYD_LEASE);

	if (!exchange)
		return -ENOMEM;
	keyd_wire_add_text(&exchange->call, KEYD_TAG_LEASE, envelope);
	return finish(exchange, perform(exchange, socket, error));
}

static void take_copy(const struct exchange *exchange, enum keyd_tag tag, struct key_copy *copy)
{
	const struct keyd_value *value = &exchange->answer.message.field[tag];

	copy->size_bytes = value->size_bytes <= sizeof(copy->bytes) ? value->size_bytes : 0;
	if (copy->size_bytes > 0)
		memcpy(copy->bytes, value->bytes, copy->size_bytes);
}

int agent_keys_seal(const char *socket, const char *name, const struct agent_key_source *source,
		    struct agent_key_copies *copies, struct agent_blob *blob, char error[256])
{
	const uint32_t for_guest = KEYD_SEAL_FOR_GUEST;
	struct exchange *exchange = begin(KEYD_SEAL);
	struct keyd_writer *call;
	const struct keyd_value *value;
	int result;

	if (!exchange)
		return -ENOMEM;
	call = &exchange->call;
	keyd_wire_add_text(call, KEYD_TAG_NAME, name);
	if (source && source->key)
		keyd_wire_add(call, KEYD_TAG_KEY, source->key, 32);
	if (source && source->blob)
		keyd_wire_add(call, KEYD_TAG_BLOB, source->blob->bytes, source->blob->size_bytes);
	if (source && source->copy)
		keyd_wire_add(call, KEYD_TAG_COPY, source->copy, source->copy_bytes);
	if (source && source->phrase)
		keyd_wire_add_text(call, KEYD_TAG_PHRASE, source->phrase);
	if (source && source->order)
		keyd_wire_add_text(call, KEYD_TAG_ORDER, source->order);
	if (source && source->for_guest)
		keyd_wire_add(call, KEYD_TAG_FLAGS, &for_guest, sizeof(for_guest));
	if (copies && copies->recipient_count > 0)
		keyd_wire_add(call, KEYD_TAG_RECIPIENT, copies->recipients,
			      copies->recipient_count * 32);
	if (copies && copies->phrase)
		keyd_wire_add_text(call, KEYD_TAG_SEAL_PHRASE, copies->phrase);
	result = perform(exchange, socket, error);
	value = &exchange->answer.message.field[KEYD_TAG_BLOB];
	if (result == 0 && (value->size_bytes == 0 || value->size_bytes > sizeof(blob->bytes)))
		result = -EPROTO;
	if (result == 0) {
		memcpy(blob->bytes, value->bytes, value->size_bytes);
		blob->size_bytes = value->size_bytes;
	}
	if (result == 0 && copies) {
		take_copy(exchange, KEYD_TAG_COPY_RECIPIENT, &copies->for_recipients);
		take_copy(exchange, KEYD_TAG_COPY_PHRASE, &copies->for_phrase);
	}
	return finish(exchange, result);
}

int agent_keys_release(const char *socket, const char *name, const struct agent_blob *blob,
		       bool start, const struct agent_keys_guest *guest, unsigned char key[32],
		       char error[256])
{
	struct exchange *exchange = begin(KEYD_RELEASE);
	const uint32_t flags = start ? KEYD_RELEASE_START : 0;
	const struct keyd_value *value;
	int result;

	if (!exchange)
		return -ENOMEM;
	keyd_wire_add_text(&exchange->call, KEYD_TAG_NAME, name);
	keyd_wire_add(&exchange->call, KEYD_TAG_BLOB, blob->bytes, blob->size_bytes);
	keyd_wire_add(&exchange->call, KEYD_TAG_FLAGS, &flags, sizeof(flags));
	if (guest)
		keyd_wire_add_text(&exchange->call, KEYD_TAG_DESCRIPTOR, guest->descriptor);
	result = perform_for(exchange, socket, guest ? guest->file : -1, error);
	value = &exchange->answer.message.field[KEYD_TAG_KEY];
	if (result == 0 && value->size_bytes != 32)
		result = -EPROTO;
	if (result == 0)
		memcpy(key, value->bytes, 32);
	return finish(exchange, result);
}

int agent_keys_wipe(const char *socket, const char *order, char **receipt, char error[256])
{
	struct exchange *exchange = begin(KEYD_WIPE);
	const struct keyd_value *value;
	size_t room;
	int result;

	if (!exchange)
		return -ENOMEM;
	if (order)
		keyd_wire_add_text(&exchange->call, KEYD_TAG_ORDER, order);
	result = perform(exchange, socket, error);
	value = &exchange->answer.message.field[KEYD_TAG_RECEIPT];
	if (result == 0) {
		room = sodium_base64_encoded_len(value->size_bytes, sodium_base64_VARIANT_ORIGINAL);
		*receipt = malloc(room);
		if (*receipt)
			sodium_bin2base64(*receipt, room, value->bytes, value->size_bytes,
					  sodium_base64_VARIANT_ORIGINAL);
		else
			result = -ENOMEM;
	}
	return finish(exchange, result);
}
