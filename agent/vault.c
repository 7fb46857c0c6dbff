/* Opening a vault, what it remembers and what it says about itself: see vault.h. */
#include "vault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "durable_file.h"
#include "trust/strict_json.h"
#include "vault_private.h"

int vault_fail(struct vault *vault, int result, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(vault->error, sizeof(vault->error), format, arguments);
	va_end(arguments);
	return result;
}

int vault_backend_failed(struct vault *vault, int result)
{
	return vault_fail(vault, result, "%s", vault->backend->ops->error(vault->backend));
}

const char *vault_error(const struct vault *vault)
{
	return vault->error;
}

static int64_t system_clock(void)
{
	return (int64_t)time(NULL);
}

void vault_set_clock(struct vault *vault, int64_t (*clock)(void))
{
	vault->clock = clock;
}

void vault_set_phrase_cost(struct vault *vault, enum key_copy_cost cost)
{
	vault->phrase_cost = cost;
}

enum key_copy_cost vault_phrase_cost(const struct vault *vault)
{
	return vault->phrase_cost;
}

int vault_load(struct vault *vault)
{
	struct vault_counters counters;
	struct vault_content after;
	int result = vault->backend->ops->counters(vault->backend, &counters);

	if (result != 0)
		return vault_backend_failed(vault, result);
	/* A wipe writes what remains beside the old file, raises the epoch, then renames: either
	 * may have happened. */
	result = vault_content_load(vault->path_after, &after);
	if (result == 0 && after.epoch == counters.epoch) {
		if (rename(vault->path_after, vault->path) != 0 ||
		    durable_file_sync_directory(vault->path) != 0)
			result = vault_fail(vault, -errno, "%s: %s", vault->path, strerror(errno));
	}
	if (result == 0)
		vault_content_release(&after);
	else if (result != -ENOENT && result != -EBADMSG)
		return result;
	vault_content_release(&vault->content);
	result = vault_content_load(vault->path, &vault->content);
	vault->begun = result == 0;
	if (result == -ENOENT)
		return 0;
	return result == 0
		   ? 0
		   : vault_fail(vault, result,
				"%s: cannot be read; restore it from a backup, or install this PC anew",
				vault->path);
}

int vault_open(const char *directory, enum vault_owner owner, struct vault_backend *backend,
	       struct vault **vault, char *error, size_t error_size)
{
	struct vault *new = calloc(1, sizeof(*new));
	int result;

	*vault = NULL;
	if (!new) {
		backend->ops->close(backend);
		return -ENOMEM;
	}
	new->backend = backend;
	new->owner = owner;
	new->clock = system_clock;
	result = durable_file_make_directory(directory, 0700);
	if (snprintf(new->path, sizeof(new->path), "%s/vault", directory) >=
		(int)sizeof(new->path) ||
	    snprintf(new->path_after, sizeof(new->path_after), "%s/vault.after", directory) >=
		(int)sizeof(new->path_after))
		result = -ENAMETOOLONG;
	if (result != 0)
		vault_fail(new, result, "%s: %s", directory, strerror(-result));
	if (result == 0 && (result = backend->ops->prepare(backend)) != 0)
		vault_backend_failed(new, result);
	if (result == 0)
		result = vault_load(new);
	if (result != 0) {
		snprintf(error, error_size, "%s", new->error);
		vault_close(new);
		return result;
	}
	*vault = new;
	return 0;
}

void vault_close(struct vault *vault)
{
	if (!vault)
		return;
	vault->backend->ops->close(vault->backend);
	vault_content_release(&vault->content);
	free(vault);
}

void vault_exchange_pair(const unsigned char secret[VAULT_SECRET_BYTES],
			 unsigned char public_key[32], unsigned char secret_key[32])
{
	unsigned char seed[crypto_box_SEEDBYTES];

	crypto_generichash(seed, sizeof(seed), (const unsigned char *)"exchange", 8, secret,
			   VAULT_SECRET_BYTES);
	crypto_box_seed_keypair(public_key, secret_key, seed);
	sodium_memzero(seed, sizeof(seed));
}

int vault_begin(struct vault *vault, const char *owner, const char *device)
{
	unsigned char secret[VAULT_SECRET_BYTES], secret_key[32];
	struct vault_content *content = &vault->content;
	struct vault_counters counters;
	int result = vault->backend->ops->counters(vault->backend, &counters);

	if (result != 0)
		return vault_backend_failed(vault, result);
	vault_content_release(content);
	snprintf(content->owner, sizeof(content->owner), "%s", owner);
	snprintf(content->device, sizeof(content->device), "%s", device);
	content->epoch = counters.epoch;
	randombytes_buf(secret, sizeof(secret));
	vault_exchange_pair(secret, content->exchange_key, secret_key);
	result = vault->backend->ops->seal(vault->backend, content->epoch, NULL, secret,
					   &content->renewal);
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(secret_key, sizeof(secret_key));
	if (result != 0)
		return vault_backend_failed(vault, result);
	return 0;
}

void vault_measure_guests(struct vault *vault)
{
	vault->measures_guests = vault->owner == VAULT_OF_COMPANY;
}

/** Why keys stay in, or NULL; `result` gets the errno that says so. */
static const char *reason(struct vault *vault, const struct vault_record *record, int *result)
{
	struct lease_account account;
	struct vault_counters counters;
	struct lease_counters used;
	enum lease_verdict verdict;

	*result = 0;
	if (vault->owner == VAULT_OF_USER)
		return NULL;
	*result = vault->backend->ops->counters(vault->backend, &counters);
	if (*result != 0)
		return vault->backend->ops->error(vault->backend);
	*result = -ENOKEY;
	if (!vault->begun || !vault->content.roles)
		return "this PC is not enrolled; a token from the company does it";
	*result = -EKEYREVOKED;
	if (vault->content.epoch != counters.epoch)
		return "this PC's vault was wiped; install it anew to enrol it";
	*result = -EKEYEXPIRED;
	if (record->state_status == STATE_LOCKED)
		return "the company has locked this PC; ask its help desk";
	if (record->state_status != STATE_ACTIVE)
		return "this PC was reported lost or its access was revoked; ask the company's "
		       "help desk";
	if (vault_lease_now(vault, record, &account, &verdict, &used) != 0)
		return "this PC has no lease yet; connect it to the company's network";
	*result = 0;
	if (lease_allows(verdict))
		return NULL;
	*result = -EKEYEXPIRED;
	return lease_text(verdict);
}

int vault_check(struct vault *vault)
{
	struct vault_record record;
	const char *why;
	int result = vault->backend->ops->record_read(vault->backend, &record);

	if (result != 0)
		return vault_backend_failed(vault, result);
	why = reason(vault, &record, &result);
	return why ? vault_fail(vault, result, "%s", why) : 0;
}

static void describe_lease(struct vault *vault, const struct vault_record *record, json_t *state)
{
	struct lease_account account;
	struct lease_counters used;
	enum lease_verdict verdict;
	uint64_t powered, starts;

	if (vault->owner == VAULT_OF_USER ||
	    vault_lease_now(vault, record, &account, &verdict, &used) != 0)
		return;
	powered = used.powered_seconds - account.accepted.powered_seconds;
	starts = used.starts - account.accepted.starts;
	json_object_set_new(
	    state, "lease",
	    json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "serial", (json_int_t)account.lease.serial,
		"not_after", (json_int_t)account.lease.not_after, "powered_seconds_used",
		(json_int_t)powered, "starts_used", (json_int_t)starts, "powered_seconds_left",
		(json_int_t)(powered < account.lease.powered_seconds
				 ? account.lease.powered_seconds - powered
				 : 0),
		"starts_left",
		(json_int_t)(starts < account.lease.starts ? account.lease.starts - starts : 0),
		"renew", verdict != LEASE_GOOD));
}

/** The last start is used: nothing new starts, and what was started in time goes on. */
static bool only_starts_are_used_up(struct vault *vault, const struct vault_record *record,
				    int result)
{
	struct lease_account account;
	struct lease_counters used;
	enum lease_verdict verdict;

	return result == -EKEYEXPIRED && record->state_status == STATE_ACTIVE &&
	       vault_lease_now(vault, record, &account, &verdict, &used) == 0 &&
	       verdict == LEASE_STARTS_USED_UP;
}

json_t *vault_state(struct vault *vault)
{
	const struct vault_backend_ops *ops = vault->backend->ops;
	unsigned char attestation_key[TPM_PUBLIC_KEY_BYTES];
	struct vault_counters counters;
	struct vault_record record;
	const char *why;
	json_t *state;
	int result;

	if (ops->counters(vault->backend, &counters) != 0 ||
	    ops->record_read(vault->backend, &record) != 0) {
		vault_backend_failed(vault, -EIO);
		return NULL;
	}
	why = reason(vault, &record, &result);
	state = json_pack(
	    "{s:s, s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I}", "kind", ops->kind, "enforcement",
	    ops->enforced ? "tpm" : "advisory", "owner", vault->content.owner, "device",
	    vault->content.device, "bound", vault->content.roles != NULL, "open", why == NULL,
	    "epoch", (json_int_t)counters.epoch, "highest_time", (json_int_t)record.highest_time,
	    "order_sequence", (json_int_t)record.order_sequence, "state_serial",
	    (json_int_t)record.state_serial, "lease_serial", (json_int_t)record.lease_serial);
	if (!state)
		return NULL;
	json_object_set_new(state, "guests", json_string(vault->measures_guests ? "measured" : "advisory"));
	if (why)
		json_object_set_new(state, "reason", json_string(why));
	if (vault->begun)
		json_object_set_new(state, "exchange_key",
				    strict_json_new_bytes(vault->content.exchange_key, 32));
	if (ops->attestation_key(vault->backend, attestation_key) == 0)
		json_object_set_new(
		    state, "attestation_key",
		    strict_json_new_bytes(attestation_key, sizeof(attestation_key)));
	if (vault->backend->base_index)
		json_object_set_new(state, "nv_base", json_integer(vault->backend->base_index));
	json_object_set_new(
	    state, "may_run",
	    json_boolean(why == NULL || only_starts_are_used_up(vault, &record, result)));
	describe_lease(vault, &record, state);
	return state;
}
