/*
 * Commands about the PC they run on: is Bulkhead beneath, what does it protect, what did it do, could it run here.
 * They read /dev/bulkhead (include/bulkhead/device.h), the processor and /sys; they change nothing.
 */
#ifndef BULKHEAD_CLI_MACHINE_H
#define BULKHEAD_CLI_MACHINE_H

#include "command.h"

#include <bulkhead/device.h>
#include <jansson.h>

/** "status", "stats", "log", "capabilities". */
extern const struct cli_command machine_commands[];

/**
 * Opens /dev/bulkhead for reading.
 * Returns a file descriptor, or -1 after saying on stderr why there is none and what to do.
 */
int machine_open(const struct cli_context *context);

/** One request to the device. Returns CLI_OK, or CLI_FAILED after saying why; @what names the thing read. */
int machine_request(const struct cli_context *context, int device, unsigned long request, void *answer,
		    const char *what);

int status_run(const struct cli_context *context);
int stats_run(const struct cli_context *context);
int log_run(const struct cli_context *context);
int capabilities_run(const struct cli_context *context);

/**
 * Turns the hypervisor's answer into what `bulkhead status --json` prints: "protected" and "unprotected" (arrays of
 * {key, text, remedy}), "guests", "memory", "facts", "build", "back_end", "processors". Returns a new object.
 */
json_t *status_describe(const struct bulkhead_status *status);

/**
 * The counters of all processors as JSON: {exits: {reason: [per processor]}, calls: [{call, count, worst_cycles}],
 * flushes: [...], world_switches: [...], guest_flushes: [...], relayed_bytes: [...]}. @stats has @count entries. Returns a
 * new object.
 */
json_t *stats_describe(const struct bulkhead_stats *stats, uint32_t count);

/** What happened between two readings of the same machine: @later minus @earlier, worst times from @later. */
void stats_subtract(struct bulkhead_stats *later, const struct bulkhead_stats *earlier, uint32_t count);

#endif
