/*
 * order.h: what only officers may order: wiping a guest, and handing a disk's key to somebody.
 *
 * An order names one device and carries a sequence number that only goes up there, so that it can
 * be neither used on another PC nor used twice. Two officers sign it; the PC checks that itself
 * (roles.h), the server only carries it.
 */
#ifndef TRUST_ORDER_H
#define TRUST_ORDER_H

#include "trust/roles.h"

#include <stdint.h>

#define ORDER_NAME_MAX	 65
#define ORDER_REASON_MAX 257

enum order_kind { ORDER_WIPE, ORDER_RELEASE_KEY };

struct order {
	enum order_kind kind;
	char device[ORDER_NAME_MAX];
	uint64_t sequence;
	int64_t issued;
	int64_t expires;
	char guest[ORDER_NAME_MAX]; /* wipe: the guest, or "*" for everything the company keeps on
				       the PC */
	char disk[ORDER_NAME_MAX];  /* key release: which disk */
	uint8_t recipient[32];	    /* key release: X25519 key to seal it to */
	char reason[ORDER_REASON_MAX];
};

/** Reads a payload. Checks no signature. Returns 0, -EBADMSG or -EMSGSIZE. */
int order_read(const void *payload, size_t payload_bytes, struct order *order);

/** Writes the canonical payload; the caller frees @text. Returns 0 or -ENOMEM. */
int order_write(const struct order *order, char **text);

/**
 * Decides whether a PC obeys.
 *
 * @roles: the roles the PC holds. Expired roles still command: who stole a PC must not escape a
 * wipe by keeping news from it.
 * @device: the PC's own id.
 * @obeyed: the highest sequence it has obeyed.
 * @now: the later of clock and highest signed time.
 *
 * Returns 0 and the order, -EKEYREJECTED (not enough officers), -EPROTOTYPE, -EBADMSG, -EMSGSIZE,
 * -EXDEV (another device), -ESTALE (obeyed already), -EKEYEXPIRED.
 */
int order_accept(const struct roles *roles, const struct dsse_envelope *envelope,
		 const char *device, uint64_t obeyed, int64_t now, struct order *order);

#endif
