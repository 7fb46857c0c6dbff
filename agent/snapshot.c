/* A user disk's content at one moment: see snapshot.h. */
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_guest.h"
#include "agent_log.h"
#include "guest_agent.h"

/** Copies data, leaves holes; the kernel does the copying. */
static int copy_data(int from, int to, off_t size)
{
	off_t at = 0;

	while (at < size) {
		off_t data = lseek(from, at, SEEK_DATA), hole, out;

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		for (at = out = data; at < hole;) {
			ssize_t copied =
			    copy_file_range(from, &at, to, &out, (size_t)(hole - at), 0);

			if (copied <= 0)
				return copied < 0 ? -errno : -EIO;
		}
	}
	return 0;
}

static int copy_disk(const char *path, const char *copy)
{
	int from = open(path, O_RDONLY | O_CLOEXEC), to = -1, result = 0;
	struct stat status;

	if (from < 0 || fstat(from, &status) != 0)
		result = -errno;
	if (result == 0 && (to = open(copy, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0)
		result = -errno;
	if (result == 0 && ioctl(to, FICLONE, from) != 0) {
		result = ftruncate(to, status.st_size) != 0 ? -errno
							    : copy_data(from, to, status.st_size);
	}
	if (to >= 0)
		close(to);
	if (from >= 0)
		close(from);
	if (result != 0)
		unlink(copy);
	return result;
}

static void signal_guest(const struct agent_running *running, int number)
{
	kill(running->monitor, number);
	for (int i = 0; i < 2; i++)
		if (running->disks[i] > 0)
			kill(running->disks[i], number);
}

int snapshot_take(struct agent *agent, const char *guest, const char *path, const char *copy,
		  enum snapshot_label *label)
{
	struct agent_running *running, frozen_one;
	char helper[AGENT_PATH_MAX + 16];
	int frozen = -ENOENT, result;

	*label = SNAPSHOT_FROZEN;
	pthread_mutex_lock(&agent->lock);
	running = guest ? agent_guest_running(agent, guest) : NULL;
	if (running)
		frozen_one = *running;
	pthread_mutex_unlock(&agent->lock);
	if (!running)
		return copy_disk(path, copy);
	snprintf(helper, sizeof(helper), "%s/guest-agent", frozen_one.directory);
	frozen = guest_agent_freeze(helper);
	if (frozen < 0) {
		*label = SNAPSHOT_CRASH_CONSISTENT;
		agent_log(AGENT_INFO, "backup.not_frozen", "s:s, s:s", "guest", guest, "reason",
			  strerror(-frozen));
	}
	/* The lock keeps the guest from ending, and its number from going to another process, while
	 * it stands still. */
	pthread_mutex_lock(&agent->lock);
	running = agent_guest_running(agent, guest);
	if (running && frozen < 0)
		signal_guest(running, SIGSTOP);
	result = copy_disk(path, copy);
	if (running && frozen < 0)
		signal_guest(running, SIGCONT);
	pthread_mutex_unlock(&agent->lock);
	if (frozen >= 0 && guest_agent_thaw(frozen) != 0)
		agent_log(AGENT_WARNING, "backup.not_thawed", "s:s", "guest", guest);
	return result;
}
