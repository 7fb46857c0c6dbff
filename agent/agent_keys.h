/** What the agent asks of its vault, in its own words: thin over keyd_client.h. */
#ifndef AGENT_KEYS_H
#define AGENT_KEYS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "key_copy.h"

#define AGENT_BLOB_MAX_BYTES 128

/** The guest that keys are for: sealed by its monitor, described by whose it is. */
struct agent_keys_guest {
	int file;		/* that /dev/kvm gave for it; -1: there is no hypervisor to measure it */
	const char *descriptor; /* signed text */
};

struct agent_blob {
	unsigned char bytes[AGENT_BLOB_MAX_BYTES];
	size_t size_bytes;
};

/** Where a key to seal comes from; all NULL: a fresh random one. */
struct agent_key_source {
	const unsigned char *key; /* 32 bytes */
	const struct agent_blob *blob;
	const unsigned char *copy;
	size_t copy_bytes;
	const char *phrase; /* with copy: one of these */
	const char *order;
	bool for_guest; /* a key that is to come out for measured guests only, where the vault can measure */
};

/** Which copies to make besides. */
struct agent_key_copies {
	const unsigned char *recipients; /* 32 bytes each */
	size_t recipient_count;
	const char *phrase;
	struct key_copy for_recipients, for_phrase; /* out */
};

/** Each returns 0 or negative errno and puts one line into `error` (256 bytes). `socket` is the
 * vault's. */
int agent_keys_state(const char *socket, json_t **state, char error[256]);
int agent_keys_bind(const char *socket, const char *roles, const char *owner, const char *device,
		    char error[256]);
int agent_keys_follow(const char *socket, const char *roles, char error[256]);
int agent_keys_freshen(const char *socket, const char *envelope, char error[256]);
int agent_keys_seal(const char *socket, const char *name, const struct agent_key_source *source,
		    struct agent_key_copies *copies, struct agent_blob *blob, char error[256]);
/** `guest` NULL: the key is not for a guest that starts. */
int agent_keys_release(const char *socket, const char *name, const struct agent_blob *blob,
		       bool start, const struct agent_keys_guest *guest, unsigned char key[32],
		       char error[256]);
/** `receipt` is base64, the caller frees. */
int agent_keys_wipe(const char *socket, const char *order, char **receipt, char error[256]);

#endif
