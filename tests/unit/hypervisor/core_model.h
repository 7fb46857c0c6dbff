/* SPDX-License-Identifier: MIT */
/*
 * A naive model of page ownership, run beside the core: one record a page, no large pages, no tables.
 * Every step makes one hypercall (or one access of a domain to its memory) on both and compares the
 * answers; then it looks at every page the call named, through every viewer of the fake machine.
 *
 * The choices of a run come from a source: random numbers from a seed, or a fuzzer's bytes.
 */
#ifndef CORE_MODEL_H
#define CORE_MODEL_H

#include "core_calls.h"

struct model_source {
	const uint8_t *data; /* NULL: random numbers */
	size_t size_bytes;
	uint64_t seed;
};

/** Starts machine, core and model afresh. */
void model_start(const struct model_source *source);

/** One step. Returns false when the source has ended. Stops the program if core and model differ. */
bool model_step(void);

/** Compares everything. */
void model_check_all(void);

/** Steps that ended with BULKHEAD_OK or BULKHEAD_AGAIN, by call number; the rest in the last place. */
extern uint64_t model_done[BULKHEAD_CALL_COUNT + 1];

#endif
