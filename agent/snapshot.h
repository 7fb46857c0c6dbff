/** A user disk's content at one moment, while its guest runs. */
#ifndef AGENT_SNAPSHOT_H
#define AGENT_SNAPSHOT_H

#include "agent.h"

/** How the moment was made; the backup is labelled so. */
enum snapshot_label { SNAPSHOT_FROZEN, SNAPSHOT_CRASH_CONSISTENT };

/**
 * Copies the disk at `path` to `copy` (sharing blocks where the file system can, holes stay holes).
 * A running guest is frozen through its guest agent meanwhile, or, where that does not answer, its
 * monitor is stopped: then the copy is what a power cut would have left. `guest` NULL or not
 * running: the disk is at rest, which counts as frozen. Returns 0 or negative errno; `copy` is then
 * removed.
 */
int snapshot_take(struct agent *agent, const char *guest, const char *path, const char *copy,
		  enum snapshot_label *label);

#endif
