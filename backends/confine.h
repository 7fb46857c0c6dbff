/* What our own backends have in common: stopping by signal, giving up rights, and a filter of system calls. */
#ifndef BULKHEAD_BACKENDS_CONFINE_H
#define BULKHEAD_BACKENDS_CONFINE_H

/** SIGTERM and SIGINT as a descriptor, or -1. @name: of the program, for its last words */
int confine_signals(const char *name);

/** What a backend needs beyond its open descriptors, memory, threads, and what a front-end sends. */
enum confine_needs {
	CONFINE_NOTHING_MORE,
	CONFINE_FILES, /**< files by name, and Unix sockets to connect to: a disk's layers, and where its blocks come from */
};

/**
 * Becomes user @user (NULL: stays), and allows itself, in all its threads, nothing from then on but what it needs. Returns 0, or a negative errno and says in *@what what failed.
 */
int confine_enter(const char *user, enum confine_needs needs, const char **what);

#endif
