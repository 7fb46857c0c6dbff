/**
 * A guest as this PC's own monitor runs it: protected, and made as the descriptor says that its
 * release's signed manifest carries. Used where the configuration names "machine"; any other monitor
 * gets sockets and files only.
 */
#ifndef AGENT_MACHINE_H
#define AGENT_MACHINE_H

#include "agent.h"

/** Files of one start, in the guest's run-time directory. */
struct agent_machine {
	char config[AGENT_PATH_MAX];	  /* the monitor's configuration */
	char config_disk[AGENT_PATH_MAX]; /* socket at which the configuration disk is served */
};

/**
 * Checks the manifest of the release that starts and writes descriptor, key and configuration.
 * Returns 0, or negative errno with one line in `error`: -ENOENT (the release has no descriptor),
 * -EKEYREJECTED (its signatures are not the company's).
 */
int agent_machine_write(struct agent *agent, const struct agent_running *running,
			struct agent_machine *machine, char error[AGENT_ERROR_MAX]);

#endif
