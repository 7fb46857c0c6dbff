/* SPDX-License-Identifier: MIT */
/*
 * Dispatch of hypercalls: one constant table, deny by default. The architecture's exit handler has
 * checked that the caller ran at CPL 0 of the service domain in 64-bit mode before it comes here.
 */
#ifndef BULKHEAD_CORE_HYPERCALL_H
#define BULKHEAD_CORE_HYPERCALL_H

#include "types.h"

#define HYPERCALL_ARGUMENTS 5u

/** A call as the caller's registers hold it; status and value are the answer. */
struct hypercall {
	uint64_t number;
	uint64_t arguments[HYPERCALL_ARGUMENTS]; /* RDI RSI RDX RCX R8 */
	enum bulkhead_error status;
	uint64_t value;
};

/**
 * Does a hypercall of the service domain. Never fails as such: the answer is in the call.
 * Counts the call and its time for the processor it runs on.
 */
void hypercall_dispatch(struct hypercall *call);

#endif
