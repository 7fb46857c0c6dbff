/*
 * One sandboxed run of a tool; see sandbox.h.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX 64
#define TAIL_BYTES    4096
#define TICK_MS	      200

static const char *const bubblewrap[] = {
	"/usr/bin/bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
	"--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc",
	"/proc", "--dev", "/dev", "--chdir", "/", "--setenv", "LC_ALL", "C.UTF-8", "--",
};

/** A running tool as its parent sees it. */
struct run {
	pid_t pid;
	int out, err;
	char tail[TAIL_BYTES + 1]; /**< the end of what it wrote to standard error */
	size_t tail_length, text_length;
};

static void limit(int resource, uint64_t value)
{
	struct rlimit both = {.rlim_cur = value, .rlim_max = value};

	if (setrlimit(resource, &both))
		_exit(126);
}

/** In the child: nothing here may allocate or take locks, another thread might have held them. */
static void __attribute__((noreturn)) become_tool(const struct sandbox_job *job, char *const *arguments, int out,
						  int err)
{
	int held[SANDBOX_FDS];

	/* First out of the way of the numbers they get, then onto them. */
	for (int i = 0; i < SANDBOX_FDS; i++)
		held[i] = job->fds[i] < 0 ? -1 : fcntl(job->fds[i], F_DUPFD, 64);
	out = fcntl(out, F_DUPFD, 64);
	err = fcntl(err, F_DUPFD, 64);
	int null = open("/dev/null", O_RDONLY);

	if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(126);
	for (int i = 0; i < SANDBOX_FDS; i++)
		if (held[i] >= 0 && dup2(held[i], SANDBOX_FIRST_FD + i) < 0)
			_exit(126);
	for (int fd = 3; fd < SANDBOX_FIRST_FD; fd++)
		close(fd);
	if (close_range(SANDBOX_FIRST_FD + SANDBOX_FDS, ~0u, 0))
		_exit(126);
	limit(RLIMIT_AS, job->memory_bytes);
	limit(RLIMIT_CPU, job->seconds);
	limit(RLIMIT_FSIZE, job->file_bytes);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, 64);
	execv(arguments[0], arguments);
	_exit(127);
}

static int start(const struct sandbox_job *job, struct run *run, struct disk_why *why)
{
	const char *arguments[ARGUMENTS_MAX];
	size_t count = 0;
	int out[2], err[2];

	for (size_t i = 0; i < sizeof(bubblewrap) / sizeof(*bubblewrap); i++)
		arguments[count++] = bubblewrap[i];
	for (const char *const *argument = job->arguments; *argument; argument++) {
		if (count == ARGUMENTS_MAX - 1)
			return disk_refuse(why, E2BIG, "too many arguments for %s", job->arguments[0]);
		arguments[count++] = *argument;
	}
	arguments[count] = NULL;
	if (access(bubblewrap[0], X_OK))
		return disk_refuse(why, ENOEXEC, "cannot be opened safely: %s is missing; install bubblewrap",
				   bubblewrap[0]);
	if (access(job->arguments[0], X_OK))
		return disk_refuse(why, ENOEXEC, "cannot be opened: %s is missing; install qemu-utils",
				   job->arguments[0]);
	if (pipe2(out, O_CLOEXEC))
		return disk_refuse(why, errno, "no pipe: %s", strerror(errno));
	if (pipe2(err, O_CLOEXEC)) {
		close(out[0]);
		close(out[1]);
		return disk_refuse(why, EMFILE, "no pipe");
	}
	run->pid = fork();
	if (run->pid == 0)
		become_tool(job, (char *const *)arguments, out[1], err[1]);
	close(out[1]);
	close(err[1]);
	run->out = out[0];
	run->err = err[0];
	if (run->pid < 0) {
		close(run->out);
		close(run->err);
		return disk_refuse(why, EAGAIN, "no process for %s", job->arguments[0]);
	}
	return 0;
}

static void keep_tail(struct run *run, const char *text, size_t length)
{
	if (length > TAIL_BYTES) {
		text += length - TAIL_BYTES;
		length = TAIL_BYTES;
	}
	if (run->tail_length + length > TAIL_BYTES) {
		size_t drop = run->tail_length + length - TAIL_BYTES;

		memmove(run->tail, run->tail + drop, run->tail_length - drop);
		run->tail_length -= drop;
	}
	memcpy(run->tail + run->tail_length, text, length);
	run->tail_length += length;
	run->tail[run->tail_length] = '\0';
}

static void report_progress(const struct sandbox_job *job, char *text, size_t length)
{
	double percent;
	char *open;

	text[length] = '\0';
	open = strrchr(text, '(');
	if (job->progress && open && sscanf(open, "(%lf/100%%)", &percent) == 1)
		job->progress(job->context, percent);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/** Follows the tool until both its pipes are closed. Returns 0, or why it must be ended. */
static int follow(const struct sandbox_job *job, struct run *run)
{
	uint64_t end = now_ms() + 1000ull * job->seconds;
	struct pollfd fds[2] = {{.fd = run->out, .events = POLLIN}, {.fd = run->err, .events = POLLIN}};
	struct stat output;
	char text[1024];

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		if (poll(fds, 2, TICK_MS) < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < 2; i++) {
			if (fds[i].fd < 0 || !fds[i].revents)
				continue;
			ssize_t length = read(fds[i].fd, text, sizeof(text) - 1);

			if (length > 0 && i == 0 && job->text) {
				if ((size_t)length >= job->text_bytes - run->text_length)
					return -E2BIG;
				memcpy(job->text + run->text_length, text, (size_t)length);
				run->text_length += (size_t)length;
				job->text[run->text_length] = '\0';
			} else if (length > 0 && i == 0)
				report_progress(job, text, (size_t)length);
			else if (length > 0)
				keep_tail(run, text, (size_t)length);
			else if (length == 0 || errno != EINTR)
				fds[i].fd = -1;
		}
		if (now_ms() > end)
			return -ETIMEDOUT;
		if (job->fds[1] >= 0 && fstat(job->fds[1], &output) == 0 &&
		    (uint64_t)output.st_blocks * 512 > job->output_bytes_max)
			return -ENOSPC;
	}
	return 0;
}

/** The tool's last line of error, without its name. */
static const char *last_line(struct run *run)
{
	char *line;

	while (run->tail_length && strchr("\n\r ", run->tail[run->tail_length - 1]))
		run->tail[--run->tail_length] = '\0';
	line = strrchr(run->tail, '\n');
	line = line ? line + 1 : run->tail;
	return strncmp(line, "qemu-img: ", 10) == 0 ? line + 10 : line;
}

int sandbox_run(const struct sandbox_job *job, struct disk_why *why)
{
	struct run run = {0};
	int status, error = start(job, &run, why);

	if (error)
		return error;
	error = follow(job, &run);
	if (error)
		kill(run.pid, SIGKILL);
	close(run.out);
	close(run.err);
	while (waitpid(run.pid, &status, 0) < 0 && errno == EINTR)
		;
	if (error == -ETIMEDOUT)
		return disk_refuse(why, ETIMEDOUT, "was given up after %u seconds", job->seconds);
	if (error == -ENOSPC)
		return disk_refuse(why, ENOSPC,
				   "unfolds to more than the %" PRIu64 " bytes that are free; make room or refuse it",
				   job->output_bytes_max);
	if (error)
		return disk_refuse(why, -error, "cannot be followed: %s", strerror(-error));
	if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == job->tolerated_status))
		return 0;
	if (run.tail_length)
		return disk_refuse(why, EIO, "is refused by %s: %s", strrchr(job->arguments[0], '/') + 1,
				   last_line(&run));
	return disk_refuse(why, EIO, "made %s stop (%s %d)", strrchr(job->arguments[0], '/') + 1,
			   WIFSIGNALED(status) ? "signal" : "status",
			   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}
