/* officer.h: key files and what is signed with them at the command: roles, catalogues, policy,
 * orders. */
#ifndef BULKHEAD_CLI_OFFICER_H
#define BULKHEAD_CLI_OFFICER_H

#include "remote.h"

/** Options that every command which signs has. */
#define OFFICER_PASSPHRASE                                                                         \
	{                                                                                          \
		"passphrase-file", "FILE",                                                         \
		    "read the key's passphrase from the first line of FILE", 0, false              \
	}

/**
 * Opens a key file, asking for its passphrase if it needs one (option passphrase-file) and this
 * command has not opened it before.
 * Forget the key with signing_key_forget(). Returns CLI_OK, or CLI_FAILED after saying why.
 */
int officer_key(const struct cli_context *context, const char *file, struct signing_key *key);

/** Opens every file that option @option names, so that a long command asks before it works. */
int officer_unlock(const struct cli_context *context, const char *option);

/** Lets officer_key() give @key for @file, until this command ends. */
void officer_remember(const char *file, const struct signing_key *key);

/**
 * Makes and signs an envelope with every file that option @option names (it may be repeated).
 *
 * @payload: text; taken over.
 * @text: receives the envelope's JSON, freed by the caller.
 */
int officer_sign(const struct cli_context *context, const char *option, const char *type,
		 char *payload, char **text);

/** Adds the signatures of option @option to an envelope. */
int officer_sign_more(const struct cli_context *context, const char *option,
		      struct dsse_envelope *envelope);

#endif
