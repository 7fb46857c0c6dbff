/*
 * step.h: a mark before everything that changes what lies on disk.
 *
 * The product links step.c, where it does nothing; the crash tests link a version that ends the
 * process at the n-th step, so that a kill at every step of every call can be played without luck.
 */
#ifndef SERVER_STEP_H
#define SERVER_STEP_H

/** Called before each statement, commit, write, sync and rename. */
void step(void);

#endif
