/* A guest's programs: see agent_spawn.h. */
#include "agent_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET_TRIES 200

/* Where a program finds its keys, and where they are kept out of the way of that. */
enum { KEY_FILE = 3, FIRST_FREE_FILE = 10 };

/** A sealed memory file with a key. Returns its descriptor or negative errno. */
static int key_file(const unsigned char key[32])
{
	int made = memfd_create("key", MFD_CLOEXEC | MFD_ALLOW_SEALING), file = -1, result = 0;

	if (made < 0)
		return -errno;
	if (write(made, key, 32) != 32 || lseek(made, 0, SEEK_SET) != 0 ||
	    fcntl(made, F_ADD_SEALS,
		  F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
		result = -errno;
	/* Out of the way of the numbers it is given to. */
	if (result == 0 && (file = fcntl(made, F_DUPFD_CLOEXEC, FIRST_FREE_FILE)) < 0)
		result = -errno;
	close(made);
	return result ? result : file;
}

/** The child's side: its descriptors, then the program. */
static void become(char *const words[], int log_file, const int files[AGENT_SPAWN_KEYS])
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, 0);
	dup2(log_file >= 0 ? log_file : null, 1);
	dup2(log_file >= 0 ? log_file : null, 2);
	for (int i = 0; i < AGENT_SPAWN_KEYS; i++)
		if (files[i] >= 0 && dup2(files[i], KEY_FILE + i) < 0)
			_exit(126);
	execvp(words[0], words);
	dprintf(2, "%s: %s\n", words[0], strerror(errno));
	_exit(127);
}

/** Opens what the program is given, out of the way of the numbers it gets it at. Returns 0 or negative errno. */
static int open_given(const struct agent_spawn_files *given, int files[AGENT_SPAWN_KEYS])
{
	if (given->file > 0) {
		files[0] = fcntl(given->file, F_DUPFD_CLOEXEC, FIRST_FREE_FILE);
		return files[0] < 0 ? -errno : 0;
	}
	for (int i = 0; i < AGENT_SPAWN_KEYS; i++) {
		if (!given->keys[i])
			continue;
		files[i] = key_file(given->keys[i]);
		if (files[i] < 0)
			return files[i];
	}
	return 0;
}

pid_t agent_spawn(const struct agent_command *command, const struct agent_value *values,
		  const char *log, const struct agent_spawn_files *given)
{
	char **words = agent_config_fill(command, values);
	int files[AGENT_SPAWN_KEYS] = {-1, -1}, log_file;
	pid_t child = 0;

	if (!words)
		return -errno;
	log_file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (given)
		child = open_given(given, files);
	if (child == 0) {
		child = fork();
		if (child == 0)
			become(words, log_file, files);
		child = child < 0 ? -errno : child;
	}
	for (int i = 0; i < AGENT_SPAWN_KEYS; i++)
		if (files[i] >= 0)
			close(files[i]);
	if (log_file >= 0)
		close(log_file);
	agent_config_free_words(words);
	return child;
}

int agent_spawn_wait(pid_t *process, const char *socket)
{
	if (*process < 0)
		return *process;
	for (int i = 0; i < SOCKET_TRIES; i++) {
		if (access(socket, F_OK) == 0)
			return 0;
		if (waitpid(*process, NULL, WNOHANG) == *process) {
			*process = 0;
			return -ESRCH;
		}
		usleep(50000);
	}
	return -ETIMEDOUT;
}

void agent_spawn_kill(pid_t *process)
{
	if (*process > 0) {
		kill(*process, SIGKILL);
		waitpid(*process, NULL, 0);
	}
	*process = 0;
}
