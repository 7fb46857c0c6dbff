/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Calls to the hypervisor from the service domain's kernel. The interface itself, to the bit, is
 * include/bulkhead/hypercall.h; here are the instruction, the repetition of long calls and the
 * translation of statuses into errno.
 */
#ifndef BULKHEAD_DRIVER_HYPERCALL_H
#define BULKHEAD_DRIVER_HYPERCALL_H

#include <bulkhead/hypercall.h>

/** Arguments of a call in the order of the interface; those a call does not name stay 0. */
struct hypercall {
	u64 number; /* enum bulkhead_call */
	u64 arguments[5];
};

/**
 * Looks for Bulkhead beneath this kernel, by CPUID, and settles which instruction calls it.
 * Returns 0; -ENODEV if there is none; -EPROTO if its interface is not the one we were built for.
 */
int hypercall_find(void);

/**
 * Makes one call and repeats it for as long as the hypervisor answers that it has more to do,
 * letting other tasks run in between. May sleep.
 * @value  gets the call's value if not NULL.
 * Returns 0 or a negative errno; see hypercall_errno().
 */
int hypercall_make(const struct hypercall *call, u64 *value);

/**
 * Makes one call once, in any context, and returns its status (enum bulkhead_error), AGAIN too.
 * @value  gets the call's value if not NULL; with AGAIN as well.
 */
u64 hypercall_once(const struct hypercall *call, u64 *value);

/** The errno that stands for a status of the interface. */
int hypercall_errno(u64 status);

#endif
