/* Asking the monitor what a guest measures as: see measure.h. */
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trust/guest_config.h"

#define MEASURED_DIGITS (2u * DESCRIPTOR_MEASUREMENT_BYTES)

extern char **environ;

static int complain(char error[MEASURE_ERROR_MAX], int result, const char *name, const char *text)
{
	snprintf(error, MEASURE_ERROR_MAX, "%s %s", name, text);
	return result;
}

/** Starts the monitor with its output in a pipe. Returns the pipe's end to read, or a negative errno. */
static int start_monitor(const char *monitor, const char *config_file, pid_t *process)
{
	char *const words[] = {(char *)monitor, (char *)"--measure", (char *)config_file, NULL};
	posix_spawn_file_actions_t actions;
	int ends[2], error;

	/* Whatever else this process starts meanwhile must not hold the pipe open. */
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	error = posix_spawn_file_actions_init(&actions);
	if (!error) {
		error = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
		if (!error)
			error = posix_spawn(process, monitor, &actions, NULL, words, environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	close(ends[1]);
	if (!error)
		return ends[0];
	close(ends[0]);
	return -error;
}

/** Has the monitor measure what a configuration file makes. */
static int run_monitor(const char *monitor, const char *config_file,
		       uint8_t measurement[DESCRIPTOR_MEASUREMENT_BYTES], char error[MEASURE_ERROR_MAX])
{
	char text[MEASURED_DIGITS + 2];
	pid_t process;
	size_t count = 0, size;
	ssize_t got;
	int status, output = start_monitor(monitor, config_file, &process);

	if (output < 0)
		return complain(error, output, monitor,
				output == -ENOENT ? "is not there; install Bulkhead, or name its monitor"
						  : strerror(-output));
	while (count < sizeof(text) && (got = read(output, text + count, sizeof(text) - count)) > 0)
		count += (size_t)got;
	close(output);
	if (waitpid(process, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return complain(error, -EPROTO, monitor, "did not measure this guest");
	if (count != MEASURED_DIGITS + 1 ||
	    sodium_hex2bin(measurement, DESCRIPTOR_MEASUREMENT_BYTES, text, MEASURED_DIGITS, NULL, &size, NULL) != 0 ||
	    size != DESCRIPTOR_MEASUREMENT_BYTES)
		return complain(error, -EPROTO, monitor, "answered something that is no measurement");
	return 0;
}

int measure_guest(const char *monitor, const char *platform, struct descriptor *descriptor,
		  char error[MEASURE_ERROR_MAX])
{
	/* Sockets and the card's address are a start's own, and not measured. */
	const struct guest_config config = {.name = "guest",
					    .platform = platform,
					    .system = "/system",
					    .user = "/user",
					    .config = "/config",
					    .network = "/network",
					    .mac = "02:00:00:00:00:01",
					    .guest_agent = "/port"};
	char file[] = "/tmp/bulkhead-measure.XXXXXX", *text;
	int result = guest_config_write(&config, descriptor, &text), fd;

	if (result)
		return complain(error, result, "the lines that every guest begins with",
				result == -EINVAL ? "may say firmware, or kernel, initrd and command-line, and nothing else"
						  : strerror(-result));
	fd = mkstemp(file);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		result = complain(error, -errno, file, strerror(errno));
	else
		result = run_monitor(monitor, file, descriptor->measurement, error);
	if (fd >= 0) {
		close(fd);
		unlink(file);
	}
	free(text);
	return result;
}
