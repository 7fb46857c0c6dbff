/**
 * A guest that comes with a call to bulkhead-keyd: whoever calls passes the file descriptor that /dev/kvm gave for it, and
 * what it measures as is asked of the hypervisor, at a device that keyd itself has opened. So the caller can show another
 * guest, but can say nothing about one.
 */
#ifndef AGENT_KEYD_GUEST_H
#define AGENT_KEYD_GUEST_H

#include <bulkhead/device.h>

/** Opens the hypervisor's device. Returns a file descriptor or negative errno; -ENODEV: there is no such device. */
int keyd_guest_open(const char *path);

/** Asks what `guest` measures as. Returns 0 or negative errno; -EINVAL: it is no guest of this hypervisor's driver. */
int keyd_guest_measure(int hypervisor, int guest, struct bulkhead_measurement *measurement);

#endif
