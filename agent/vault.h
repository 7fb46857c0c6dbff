/**
 * The vault: the keys of one owner on one PC, and when they may come out. What is promised
 * (docs/keyd.md):
 * - a key comes out only while the owner's signed lease lasts and the owner's server has not said
 * "locked";
 * - what proves that lies where a copied disk and a turned clock cannot reach it (vault_backend.h);
 * - where there is a hypervisor to ask (vault_measure_guests()), keys that start a guest come out only for one
 * that is sealed and measures as its signed descriptor says;
 * - a wipe, ordered by two officers, is done even when locked, once, and leaves a receipt.
 * A user's own vault has no root of trust, no lease and no officers: its owner alone decides.
 *
 * Every function returns 0 or negative errno; vault_error() then holds one line for a person.
 * Nothing is cached: the secret is in memory only while a call needs it.
 */
#ifndef AGENT_VAULT_H
#define AGENT_VAULT_H

#include <jansson.h>

#include <bulkhead/hypercall.h>

#include "key_copy.h"
#include "vault_backend.h"

struct vault;

enum vault_owner { VAULT_OF_COMPANY, VAULT_OF_USER };

/** Opens (or begins) the vault in `directory`; takes `backend` over, also on failure. `error` gets
 * one line. */
int vault_open(const char *directory, enum vault_owner owner, struct vault_backend *backend,
	       struct vault **vault, char *error, size_t error_size);

void vault_close(struct vault *vault);

const char *vault_error(const struct vault *vault);

/** Seconds since 1970 as this PC's clock has them; replaced in tests. */
void vault_set_clock(struct vault *vault, int64_t (*clock)(void));

/** What guessing a recovery phrase costs in copies made from now on. */
void vault_set_phrase_cost(struct vault *vault, enum key_copy_cost cost);
enum key_copy_cost vault_phrase_cost(const struct vault *vault);

/**
 * From now on a start takes a measured guest, and so do keys that are wrapped for guests. Of a company's vault only: a
 * user's own has no root of trust that descriptors could be checked against.
 */
void vault_measure_guests(struct vault *vault);

/** Everything about the vault that is no secret; a new reference. Documented in docs/keyd.md. */
json_t *vault_state(struct vault *vault);

/** 0 while keys may come out; -EKEYEXPIRED, -EKEYREVOKED or -ENOKEY (unbound) with the reason in
 * vault_error(). */
int vault_check(struct vault *vault);

/** Binds an unbound vault to its owner's root of trust: roles document, owner's and device's names.
 * Once. */
int vault_bind(struct vault *vault, const char *roles, size_t roles_bytes, const char *owner,
	       const char *device);

/** Moves to the root of trust's successor. The same document again is accepted and changes nothing.
 */
int vault_follow_roles(struct vault *vault, const char *roles, size_t roles_bytes);

/** Takes signed freshness: a lease or a state, told apart by its type. The same again changes
 * nothing. */
int vault_freshen(struct vault *vault, const char *envelope, size_t envelope_bytes);

/** Charges a unit of powered time, in advance. Called at start and then every
 * VAULT_POWERED_UNIT_SECONDS. */
int vault_charge_powered(struct vault *vault);

/** A wrapped key, as the caller keeps it. */
struct vault_wrapped {
	unsigned char bytes[128];
	size_t size_bytes;
};

/** Wraps `key` for `name` ("GUEST/DISK"). `for_guest`: for measured guests only, if this vault measures them.
 * Needs no lease but the secret. */
int vault_wrap(struct vault *vault, const char *name, const unsigned char key[32], bool for_guest,
	       struct vault_wrapped *wrapped);

/** The guest that a key is for: what its owner signed, and what the hypervisor says of it. */
struct vault_guest {
	const char *descriptor;
	size_t descriptor_bytes;
	const struct bulkhead_measurement *measurement;
};

/**
 * Gives a key out. With `start`, charges one start first, whatever happens next. A `guest` (NULL: none) is held against
 * its descriptor before anything else happens; -EACCES where there has to be one, or what measured_guest_check() says.
 */
int vault_release(struct vault *vault, const char *name, const struct vault_wrapped *wrapped,
		  bool start, const struct vault_guest *guest, unsigned char key[32]);

/**
 * Takes two officers' signed order to release the key `name` by this PC, once. `recipient` gets the
 * X25519 key that it names: who has the key seals it to that; who gets it is that
 * (vault_open_released()).
 */
int vault_take_release_order(struct vault *vault, const char *name, const char *order,
			     size_t order_bytes, unsigned char recipient[32]);

/** Opens a copy that was sealed to this vault's exchange key. Call only after an order said so. */
int vault_open_released(struct vault *vault, const char *name, const unsigned char *copy,
			size_t copy_bytes, unsigned char key[32]);

/** The X25519 public key that copies for this vault are sealed to. */
const unsigned char *vault_exchange_key(const struct vault *vault);

/** Obeys a wipe. `order` NULL is allowed for a user's own vault only. `receipt` gets its bytes. */
int vault_wipe(struct vault *vault, const char *order, size_t order_bytes, unsigned char *receipt,
	       size_t capacity_bytes, size_t *receipt_size_bytes);

#endif
