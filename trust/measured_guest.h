/*
 * measured_guest.h: whether a guest is the one that a company described: the one question a vault asks before it gives
 * out the keys of that guest's disks. What the guest measures as must come from the hypervisor that sealed it.
 */
#ifndef TRUST_MEASURED_GUEST_H
#define TRUST_MEASURED_GUEST_H

#include <bulkhead/hypercall.h>

#include "trust/descriptor.h"
#include "trust/roles.h"

/**
 * Holds a measurement against a descriptor, and that against the keys of the role images.
 *
 * Returns 0; -EBADMSG (no descriptor), -EKEYREJECTED (none of the role's keys signed it), -EAGAIN (the guest is not
 * sealed: its measurement is not final), -EXDEV (it is another guest).
 */
int measured_guest_check(const struct roles *roles, const char *descriptor_text, size_t text_bytes,
			 const struct bulkhead_measurement *measurement);

/** One line for a person, without the guest's name, for what measured_guest_check() returned. */
const char *measured_guest_reason(int result);

#endif
