/*
 * `bulkhead image describe`: signs what a protected guest must measure as. The monitor itself measures, from the very
 * configuration that an agent writes for a start (trust/guest_config.h), so the command knows nothing of measuring.
 */
#include "image_publish.h"
#include "officer.h"
#include "settings.h"

#include "trust/guest_config.h"

#include <errno.h>
#include <sodium.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB		1048576u
#define MEASURED_DIGITS (2u * DESCRIPTOR_MEASUREMENT_BYTES)

extern char **environ;

/** Starts the monitor with its output in a pipe. Returns the pipe's end to read, or a negative errno. */
static int start_monitor(const char *monitor, const char *config_file, pid_t *process)
{
	char *const words[] = {(char *)monitor, (char *)"--measure", (char *)config_file, NULL};
	posix_spawn_file_actions_t actions;
	int ends[2], error;

	if (pipe(ends))
		return -errno;
	error = posix_spawn_file_actions_init(&actions);
	if (!error) {
		error = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
		if (!error)
			error = posix_spawn_file_actions_addclose(&actions, ends[0]);
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

/** Has the monitor measure what a configuration file makes. What it has to say against it, it says itself. */
static int run_monitor(const struct cli_context *context, const char *monitor, const char *config_file,
		       uint8_t measurement[DESCRIPTOR_MEASUREMENT_BYTES])
{
	char text[MEASURED_DIGITS + 2];
	pid_t process;
	size_t count = 0, size;
	ssize_t got;
	int status, output = start_monitor(monitor, config_file, &process);

	if (output < 0)
		return cli_fail(context, "%s: %s; --monitor names the program", monitor, strerror(-output));
	while (count < sizeof(text) && (got = read(output, text + count, sizeof(text) - count)) > 0)
		count += (size_t)got;
	close(output);
	if (waitpid(process, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return cli_fail(context, "%s did not measure this guest", monitor);
	if (count != MEASURED_DIGITS + 1 ||
	    sodium_hex2bin(measurement, DESCRIPTOR_MEASUREMENT_BYTES, text, MEASURED_DIGITS, NULL, &size, NULL) != 0 ||
	    size != DESCRIPTOR_MEASUREMENT_BYTES)
		return cli_fail(context, "%s answered something that is no measurement", monitor);
	return CLI_OK;
}

/** Measures the machine that an agent would make: sockets are names only here. */
static int measure(const struct cli_context *context, const char *platform, struct descriptor *descriptor)
{
	const struct guest_config config = {.name = "guest",
					    .platform = platform,
					    .system = "/system",
					    .user = "/user",
					    .config = "/config",
					    .network = "/network",
					    .mac = "02:00:00:00:00:01"};
	const char *monitor = cli_value(context, "monitor");
	char file[] = "/tmp/bulkhead-describe.XXXXXX", *text;
	int status = guest_config_write(&config, descriptor, &text), fd;

	if (status)
		return cli_fail(context, "%s: %s", cli_value(context, "machine"),
				status == -EINVAL ? "may say firmware, or kernel, initrd and command-line, and nothing else"
						  : strerror(-status));
	fd = mkstemp(file);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		status = cli_fail(context, "%s: %s", file, strerror(errno));
	else
		status = run_monitor(context, monitor ? monitor : MONITOR_PROGRAM, file, descriptor->measurement);
	if (fd >= 0) {
		close(fd);
		unlink(file);
	}
	free(text);
	return status;
}

static int sign(const struct cli_context *context, const struct descriptor *descriptor)
{
	const char *file = cli_argument(context, 0);
	char text[DESCRIPTOR_TEXT_MAX];
	struct signing_key key;
	int status = officer_key(context, cli_value(context, "key"), &key);

	if (status)
		return status;
	if (descriptor_sign(descriptor, &key, text))
		status = cli_usage(context, "--memory is an even number of MiB from %u to %u", DESCRIPTOR_MEMORY_MIB_LEAST,
				   DESCRIPTOR_MEMORY_MIB_MOST);
	signing_key_forget(&key);
	if (!status) {
		int error = settings_write(file, text);

		if (error)
			status = cli_fail(context, "%s: %s", file, strerror(-error));
	}
	if (!status)
		printf("%s: %u MiB, %u processor%s, %s network card, signed.\n", file, descriptor->memory_mib,
		       descriptor->processors, descriptor->processors == 1 ? "" : "s", descriptor->has_network ? "a" : "no");
	return status;
}

static int run(const struct cli_context *context)
{
	struct descriptor descriptor = {.has_network = cli_switch(context, "network")};
	uint64_t memory = 2ull << 30, processors = 2;
	const char *machine = cli_value(context, "machine");
	char *platform;
	size_t size;
	int status = cli_number(context, "memory", (uint64_t)DESCRIPTOR_MEMORY_MIB_LEAST * MIB,
				(uint64_t)DESCRIPTOR_MEMORY_MIB_MOST * MIB, &memory);

	if (!status)
		status = cli_number(context, "processors", 1, DESCRIPTOR_PROCESSORS_MOST, &processors);
	if (status)
		return status;
	if (memory % (2 * MIB))
		return cli_usage(context, "--memory is an even number of MiB");
	status = settings_read(machine, GUEST_CONFIG_PLATFORM_MAX, &platform, &size);
	if (status)
		return cli_fail(context, "%s: %s", machine, strerror(-status));
	descriptor.memory_mib = (uint32_t)(memory / MIB);
	descriptor.processors = (uint32_t)processors;
	status = measure(context, platform, &descriptor);
	free(platform);
	return status ? status : sign(context, &descriptor);
}

static const struct cli_option options[] = {
	{"memory", "SIZE", "the guest's memory, an even number of MiB [2G]", 'm', false},
	{"processors", "N", "1 to 16 [2]", 'p', false},
	{"network", NULL, "the guest has a network card", 0, false},
	{"machine", "FILE", "what boots: the lines of the PCs' own /etc/bulkhead/machine (firmware = FILE)", 0, true},
	{"key", "FILE", "a key file of the role images", 'k', true},
	{"monitor", "FILE", "the program that measures [as installed]", 0, false},
	OFFICER_PASSPHRASE,
	{0},
};

const struct cli_command image_describe_commands[] = {
	{"image describe", "FILE", "sign what a protected guest must measure as",
	 "Measures the machine that a PC makes for a guest, from firmware, memory, processors and devices, and writes a signed "
	 "descriptor of it to FILE, for `bulkhead image publish --descriptor`. A PC starts the guest only if the hypervisor "
	 "measures it the same. Use firmware and monitor of the Bulkhead release that the PCs have.",
	 "bulkhead image describe work.descriptor --memory 4G --processors 2 --network \\\n"
	 "    --machine image/root/etc/bulkhead/machine --key images.key",
	 options, 1, 1, run},
	{0},
};
