/**
 * A guest as this PC's own monitor runs it: protected, and made as its descriptor says, which the release's
 * signed manifest carries or, of a person's own guest, the person's own vault signed (own_machine.h). Used
 * where the configuration names "machine"; any other monitor gets sockets and files only.
 */
#ifndef AGENT_MACHINE_H
#define AGENT_MACHINE_H

#include "agent.h"
#include "trust/descriptor.h"

/** One start: files and sockets in the guest's run-time directory, and where its card is plugged in. */
struct agent_machine {
	char config[AGENT_PATH_MAX];	  /* the monitor's configuration */
	char descriptor[DESCRIPTOR_TEXT_MAX]; /* signed text */
	char config_disk[AGENT_PATH_MAX]; /* socket at which the configuration disk is served */
	bool has_port, has_card;
	char port[AGENT_PATH_MAX]; /* of the helper's port */
	char card[AGENT_PATH_MAX]; /* the network card's socket */
	char tap[16], mac[18], address[20], gateway[16], resolver[16]; /* resolver: empty where none is known */
};

/**
 * Checks the descriptor of the guest that starts and writes it, the key that signed it, and the configuration.
 * Returns 0, or negative errno with one line in `error`: -ENOENT (there is no descriptor), -EKEYREJECTED (its
 * signature, or its release's, is not of the company's keys or the vault's).
 */
int agent_machine_write(struct agent *agent, const struct agent_running *running,
			struct agent_machine *machine, char error[AGENT_ERROR_MAX]);

/**
 * Starts what serves the configuration disk (`config_file`) and, where the guest has them, the port of its helper (which
 * is spoken to at "guest-agent" beside it) and the network card; running->servers gets the processes. Returns 0 or negative
 * errno with one line in `error`.
 */
int agent_machine_serve(struct agent *agent, struct agent_running *running,
			const struct agent_machine *machine, const char *config_file,
			char error[AGENT_ERROR_MAX]);

/**
 * Reads the first IPv4 name server out of systemd-networkd's state (`path`): what this PC's network told it, and
 * its guests, who go out by the same way, may be told. Leaves `address` empty where there is none.
 */
void agent_machine_find_resolver(const char *path, char address[16]);

/** Presses a running guest's power button. False: its monitor takes no such request. */
bool agent_machine_press_power(const struct agent_running *running);

#endif
