/* SPDX-License-Identifier: MIT */
/*
 * The first process only supervises: each launch of the guest is a child of its own, so that a guest's reset is a new
 * launch with nothing left over, and the child's sandbox never has to be undone. What the child can no longer do itself,
 * connecting to backends, it asks the supervisor for.
 */
#ifndef BULKHEAD_MONITOR_SUPERVISOR_H
#define BULKHEAD_MONITOR_SUPERVISOR_H

#include "config.h"

/** Of the command line. */
struct options {
	const char *device, *user;
	int handover; /**< where to show the guest at its first launch (handover.h); -1: nowhere */
};

/** One launch of the guest, in a process of its own. @connector: to its supervisor. Returns its exit status. */
typedef int launch_function(const struct config *config, const struct options *options, int connector);

/**
 * Launches the guest, and again for as long as it resets itself; closes @options->handover, which the first launch is for.
 * Returns the exit status.
 */
int supervise(const struct config *config, struct options *options, launch_function *launch);

#endif
