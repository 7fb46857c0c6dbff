/*
 * memory.h: what a PC (or an administrator's command) remembers of the documents it has accepted,
 * and the one door through which new ones pass.
 *
 * Each *_accept function checks who signed, whether the document goes forward and whether it
 * concerns this device, and only then changes the memory: whole or not at all. What is remembered
 * is written with memory_write() and must be kept before the document is acted on. Freshness is
 * asked separately (memory_may_install()): old metadata blocks new versions, never installed ones.
 */
#ifndef TRUST_MEMORY_H
#define TRUST_MEMORY_H

#include "trust/audit.h"
#include "trust/catalogue.h"
#include "trust/lease.h"
#include "trust/order.h"
#include "trust/policy.h"
#include "trust/roles.h"
#include "trust/state.h"

#include <stdbool.h>
#include <stdint.h>

#define MEMORY_IMAGES_MAX 64

struct memory_image {
	char image[CATALOGUE_NAME_MAX];
	uint64_t catalogue; /* highest version accepted */
	uint64_t floor;	    /* highest floor accepted: survives the catalogue */
};

/** Plain data, no ownership. All zero but for @device and @roles is the memory of a new device. */
struct memory {
	char device[STATE_NAME_MAX]; /* own id; empty for an administrator's command */
	struct roles roles;
	int64_t time;	/* highest time that the server has signed */
	uint64_t state; /* serials and versions: highest accepted */
	uint64_t policy;
	uint64_t lease;
	uint64_t order; /* highest sequence obeyed */
	struct audit_head head;
	size_t image_count;
	struct memory_image images[MEMORY_IMAGES_MAX];
};

/** Reads what memory_write() wrote. Returns 0, -EBADMSG or -EMSGSIZE. */
int memory_read(const char *text, size_t text_bytes, struct memory *memory);

/** Writes the memory; the caller frees @text and keeps it where nobody else writes. Returns 0 or
 * -ENOMEM. */
int memory_write(const struct memory *memory, char **text);

/** The later of @clock and the highest signed time: what everything here means by "now". */
int64_t memory_now(const struct memory *memory, int64_t clock);

/** Starts a memory from the roles document whose pin came with the token. -EKEYREJECTED if the pin
 * is another. */
int memory_start(struct memory *memory, const char *device, const struct dsse_envelope *roles,
		 const uint8_t pin[32]);

/** Takes the next roles document. Returns as roles_follow(). */
int memory_accept_roles(struct memory *memory, const struct dsse_envelope *envelope);

/**
 * Takes a state. Returns 0, -EKEYREJECTED, -EPROTOTYPE, -EBADMSG, -EMSGSIZE, -EXDEV (another
 * device's), -ESTALE.
 */
int memory_accept_state(struct memory *memory, const struct dsse_envelope *envelope,
			struct state *state);

/** Takes a catalogue of @image. As memory_accept_state(), and -ENOSPC (MEMORY_IMAGES_MAX). */
int memory_accept_catalogue(struct memory *memory, const char *image,
			    const struct dsse_envelope *envelope, struct catalogue *catalogue);

/** Takes a policy; free it with policy_free(). As memory_accept_state(). */
int memory_accept_policy(struct memory *memory, const struct dsse_envelope *envelope,
			 struct policy **policy);

/** Takes a lease; its account starts at @counters. As memory_accept_state(). */
int memory_accept_lease(struct memory *memory, const struct dsse_envelope *envelope,
			const struct lease_counters *counters, struct lease_account *account);

/** Takes an order, which then counts as obeyed. Returns as order_accept(). */
int memory_accept_order(struct memory *memory, const struct dsse_envelope *envelope, int64_t clock,
			struct order *order);

/**
 * Takes an audit head (header Bulkhead-Audit-Head). Returns 0, -EBADMSG, -EKEYREJECTED, or -ESTALE:
 * the log is shorter than, or differs from, what this device witnessed; worth telling a person.
 */
int memory_accept_head(struct memory *memory, const char *text);

/**
 * May @release be installed now? Needs fresh roles, state and catalogue, and the floor.
 * Returns 0, -EKEYEXPIRED (one of them is stale), -EPERM (below the floor) or -ENOENT (no such
 * release).
 */
int memory_may_install(const struct memory *memory, const struct state *state,
		       const struct catalogue *catalogue, uint64_t release, int64_t clock);

/** May an installed release be started? Only the floor decides: 0 or -EPERM. */
int memory_may_start(const struct memory *memory, const char *image, uint64_t release);

/** One line about a negative errno of this part, for a person. */
const char *memory_reason(int status);

#endif
