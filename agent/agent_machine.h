/**
 * A guest as this PC's own monitor runs it: protected, and made as the descriptor says that its
 * release's signed manifest carries. A personal guest, which no company describes, is one machine for
 * all: its owner's PC holds it against nothing. Used where the configuration names "machine"; any
 * other monitor gets sockets and files only.
 */
#ifndef AGENT_MACHINE_H
#define AGENT_MACHINE_H

#include "agent.h"

/** One start: files and sockets in the guest's run-time directory, and where its card is plugged in. */
struct agent_machine {
	char config[AGENT_PATH_MAX];	  /* the monitor's configuration */
	char config_disk[AGENT_PATH_MAX]; /* socket at which the configuration disk is served */
	bool has_card;
	char card[AGENT_PATH_MAX]; /* the network card's socket */
	char tap[16], mac[18], address[20], gateway[16];
};

/**
 * Checks the manifest of the release that starts (not of a personal guest, which has none) and writes
 * descriptor, key and configuration.
 * Returns 0, or negative errno with one line in `error`: -ENOENT (the release has no descriptor),
 * -EKEYREJECTED (its signatures are not the company's).
 */
int agent_machine_write(struct agent *agent, const struct agent_running *running,
			struct agent_machine *machine, char error[AGENT_ERROR_MAX]);

/**
 * Starts what serves the configuration disk (`config_file`) and the network card; running->servers gets
 * the processes. Returns 0 or negative errno with one line in `error`.
 */
int agent_machine_serve(struct agent *agent, struct agent_running *running,
			const struct agent_machine *machine, const char *config_file,
			char error[AGENT_ERROR_MAX]);

/** Presses a running guest's power button. False: its monitor takes no such request. */
bool agent_machine_press_power(const struct agent_running *running);

#endif
