/**
 * What a guest of the person's own is: memory, processors, network card, its agent's port, and what it must measure as.
 * No company signs that; the person's own vault does, on the PC where the guest runs, with a key of the
 * guest that never leaves the vault's keeping. So whoever changes the PC's disk can make no other machine
 * of it: its monitor ends what measures otherwise.
 */
#ifndef AGENT_OWN_MACHINE_H
#define AGENT_OWN_MACHINE_H

#include "agent_personal_private.h"
#include "trust/descriptor.h"

/** The key in the vault whose public half signs the descriptor. */
#define OWN_MACHINE_KEY "descriptor"

/** What a guest is if nobody says otherwise. Its measurement is not filled in. */
extern const struct descriptor own_machine_usual;

/**
 * Takes what `settings` says ("memory_mib", "processors", "network", "guest_agent"; each may be absent) into `machine`.
 * Returns 0 or -EINVAL with the error.
 */
int own_machine_settle(struct personal *personal, const json_t *settings, struct descriptor *machine);

/** The same as an object, for what is exported. NULL: no memory. */
json_t *own_machine_settings(const struct descriptor *machine);

/**
 * Has the monitor measure the machine and writes the signed descriptor into the guest's folder `directory`.
 * Does nothing where the agent's monitor is not Bulkhead's. Returns 0 or negative errno with the error.
 */
int own_machine_describe(struct personal *personal, const char *directory, struct descriptor machine);

/**
 * Reads a guest's descriptor and checks that the key in the vault signed it.
 * @text: receives it, terminated. @key: whose public half signed. Returns 0 or negative errno with one line in @error.
 */
int own_machine_read(struct agent *agent, const char *guest, char text[DESCRIPTOR_TEXT_MAX],
		     struct descriptor *machine, struct public_key *key, char error[AGENT_ERROR_MAX]);

#endif
