/*
 * Judging whether a PC can run Bulkhead.
 */
#ifndef BULKHEAD_CLI_CAPABILITIES_H
#define BULKHEAD_CLI_CAPABILITIES_H

#include "facts.h"

/** How one requirement stands. */
enum capability {
	CAPABILITY_GOOD,
	CAPABILITY_WEAK,    /**< Bulkhead runs, but protects less; the remedy says what to change */
	CAPABILITY_UNKNOWN, /**< could not be found out; the remedy says how */
	CAPABILITY_MISSING, /**< Bulkhead cannot run */
};

/**
 * Judges the facts. Returns a new array, in order of importance, of
 * {key, verdict: "good" | "weak" | "unknown" | "missing", text, remedy (absent if good)}.
 */
json_t *capabilities_judge(const struct facts *facts);

/** Whether nothing in the array is missing. */
bool capabilities_suffice(const json_t *verdicts);

#endif
