/* SPDX-License-Identifier: MIT */
/*
 * What the monitor gives up once everything it needs is open: new privileges, and every system call it does not use.
 */
#ifndef BULKHEAD_MONITOR_SANDBOX_H
#define BULKHEAD_MONITOR_SANDBOX_H

/** Enters the sandbox, for this and every later thread. Returns 0 or a negative errno. */
int sandbox_enter(void);

#endif
