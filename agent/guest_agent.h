/** The helper inside a guest (qemu-guest-agent), for a moment of stillness while its disk is
 * copied. */
#ifndef AGENT_GUEST_AGENT_H
#define AGENT_GUEST_AGENT_H

/**
 * Freezes the guest's file systems through the socket at `path`. What the guest answers is read as
 * coming from an enemy: bounded, with a limit of seconds. Returns the connection, to be given to
 * guest_agent_thaw(), or negative errno when there is no such helper or it refuses; if it was too slow, it thaws as soon as
 * it has frozen.
 */
int guest_agent_freeze(const char *path);

/** Thaws, and closes the connection. Returns 0 or negative errno (the guest then thaws as soon as it reads what it was
 * told, if ever). */
int guest_agent_thaw(int connection);

#endif
