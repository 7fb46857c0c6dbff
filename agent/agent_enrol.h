/** Enrolment: a one-time token in, a device of the company out. */
#ifndef AGENT_ENROL_H
#define AGENT_ENROL_H

#include "agent.h"

/** The longest name of a PC: as much as a certificate's common name holds (RFC 5280, ub-common-name). */
#define AGENT_PC_NAME_BYTES 64

/**
 * Enrols with `token_text`; `name` is what administrators see, 1 to AGENT_PC_NAME_BYTES bytes. Every step may be
 * repeated: the same token goes on where it stopped. Calls `say` with one line a step. Returns 0, -EINPROGRESS (an
 * administrator must approve: ask again later), or negative errno with agent->error.
 */
int agent_enrol(struct agent *agent, const char *token_text, const char *name,
		void (*say)(void *context, const char *line), void *context);

/**
 * Has the server certify this PC's key anew in the last third of its certificate's life; nothing happens before. For the working
 * thread. Returns 0 or negative errno with agent->error; the certificate that is here stays good until a new one has come.
 */
int agent_enrol_renew(struct agent *agent);

#endif
