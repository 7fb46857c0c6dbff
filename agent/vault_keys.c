/*
 * Wrapping and giving out keys, and destroying them. A disk's key is wrapped by its guest's slot
 * key, that by the vault's secret, that sealed by the back end for one epoch: raising the epoch
 * kills all, and a wiped guest's slot is gone for good because the slots that stay are wrapped anew
 * under a new secret.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "durable_file.h"
#include "trust/strict_json.h"
#include "vault_private.h"

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

/* What a wrapped key is authenticated with: its name, and whether it waits for a measured guest. No name has a colon. */
#define FOR_GUEST   "measured:"
#define LABEL_BYTES (sizeof(FOR_GUEST) + 2 * VAULT_NAME_BYTES)

static void wrap(const unsigned char under[32], const char *name, const unsigned char key[32],
		 unsigned char wrapped[VAULT_WRAPPED_BYTES])
{
	randombytes_buf(wrapped, NONCE);
	crypto_aead_xchacha20poly1305_ietf_encrypt(wrapped + NONCE, NULL, key, 32,
						   (const unsigned char *)name, strlen(name), NULL,
						   wrapped, under);
}

static int unwrap(const unsigned char under[32], const char *name,
		  const unsigned char wrapped[VAULT_WRAPPED_BYTES], unsigned char key[32])
{
	return crypto_aead_xchacha20poly1305_ietf_decrypt(
		   key, NULL, NULL, wrapped + NONCE, VAULT_WRAPPED_BYTES - NONCE,
		   (const unsigned char *)name, strlen(name), wrapped, under) == 0
		   ? 0
		   : -EKEYREJECTED;
}

/** Splits "GUEST/DISK"; both are names as everywhere. */
static int split(struct vault *vault, const char *name, char guest[VAULT_NAME_BYTES],
		 const char **disk)
{
	const char *slash = strchr(name, '/');

	if (slash && slash - name < VAULT_NAME_BYTES) {
		memcpy(guest, name, (size_t)(slash - name));
		guest[slash - name] = '\0';
		*disk = slash + 1;
		if (strict_json_is_name(guest) && strict_json_is_name(*disk))
			return 0;
	}
	return vault_fail(vault, -EINVAL, "a key's name is GUEST/DISK, not '%.64s'", name);
}

static struct vault_slot *find_slot(struct vault_content *content, const char *guest)
{
	for (size_t i = 0; i < content->slot_count; i++)
		if (strcmp(content->slots[i].guest, guest) == 0)
			return &content->slots[i];
	return NULL;
}

/** The secret that serves: within the lease's bounds for a company's vault that has one. */
static int unseal(struct vault *vault, bool renewal, unsigned char secret[VAULT_SECRET_BYTES])
{
	struct vault_content *content = &vault->content;
	bool bounded = !renewal && content->working.size_bytes > 0;
	int result = vault->backend->ops->unseal(
	    vault->backend, content->epoch, bounded ? &content->bounds : NULL,
	    bounded ? &content->working : &content->renewal, secret);

	return result == 0 ? 0 : vault_backend_failed(vault, result);
}

static int begin_if_own(struct vault *vault)
{
	int result;

	if (vault->begun)
		return 0;
	if (vault->owner == VAULT_OF_COMPANY)
		return vault_fail(vault, -ENOKEY, "this PC is not enrolled; a token from the company does it");
	result = vault_begin(vault, "user", "own");
	if (result == 0)
		result = vault_content_save(vault->path, &vault->content);
	vault->begun = result == 0;
	return result == 0 ? 0
			   : vault_fail(vault, result, "%s: %s", vault->path, strerror(-result));
}

static int make_slot(struct vault *vault, const unsigned char secret[VAULT_SECRET_BYTES],
		     const char *guest, unsigned char key[32])
{
	struct vault_content *content = &vault->content;
	struct vault_slot *slot;
	int result;

	if (content->slot_count == VAULT_SLOTS_MAX)
		return vault_fail(vault, -ENOSPC,
				  "this vault holds keys of %d guests already; remove one first",
				  VAULT_SLOTS_MAX);
	slot = &content->slots[content->slot_count];
	snprintf(slot->guest, sizeof(slot->guest), "%s", guest);
	randombytes_buf(key, 32);
	wrap(secret, guest, key, slot->wrapped);
	content->slot_count++;
	result = vault_content_save(vault->path, content);
	if (result != 0) {
		content->slot_count--;
		return vault_fail(vault, result, "%s: %s", vault->path, strerror(-result));
	}
	return 0;
}

int vault_wrap(struct vault *vault, const char *name, const unsigned char key[32], bool for_guest,
	       struct vault_wrapped *wrapped)
{
	char label[LABEL_BYTES];
	unsigned char secret[VAULT_SECRET_BYTES], slot_key[32];
	char guest[VAULT_NAME_BYTES];
	struct vault_slot *slot;
	const char *disk;
	int result = split(vault, name, guest, &disk);

	if (result == 0)
		result = begin_if_own(vault);
	if (result == 0)
		result = vault_check(vault);
	if (result == 0)
		result = unseal(vault, false, secret);
	if (result != 0)
		return result;
	slot = find_slot(&vault->content, guest);
	result = slot ? unwrap(secret, guest, slot->wrapped, slot_key)
		      : make_slot(vault, secret, guest, slot_key);
	if (result == 0) {
		snprintf(label, sizeof(label), "%s%s", for_guest && vault->measures_guests ? FOR_GUEST : "", name);
		wrap(slot_key, label, key, wrapped->bytes);
		wrapped->size_bytes = VAULT_WRAPPED_BYTES;
	}
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(slot_key, sizeof(slot_key));
	return result;
}

/** Opens a key that was wrapped for `name`; one that was wrapped for measured guests only if one is there. */
static int unwrap_for(struct vault *vault, const unsigned char slot_key[32], const char *name, bool has_guest,
		      const unsigned char wrapped[VAULT_WRAPPED_BYTES], unsigned char key[32])
{
	char label[LABEL_BYTES];

	if (unwrap(slot_key, name, wrapped, key) == 0)
		return 0;
	snprintf(label, sizeof(label), FOR_GUEST "%s", name);
	if (unwrap(slot_key, label, wrapped, key) != 0)
		return vault_fail(vault, -EKEYREJECTED, "%s: this wrapped key is not from this vault", name);
	if (has_guest)
		return 0;
	sodium_memzero(key, 32);
	return vault_fail(vault, -EACCES, "%s: this key comes out for a guest that has been measured, and for nothing else",
			  name);
}

int vault_release(struct vault *vault, const char *name, const struct vault_wrapped *wrapped,
		  bool start, const struct vault_guest *guest, unsigned char key[32])
{
	unsigned char secret[VAULT_SECRET_BYTES], slot_key[32];
	char owner[VAULT_NAME_BYTES];
	struct vault_slot *slot;
	const char *disk;
	int result = split(vault, name, owner, &disk);

	if (result == 0 && wrapped->size_bytes != VAULT_WRAPPED_BYTES)
		result = vault_fail(vault, -EINVAL, "%s: this is no wrapped key", name);
	if (result == 0)
		result = vault_check(vault);
	if (result == 0 && guest)
		result = vault_check_guest(vault, name, guest);
	else if (result == 0 && start && vault->measures_guests)
		result = vault_fail(vault, -EACCES, "%s: a guest is started once it has been measured, and none came with the call",
				    name);
	slot = result == 0 ? find_slot(&vault->content, owner) : NULL;
	if (result == 0 && !slot)
		result = vault_fail(vault, -EKEYREVOKED,
				    "%s: its keys were wiped, or never were in this vault", owner);
	/* Charged before the key comes out: a power cut costs a start, it never gains one. */
	if (result == 0 && start && vault->owner == VAULT_OF_COMPANY) {
		result = vault->backend->ops->charge(vault->backend, VAULT_COUNTER_STARTS);
		if (result != 0)
			vault_backend_failed(vault, result);
	}
	if (result == 0)
		result = unseal(vault, false, secret);
	if (result != 0)
		return result;
	if (unwrap(secret, owner, slot->wrapped, slot_key) != 0)
		result = vault_fail(vault, -EKEYREJECTED, "%s: its slot in this vault is damaged", owner);
	else
		result = unwrap_for(vault, slot_key, name, guest != NULL, wrapped->bytes, key);
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(slot_key, sizeof(slot_key));
	return result;
}

/** Checks an order and remembers it as obeyed only when `record` is written. */
static int accept_order(struct vault *vault, const char *order_text, size_t order_bytes,
			enum order_kind kind, struct vault_record *record, struct order *order,
			unsigned char digest[32])
{
	struct dsse_envelope envelope;
	struct memory memory;
	int result = vault_recall(vault, record, &memory);

	if (result != 0)
		return result;
	result = dsse_parse(order_text, order_bytes, &envelope);
	if (result == 0) {
		result = memory_accept_order(&memory, &envelope, vault->clock(), order);
		roles_pin(&envelope, digest); /* SHA-256 of the signed bytes */
		dsse_release(&envelope);
	}
	if (result != 0)
		return vault_fail(vault, result, "the order: %s", memory_reason(result));
	if (order->kind != kind)
		return vault_fail(vault, -EPROTOTYPE, "the order: it orders something else");
	record->order_sequence = memory.order;
	return 0;
}

int vault_take_release_order(struct vault *vault, const char *name, const char *order_text,
			     size_t order_bytes, unsigned char recipient[32])
{
	char guest[VAULT_NAME_BYTES];
	unsigned char digest[32];
	struct vault_record record;
	struct order order;
	const char *disk;
	int result = split(vault, name, guest, &disk);

	if (result == 0)
		result = accept_order(vault, order_text, order_bytes, ORDER_RELEASE_KEY, &record,
				      &order, digest);
	if (result == 0 && strcmp(order.disk, disk) != 0)
		result =
		    vault_fail(vault, -EXDEV, "the order: it releases the key of %s, not of %s",
			       order.disk, disk);
	if (result != 0)
		return result;
	result = vault->backend->ops->record_write(vault->backend, &record);
	if (result != 0)
		return vault_backend_failed(vault, result);
	memcpy(recipient, order.recipient, 32);
	return 0;
}

const unsigned char *vault_exchange_key(const struct vault *vault)
{
	return vault->content.exchange_key;
}

int vault_open_released(struct vault *vault, const char *name, const unsigned char *copy,
			size_t copy_bytes, unsigned char key[32])
{
	unsigned char secret[VAULT_SECRET_BYTES], public_key[32], secret_key[32];
	char guest[VAULT_NAME_BYTES];
	struct key_copy inner;
	const char *disk;
	int result = split(vault, name, guest, &disk);

	if (result == 0)
		result = unseal(vault, false, secret);
	if (result != 0)
		return result;
	vault_exchange_pair(secret, public_key, secret_key);
	result = key_copy_peel(copy, copy_bytes, public_key, secret_key, &inner);
	if (result == 0)
		result = key_copy_open_inner(&inner, disk, key);
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(secret_key, sizeof(secret_key));
	sodium_memzero(&inner, sizeof(inner));
	return result == 0
		   ? 0
		   : vault_fail(vault, result, "%s: this copy was not sealed to this vault", disk);
}

/** What remains after `guest` is wiped: a new secret, the other slots under it, for the epoch to
 * come. */
static int prepare_rest(struct vault *vault, const char *guest, struct vault_content *rest)
{
	unsigned char secret[VAULT_SECRET_BYTES], fresh[VAULT_SECRET_BYTES], secret_key[32],
	    key[32];
	const struct vault_content *content = &vault->content;
	int result = unseal(vault, true, secret);

	if (result != 0)
		return result;
	*rest = *content;
	rest->slot_count = 0;
	rest->epoch = content->epoch + 1;
	rest->working.size_bytes = 0;
	randombytes_buf(fresh, sizeof(fresh));
	vault_exchange_pair(fresh, rest->exchange_key, secret_key);
	for (size_t i = 0; result == 0 && i < content->slot_count; i++) {
		struct vault_slot *slot = &rest->slots[rest->slot_count];

		if (strcmp(content->slots[i].guest, guest) == 0)
			continue;
		result = unwrap(secret, content->slots[i].guest, content->slots[i].wrapped, key);
		memcpy(slot->guest, content->slots[i].guest, sizeof(slot->guest));
		wrap(fresh, slot->guest, key, slot->wrapped);
		rest->slot_count++;
	}
	if (result == 0)
		result = vault->backend->ops->seal(vault->backend, rest->epoch, NULL, fresh,
						   &rest->renewal);
	if (result == 0 && content->working.size_bytes > 0)
		result = vault->backend->ops->seal(vault->backend, rest->epoch, &rest->bounds,
						   fresh, &rest->working);
	if (result == 0)
		result = vault_content_save(vault->path_after, rest);
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(fresh, sizeof(fresh));
	sodium_memzero(secret_key, sizeof(secret_key));
	sodium_memzero(key, sizeof(key));
	return result == 0 ? 0
			   : vault_fail(vault, result, "%s: what is to stay cannot be kept: %s",
					vault->path, strerror(-result));
}

int vault_wipe(struct vault *vault, const char *order_text, size_t order_bytes,
	       unsigned char *receipt, size_t capacity_bytes, size_t *receipt_size_bytes)
{
	struct order order = {.guest = "*"};
	struct vault_content rest;
	struct vault_record record;
	unsigned char digest[32] = {0};
	int result;

	if (!order_text && vault->owner == VAULT_OF_COMPANY)
		return vault_fail(vault, -EPERM,
				  "the company's vault is wiped by an order of two officers only");
	if (order_text) {
		result = accept_order(vault, order_text, order_bytes, ORDER_WIPE, &record, &order,
				      digest);
		if (result != 0)
			return result;
	} else {
		result = vault->backend->ops->record_read(vault->backend, &record);
		if (result != 0)
			return vault_backend_failed(vault, result);
	}
	if (strcmp(order.guest, "*") != 0) {
		result = prepare_rest(vault, order.guest, &rest);
		if (result != 0)
			return result;
	} else {
		unlink(vault->path_after);
	}
	result = vault->backend->ops->wipe(vault->backend, digest, receipt, capacity_bytes,
					   receipt_size_bytes);
	if (result != 0)
		return vault_backend_failed(vault, result);
	/* Obeyed. A crash before this line only means that the same order is obeyed once more. */
	result = vault->backend->ops->record_write(vault->backend, &record);
	if (result != 0)
		return vault_backend_failed(vault, result);
	/* Of a whole vault the binding stays, so that the next order or release is still checked;
	 * its keys are dead. */
	return vault_load(vault);
}
