/**
 * What signed policy means on this PC where more than one number decides: space, network, and guests
 * that start by themselves.
 */
#ifndef AGENT_POLICY_H
#define AGENT_POLICY_H

#include <time.h>

#include "agent.h"

/** Bytes that the company's guests may take on this PC: the lower of the configuration's and the
 * policy's limit; 0 is none. */
uint64_t agent_policy_quota(const struct agent *agent);

/** True within a policy's window "HH:MM-HH:MM" (local time; over midnight too); always when there is
 * none. */
bool agent_policy_in_window(const char *window, time_t now);

/**
 * Whether `more_bytes` fit beside the `used_bytes` of the company's guests. Returns 0, or -EDQUOT with
 * agent->error, one line that names guest and release. The working thread's alone.
 */
int agent_policy_fits(struct agent *agent, const char *guest, uint64_t release, uint64_t used_bytes,
		      uint64_t more_bytes);

/** Size of a user disk that is made now, as disk servers take it: 64 GiB, or the quota where that is
 * less. */
void agent_policy_user_disk(const struct agent *agent, char size[24]);

/**
 * What the monitor's %{network} becomes: the configuration's text for the network that policy gives
 * the guest. What nothing on this PC would enforce is refused, never granted. Returns 0, or -EPERM
 * with one line in `error`.
 */
int agent_policy_network(const struct agent *agent, const char *guest, const char **text,
			 char error[AGENT_ERROR_MAX]);

/**
 * Starts what policy wants started by itself: each guest once in the agent's life, when it can; what
 * fails is tried three times, since each may cost the lease a start. The listening thread's alone, with
 * agent->lock held.
 */
void agent_policy_autostart(struct agent *agent);

/** The guest is to start by itself again: it was ended for an update. With agent->lock held. */
void agent_policy_start_again(struct agent *agent, const char *guest);

/** Somebody started the guest: what a person ends after that stays ended. With agent->lock held. */
void agent_policy_note_start(struct agent *agent, const char *guest);

#endif
