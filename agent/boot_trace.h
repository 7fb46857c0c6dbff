/**
 * Boot traces: which blocks a release's boot reads first, as runs of the disk. A PC of ring test
 * records one at its first start of a release and gives it to the server; others follow it when
 * they fetch. It is a hint: read as coming from an enemy, it decides nothing but an order.
 */
#ifndef AGENT_BOOT_TRACE_H
#define AGENT_BOOT_TRACE_H

#include "arrival.h"

/** Fetches a release's trace, if the server has one, and keeps it if it fits the disk. */
void boot_trace_fetch(struct agent *agent, const struct arrival *arrival);

/** Has the frames that a kept trace names arrive first. `key` is the image's domain key. */
void boot_trace_follow(struct agent *agent, struct arrival *arrival, const unsigned char key[32]);

/** Where a start of the release is to record a trace; empty: it is not. */
void boot_trace_record_path(const struct agent *agent, const char *image, uint64_t release,
			    char path[AGENT_PATH_MAX]);

/** Sends a trace that a start of the guest's release has recorded, once that guest has ended. */
void boot_trace_send(struct agent *agent, const struct agent_guest_row *guest);

#endif
