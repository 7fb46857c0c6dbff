/** Shared by vault.c, vault_trust.c and vault_keys.c only. */
#ifndef AGENT_VAULT_PRIVATE_H
#define AGENT_VAULT_PRIVATE_H

#include <limits.h>

#include "trust/memory.h"
#include "vault.h"
#include "vault_content.h"

struct vault {
	char path[PATH_MAX];	   /* of the content file */
	char path_after[PATH_MAX]; /* content that becomes true when a wipe's epoch does */
	enum vault_owner owner;
	struct vault_backend *backend;
	struct vault_content content;
	bool measures_guests;
	bool begun; /* content holds a vault; false before the first binding or key */
	int64_t (*clock)(void);
	enum key_copy_cost phrase_cost;
	char error[320];
};

/** Remembers one line and returns `result`. */
int vault_fail(struct vault *vault, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** As vault_fail with the back end's own line. */
int vault_backend_failed(struct vault *vault, int result);

/** Fills `memory` from the vault's record and root of trust. -ENOKEY when not bound. */
int vault_remember(struct vault *vault, const struct vault_record *record, struct memory *memory);

/** Reads the record from the back end, and fills `memory` as vault_remember() does. */
int vault_recall(struct vault *vault, struct vault_record *record, struct memory *memory);

/** Holds a guest against its descriptor, and that against the vault's root of trust. `name`: of the key it is for. */
int vault_check_guest(struct vault *vault, const char *name, const struct vault_guest *guest);

/** Begins the content: a random secret, sealed for the present epoch; saved. */
int vault_begin(struct vault *vault, const char *owner, const char *device);

/** The lease in force and its verdict. -ENOENT: none. `account` and `verdict` are valid on 0. */
int vault_lease_now(struct vault *vault, const struct vault_record *record,
		    struct lease_account *account, enum lease_verdict *verdict,
		    struct lease_counters *used);

/** Puts the X25519 pair that officers release keys to, derived from the secret. */
void vault_exchange_pair(const unsigned char secret[VAULT_SECRET_BYTES],
			 unsigned char public_key[32], unsigned char secret_key[32]);

/** Opens the content that is true now: the one whose epoch the back end has. */
int vault_load(struct vault *vault);

#endif
