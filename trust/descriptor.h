/*
 * descriptor.h: a guest's descriptor: which machine a guest is, and what it must measure as, signed
 * by whose it is (a work guest's with a key of the role images, a personal one's by its owner).
 *
 * Text, these lines in this order, each ended by a newline:
 *
 *   memory 2048              MiB, even
 *   processors 2
 *   network yes|no           whether it has a network card
 *   guest-agent yes|no       whether it has a port for the agent in it (qemu-guest-agent)
 *   measurement HEX          64 digits: what the hypervisor says of it when it is sealed
 *   signature HEX            128 digits: Ed25519 over DESCRIPTOR_CONTEXT and the lines before
 *
 * Descriptors of context 2 have no line for the port and are read as if it said yes: every guest that they were made of
 * had one.
 *
 * All but the last two are what a monitor's configuration is made from. A wrong one makes another guest,
 * which measures differently: the measurement alone decides.
 */
#ifndef TRUST_DESCRIPTOR_H
#define TRUST_DESCRIPTOR_H

#include "trust/signing_key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DESCRIPTOR_CONTEXT	     "bulkhead guest descriptor 3\n"
#define DESCRIPTOR_TEXT_MAX	     512 /* with the terminator */
#define DESCRIPTOR_MEASUREMENT_BYTES 32
#define DESCRIPTOR_MEMORY_MIB_LEAST  64
#define DESCRIPTOR_MEMORY_MIB_MOST   65536
#define DESCRIPTOR_PROCESSORS_MOST   16

struct descriptor {
	uint32_t memory_mib; /* DESCRIPTOR_MEMORY_MIB_LEAST to _MOST, even */
	uint32_t processors; /* 1 to DESCRIPTOR_PROCESSORS_MOST */
	bool has_network, has_guest_agent;
	uint8_t measurement[DESCRIPTOR_MEASUREMENT_BYTES];
};

/** Reads the text without looking at the signature. Returns 0 or -EBADMSG. */
int descriptor_read(const char *text, size_t text_bytes, struct descriptor *descriptor);

/** Reads the text and checks that @key signed it. Returns 0, -EBADMSG or -EKEYREJECTED. */
int descriptor_verify(const char *text, size_t text_bytes, const struct public_key *key,
		      struct descriptor *descriptor);

/** Writes the signed text, NUL-terminated. Returns 0, or -EINVAL if a field is out of its range. */
int descriptor_sign(const struct descriptor *descriptor, const struct signing_key *key,
		    char text[DESCRIPTOR_TEXT_MAX]);

#endif
