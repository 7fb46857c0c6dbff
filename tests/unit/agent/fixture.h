/**
 * What the agent's tests share: a scratch directory, an emulated TPM with its state outside that
 * directory, and a company with root, server and officers' keys that signs what a test asks for.
 */
#ifndef TESTS_AGENT_FIXTURE_H
#define TESTS_AGENT_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "trust/memory.h"
#include "trust/signing_key.h"

#define FIXTURE_DEVICE "pc-1"

struct company {
	struct signing_key root, server, policy, officers[2];
	struct roles roles;
	char *roles_text; /* envelope */
};

struct emulated_tpm {
	char directory[64];
	char tcti[128];
	pid_t process;
};

/** A fresh directory under /tmp; fixture_remove() deletes it with all below. */
void fixture_directory(char path[64]);
void fixture_remove(const char *path);

/** Copies the files of one directory into another: the attacker's disk snapshot. */
void fixture_copy(const char *from, const char *to);

/** Starts swtpm on fresh state. */
void fixture_tpm_start(struct emulated_tpm *tpm);
/** Power cut: kills it, keeps its state. */
void fixture_tpm_kill(struct emulated_tpm *tpm);
void fixture_tpm_run(struct emulated_tpm *tpm);
void fixture_tpm_remove(struct emulated_tpm *tpm);

void company_make(struct company *company);
void company_release(struct company *company);

/** Signed envelopes as text; the caller frees. */
char *company_lease(const struct company *company, uint64_t serial, int64_t issued,
		    int64_t not_after, uint64_t powered_seconds, uint64_t starts);
char *company_state(const struct company *company, uint64_t serial, int64_t issued,
		    enum state_status status);
/** `signers`: how many officers sign. */
char *company_order(const struct company *company, const struct order *order, int signers);
/** Signs any payload of `type` with `count` keys. */
char *company_sign(const char *type, const char *payload, const struct signing_key *const *keys,
		   int count);

#endif
