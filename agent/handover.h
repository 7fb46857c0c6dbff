/**
 * Between the agent and the monitor of a guest that is measured: the monitor shows the guest once it is sealed, and goes on
 * once its disks are served. A pair of sockets that nobody else has; monitor/handover.h is the other end.
 */
#ifndef AGENT_HANDOVER_H
#define AGENT_HANDOVER_H

/** Where a monitor finds its end: the number of a file descriptor, as its --handover takes it. */
#define HANDOVER_FILE "3"

/** Makes both ends, the caller's to close. Returns 0 or negative errno. */
int handover_make(int *ours, int *theirs);

/**
 * Waits until the monitor has sealed its guest; `*guest` gets the file of it that /dev/kvm gave, the caller's to close, or
 * -1 where there is no hypervisor that could seal one. Returns 0, -ESRCH (the monitor ended) or another negative errno.
 */
int handover_wait(int ours, int *guest);

/** Tells the monitor that the disks are served. Returns 0 or negative errno. */
int handover_go_on(int ours);

#endif
