/* SPDX-License-Identifier: MIT */
/*
 * What the monitor gives up once everything it needs is open: the file system, the network and other processes' names
 * (namespaces), root, capabilities, new privileges, and every system call it does not use.
 */
#ifndef BULKHEAD_MONITOR_SANDBOX_H
#define BULKHEAD_MONITOR_SANDBOX_H

/**
 * Enters the sandbox, for this and every later thread. No thread but the caller's exists yet.
 * @user: becomes this user; NULL: stays who it is, without capabilities
 * Returns 0, or a negative errno and says in @what what failed.
 */
int sandbox_enter(const char *user, const char **what);

#endif
