/*
 * The owner's word: root of trust, lease and state. Everything signed passes through
 * trust/memory.h, filled from the record that the back end keeps, so a vault restored from an old
 * copy still knows what it has seen.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trust/measured_guest.h"
#include "vault_private.h"

/** Powered units that are over: the one running was charged when it began. */
static uint64_t powered_seconds(uint64_t units)
{
	return units > 0 ? (units - 1) * VAULT_POWERED_UNIT_SECONDS : 0;
}

/** Reads the roles document in `text` if the record says that it counts. */
static int read_roles(const char *text, const struct vault_record *record, struct roles *roles)
{
	struct dsse_envelope envelope;
	unsigned char digest[32];
	int result = text ? dsse_parse(text, strlen(text), &envelope) : -ENOENT;

	if (result != 0)
		return result;
	/* Whoever edits the disk must not choose the officers: the record says which document it
	 * is. */
	roles_pin(&envelope, digest);
	if (memcmp(digest, record->roles_digest, sizeof(digest)) != 0)
		result = -EKEYREJECTED;
	else
		result = roles_read(envelope.payload, envelope.payload_bytes, roles);
	dsse_release(&envelope);
	return result;
}

int vault_remember(struct vault *vault, const struct vault_record *record, struct memory *memory)
{
	memset(memory, 0, sizeof(*memory));
	if (!vault->content.roles)
		return vault_fail(vault, -ENOKEY, "this PC is not enrolled; a token from the company does it");
	if (read_roles(vault->content.roles, record, &memory->roles) != 0 &&
	    read_roles(vault->content.roles_next, record, &memory->roles) != 0)
		return vault_fail(
		    vault, -EKEYREJECTED,
		    "the vault's root of trust is not the one it was bound to; install it anew to enrol it");
	memcpy(memory->device, vault->content.device, sizeof(memory->device));
	memory->time = (int64_t)record->highest_time;
	memory->state = record->state_serial;
	memory->lease = record->lease_serial;
	memory->order = record->order_sequence;
	return 0;
}

int vault_recall(struct vault *vault, struct vault_record *record, struct memory *memory)
{
	int result = vault->backend->ops->record_read(vault->backend, record);

	return result == 0 ? vault_remember(vault, record, memory) : vault_backend_failed(vault, result);
}

int vault_lease_now(struct vault *vault, const struct vault_record *record,
		    struct lease_account *account, enum lease_verdict *verdict,
		    struct lease_counters *used)
{
	struct dsse_envelope envelope;
	struct vault_counters counters;
	struct memory memory;
	int result;

	if (!vault->content.lease || record->lease_serial == 0)
		return -ENOENT;
	result = vault_remember(vault, record, &memory);
	if (result == 0)
		result = dsse_parse(vault->content.lease, strlen(vault->content.lease), &envelope);
	if (result != 0)
		return result;
	result = roles_verify(&memory.roles, ROLE_SERVER, DSSE_TYPE_LEASE, &envelope);
	if (result == 0)
		result = lease_read(envelope.payload, envelope.payload_bytes, &account->lease);
	dsse_release(&envelope);
	/* A lease from a copy of the disk is an older one than the record's. */
	if (result == 0 && account->lease.serial != record->lease_serial)
		result = -ENOENT;
	if (result == 0)
		result = vault->backend->ops->counters(vault->backend, &counters);
	if (result != 0)
		return result;
	account->accepted.powered_seconds = record->accepted_powered * VAULT_POWERED_UNIT_SECONDS;
	account->accepted.starts = record->accepted_starts;
	used->powered_seconds = powered_seconds(counters.powered);
	used->starts = counters.starts;
	*verdict = lease_judge(account, used, memory_now(&memory, vault->clock()));
	return 0;
}

int vault_check_guest(struct vault *vault, const char *name, const struct vault_guest *guest)
{
	struct vault_record record;
	struct memory memory;
	int result = vault_recall(vault, &record, &memory);

	if (result != 0)
		return result;
	result = measured_guest_check(&memory.roles, guest->descriptor, guest->descriptor_bytes, guest->measurement);
	return result == 0 ? 0 : vault_fail(vault, result, "%s: %s", name, measured_guest_reason(result));
}

int vault_bind(struct vault *vault, const char *roles, size_t roles_bytes, const char *owner,
	       const char *device)
{
	const struct vault_backend_ops *ops = vault->backend->ops;
	struct dsse_envelope envelope;
	struct vault_counters counters;
	struct vault_record record;
	struct memory memory;
	unsigned char pin[32];
	int result;

	if (vault->owner != VAULT_OF_COMPANY)
		return vault_fail(vault, -EPERM, "a user's own vault is bound to nobody");
	result = ops->counters(vault->backend, &counters);
	if (result != 0)
		return vault_backend_failed(vault, result);
	if (vault->content.roles && vault->content.epoch == counters.epoch)
		return vault_fail(vault, -EEXIST, "this vault belongs to %s; have it wiped first",
				  vault->content.owner);
	result = dsse_parse(roles, roles_bytes, &envelope);
	if (result == 0) {
		roles_pin(&envelope, pin);
		result = memory_start(&memory, device, &envelope, pin);
		dsse_release(&envelope);
	}
	if (result != 0)
		return vault_fail(vault, result, "the root of trust: %s", memory_reason(result));
	result = ops->record_read(vault->backend, &record);
	if (result != 0)
		return vault_backend_failed(vault, result);
	result = vault_begin(vault, owner, device);
	if (result != 0)
		return result;
	vault->content.roles = strndup(roles, roles_bytes);
	if (!vault->content.roles)
		return -ENOMEM;
	/* A new root of trust counts from its own beginning; the time that was seen stays. */
	record = (struct vault_record){.highest_time = record.highest_time,
				       .state_status = STATE_ACTIVE};
	memcpy(record.roles_digest, pin, sizeof(pin));
	result = ops->record_write(vault->backend, &record);
	if (result != 0)
		return vault_backend_failed(vault, result);
	result = vault_content_save(vault->path, &vault->content);
	vault->begun = result == 0;
	return result == 0 ? 0
			   : vault_fail(vault, result, "%s: %s", vault->path, strerror(-result));
}

int vault_follow_roles(struct vault *vault, const char *roles, size_t roles_bytes)
{
	struct vault_record record;
	struct dsse_envelope envelope;
	struct memory memory;
	char *text;
	int result = vault_recall(vault, &record, &memory);

	if (result != 0)
		return result;
	if (strlen(vault->content.roles) == roles_bytes &&
	    memcmp(vault->content.roles, roles, roles_bytes) == 0)
		return 0;
	result = dsse_parse(roles, roles_bytes, &envelope);
	if (result == 0) {
		result = memory_accept_roles(&memory, &envelope);
		roles_pin(&envelope, record.roles_digest);
		dsse_release(&envelope);
	}
	if (result != 0)
		return vault_fail(vault, result, "the new root of trust: %s",
				  memory_reason(result));
	text = strndup(roles, roles_bytes);
	if (!text)
		return -ENOMEM;
	/* Both documents, then the record that says which counts, then the new one alone: a crash
	 * leaves one that counts. */
	free(vault->content.roles_next);
	vault->content.roles_next = text;
	result = vault_content_save(vault->path, &vault->content);
	if (result != 0)
		return vault_fail(vault, result, "%s: %s", vault->path, strerror(-result));
	result = vault->backend->ops->record_write(vault->backend, &record);
	if (result != 0)
		return vault_backend_failed(vault, result);
	free(vault->content.roles);
	vault->content.roles = text;
	vault->content.roles_next = NULL;
	result = vault_content_save(vault->path, &vault->content);
	return result == 0 ? 0
			   : vault_fail(vault, result, "%s: %s", vault->path, strerror(-result));
}

/** Seals the secret anew within the lease's bounds, so that the back end enforces them by itself.
 */
static int seal_working(struct vault *vault, const struct lease_account *account)
{
	struct vault_content *content = &vault->content;
	unsigned char secret[VAULT_SECRET_BYTES];
	const uint64_t unit = VAULT_POWERED_UNIT_SECONDS;
	int result = vault->backend->ops->unseal(vault->backend, content->epoch, NULL,
						 &content->renewal, secret);

	if (result != 0)
		return vault_backend_failed(vault, result);
	content->bounds.starts_max = account->accepted.starts + account->lease.starts;
	/* The running unit is charged already, hence the one above what is over. */
	content->bounds.powered_max = account->accepted.powered_seconds / unit + 1 +
				      (account->lease.powered_seconds + unit - 1) / unit;
	result = vault->backend->ops->seal(vault->backend, content->epoch, &content->bounds, secret,
					   &content->working);
	sodium_memzero(secret, sizeof(secret));
	return result == 0 ? 0 : vault_backend_failed(vault, result);
}

static int take_lease(struct vault *vault, struct vault_record *record, struct memory *memory,
		      const struct dsse_envelope *envelope, const char *text, size_t text_bytes)
{
	struct lease_account account;
	struct vault_counters counters;
	struct lease_counters now;
	struct lease offered;
	char *kept;
	int result = vault->backend->ops->counters(vault->backend, &counters);

	if (result != 0)
		return vault_backend_failed(vault, result);
	now = (struct lease_counters){powered_seconds(counters.powered), counters.starts};
	result = roles_verify(&memory->roles, ROLE_SERVER, DSSE_TYPE_LEASE, envelope);
	if (result == 0 && lease_read(envelope->payload, envelope->payload_bytes, &offered) == 0 &&
	    offered.serial == record->lease_serial)
		return 0;
	if (result == 0)
		result = memory_accept_lease(memory, envelope, &now, &account);
	if (result != 0)
		return vault_fail(vault, result, "the lease: %s", memory_reason(result));
	result = seal_working(vault, &account);
	if (result != 0)
		return result;
	kept = strndup(text, text_bytes);
	if (!kept)
		return -ENOMEM;
	free(vault->content.lease);
	vault->content.lease = kept;
	/* The file first: with the record first, a crash would leave a serial without its lease. */
	result = vault_content_save(vault->path, &vault->content);
	if (result != 0)
		return vault_fail(vault, result, "%s: %s", vault->path, strerror(-result));
	record->lease_serial = account.lease.serial;
	record->accepted_starts = account.accepted.starts;
	record->accepted_powered = account.accepted.powered_seconds / VAULT_POWERED_UNIT_SECONDS;
	return 0;
}

int vault_freshen(struct vault *vault, const char *envelope_text, size_t envelope_bytes)
{
	struct vault_record record, before;
	struct dsse_envelope envelope;
	struct memory memory;
	struct state *state = NULL;
	int result = vault_recall(vault, &record, &memory);

	if (result != 0)
		return result;
	before = record;
	result = dsse_parse(envelope_text, envelope_bytes, &envelope);
	if (result != 0)
		return vault_fail(vault, result, "the document: %s", memory_reason(result));
	if (strcmp(envelope.type, DSSE_TYPE_LEASE) == 0) {
		result =
		    take_lease(vault, &record, &memory, &envelope, envelope_text, envelope_bytes);
	} else {
		state = malloc(sizeof(*state));
		result = state ? memory_accept_state(&memory, &envelope, state) : -ENOMEM;
		if (result != 0)
			vault_fail(vault, result, "the state: %s", memory_reason(result));
		else {
			record.state_serial = state->serial;
			record.state_status = (uint64_t)state->status;
		}
		free(state);
	}
	dsse_release(&envelope);
	if (result != 0)
		return result;
	record.highest_time = (uint64_t)memory.time;
	if (memcmp(&record, &before, sizeof(record)) == 0)
		return 0;
	result = vault->backend->ops->record_write(vault->backend, &record);
	return result == 0 ? 0 : vault_backend_failed(vault, result);
}

int vault_charge_powered(struct vault *vault)
{
	int result;

	if (vault->owner == VAULT_OF_USER)
		return 0;
	result = vault->backend->ops->charge(vault->backend, VAULT_COUNTER_POWERED);
	return result == 0 ? 0 : vault_backend_failed(vault, result);
}
