/*
 * company.h: a company for tests: every key, a roles document, and shortcuts to sign what a test
 * needs. Keys are made from fixed seeds, so that a failure repeats.
 */
#ifndef TESTS_TRUST_COMPANY_H
#define TESTS_TRUST_COMPANY_H

#include "trust/memory.h"

#include <stdint.h>

#define COMPANY_NOW 1800000000

enum company_key {
	KEY_ROOT_1,
	KEY_ROOT_2,
	KEY_IMAGES,
	KEY_POLICY,
	KEY_OFFICER_1,
	KEY_OFFICER_2,
	KEY_SERVER,
	KEY_STRANGER, /* in no role */
	KEY_COUNT
};

struct company {
	struct signing_key keys[KEY_COUNT];
	struct roles roles; /* version 1: root 2 of 2, the others as usual */
};

void company_make(struct company *company);

/** Signs @payload as @type with @count keys. */
void company_sign(const struct company *company, struct dsse_envelope *envelope, const char *type,
		  const char *payload, size_t count, const enum company_key *keys);

/** As company_sign() with one key, as JSON text that the caller frees. */
char *company_sign_text(const struct company *company, const char *type, const char *payload,
			enum company_key key);

/** The memory of a device "d-1" of this company. */
void company_memory(const struct company *company, struct memory *memory);

#endif
