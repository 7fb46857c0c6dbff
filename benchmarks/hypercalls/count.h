/* SPDX-License-Identifier: MIT */
/*
 * Has every hypercall of a host test counted by valgrind (tool callgrind), one profile a call. The core is a library of
 * its own here, compiled as in the hypervisor: what of a profile lies in it is the hypervisor's own work, not the test's,
 * not the fake machine's, and not the C library's that copies.
 */
#ifndef BULKHEAD_BENCH_COUNT_H
#define BULKHEAD_BENCH_COUNT_H

/** Names what the calls from now on belong to. */
void count_scenario(const char *name);

#endif
