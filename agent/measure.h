/**
 * What a described guest measures as. The monitor itself measures, from the very configuration that an
 * agent writes for a start (trust/guest_config.h), so whoever signs a descriptor knows nothing of
 * measuring: `bulkhead image describe` for the company, the agent of a person's own guests.
 */
#ifndef AGENT_MEASURE_H
#define AGENT_MEASURE_H

#include "trust/descriptor.h"

#define MEASURE_ERROR_MAX 512

/**
 * Measures the machine that an agent makes from `descriptor` and from `platform`, the lines that begin every
 * guest's configuration; fills descriptor->measurement. `monitor` is the program, as PCs have it.
 *
 * Returns 0 or a negative errno with one line in `error`: -EINVAL (lines that do not belong there), -EPROTO
 * (the monitor refused, and said why on standard error, or answered something else), or the system's own.
 */
int measure_guest(const char *monitor, const char *platform, struct descriptor *descriptor,
		  char error[MEASURE_ERROR_MAX]);

#endif
