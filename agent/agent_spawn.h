/**
 * Programs of a guest as child processes: they die with the agent, and keys reach them through
 * inherited memory files, never by command line, environment or disk.
 */
#ifndef AGENT_SPAWN_H
#define AGENT_SPAWN_H

#include <sys/types.h>

#include "agent_config.h"

#define AGENT_SPAWN_KEYS 2 /* a program finds them at file descriptors 3 and 4 */

/** What one program is given: keys, 32 bytes each (NULL: none at that number), or an open file at the first number. */
struct agent_spawn_files {
	const unsigned char *keys[AGENT_SPAWN_KEYS];
	int file; /* stays the caller's; 0: none */
};

/**
 * Runs a program with its output appended to the file `log`. `given` may be NULL. Returns its process
 * or negative errno (-EINVAL: a %{...} that is not among the values).
 */
pid_t agent_spawn(const struct agent_command *command, const struct agent_value *values,
		  const char *log, const struct agent_spawn_files *given);

/**
 * Waits until a server listens at `socket`. `*process` is what agent_spawn() returned. Returns 0, that
 * error, -ESRCH (it ended; `*process` becomes 0) or -ETIMEDOUT.
 */
int agent_spawn_wait(pid_t *process, const char *socket);

/** Kills and collects a process, if there is one; `*process` becomes 0. */
void agent_spawn_kill(pid_t *process);

#endif
