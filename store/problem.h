/*
 * problem.h: the one line a person reads when something failed: the thing, the reason, the remedy.
 *
 * Functions return a negative errno for programs and, where a caller passes a problem, fill this
 * line. The innermost failure wins: a line that is set is never overwritten.
 */
#ifndef STORE_PROBLEM_H
#define STORE_PROBLEM_H

struct problem {
	char line[400];
};

/**
 * Fills @problem (may be NULL) unless it already says something.
 *
 * Returns @error (a negative errno), so that a failure is one statement.
 */
int problem_set(struct problem *problem, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** As problem_set(), with the reason in words after the text; out-of-space gets its remedy. */
int problem_errno(struct problem *problem, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
