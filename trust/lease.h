/*
 * lease.h: how long a PC may hold its guests' keys without hearing from the server.
 *
 * A lease is {not after, powered seconds, starts}; whichever runs out first locks. Starts and
 * powered time are charged in advance against counters that only go up (TPM NV counters, or a file
 * without a TPM); dates are compared with the latest time that the server has ever signed, so that
 * turning the clock back gains nothing.
 */
#ifndef TRUST_LEASE_H
#define TRUST_LEASE_H

#include <stddef.h>
#include <stdint.h>

#define LEASE_DEVICE_MAX 65

struct lease {
	char device[LEASE_DEVICE_MAX];
	uint64_t serial;
	int64_t issued;
	int64_t not_after;
	uint64_t powered_seconds;
	uint64_t starts;
};

/** The counters at one moment, in the lease's units. */
struct lease_counters {
	uint64_t powered_seconds;
	uint64_t starts;
};

/** A lease and the counters when it was accepted: what is charged beyond them is used up. */
struct lease_account {
	struct lease lease;
	struct lease_counters accepted;
};

enum lease_verdict {
	LEASE_GOOD,
	LEASE_WARN,	   /* four fifths of one of the three are used: time to renew */
	LEASE_DATE_PASSED, /* from here on: locked */
	LEASE_POWERED_USED_UP,
	LEASE_STARTS_USED_UP,
	LEASE_COUNTERS_LOWER, /* counters below those at acceptance: a restored copy */
};

/** Reads a payload. Returns 0, -EBADMSG or -EMSGSIZE. */
int lease_read(const void *payload, size_t payload_bytes, struct lease *lease);

/** Writes the canonical payload; the caller frees @text. Returns 0 or -ENOMEM. */
int lease_write(const struct lease *lease, char **text);

/**
 * Judges the lease.
 *
 * @account: the lease that is held.
 * @now: the counters, before the next charge.
 * @time: the later of the clock and of the highest time that the server has signed, Unix seconds.
 */
enum lease_verdict lease_judge(const struct lease_account *account,
			       const struct lease_counters *now, int64_t time);

/** True if keys may be out under this verdict. */
static inline int lease_allows(enum lease_verdict verdict)
{
	return verdict == LEASE_GOOD || verdict == LEASE_WARN;
}

/** One line about a verdict for the user of the PC. */
const char *lease_text(enum lease_verdict verdict);

#endif
