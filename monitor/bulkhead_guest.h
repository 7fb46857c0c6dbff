/* SPDX-License-Identifier: MIT */
/*
 * A guest of Bulkhead through the driver's /dev/kvm (include/bulkhead/kvm.h): described, loaded, sealed, measured. What
 * the hypervisor then keeps, the monitor has no more say in.
 */
#ifndef BULKHEAD_MONITOR_BULKHEAD_GUEST_H
#define BULKHEAD_MONITOR_BULKHEAD_GUEST_H

#include "launch.h"
#include "machine.h"

/** One sub-command of KVM_MEMORY_ENCRYPT_OP. Returns 0 or a negative errno. */
int bulkhead_guest_operate(struct machine *machine, uint32_t operation, void *argument);

/** Says what the guest that @config names will consist of. The machine's RAM holds what is to be loaded. */
void bulkhead_guest_plan(struct launch *launch, struct machine *machine);

/**
 * Makes the guest: memory, processors, devices.
 * Returns false after filling @error with one line.
 */
bool bulkhead_guest_create(struct machine *machine, const struct launch *launch, char *error, size_t error_bytes);

/** Seals the guest and reads what it measures as. Returns 0 or a negative errno. */
int bulkhead_guest_seal(struct machine *machine, uint8_t digest[BULKHEAD_MEASUREMENT_BYTES]);

/** Connects the sealed guest's devices to their backends. Returns false after filling @error with one line. */
bool bulkhead_guest_connect(struct machine *machine, char *error, size_t error_bytes);

#endif
