/* What our own small backends have in common: stopping by signal, giving up rights, and a filter of system calls. */
#ifndef BULKHEAD_BACKENDS_CONFINE_H
#define BULKHEAD_BACKENDS_CONFINE_H

/** SIGTERM and SIGINT as a descriptor, or -1. @name: of the program, for its last words */
int confine_signals(const char *name);

/**
 * Becomes user @user (NULL: stays), and allows itself nothing from then on but what serving takes: its open descriptors,
 * memory, threads, and what a front-end sends. Returns 0, or a negative errno and says in *@what what failed.
 */
int confine_enter(const char *user, const char **what);

#endif
