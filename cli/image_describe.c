/*
 * `bulkhead image describe`: signs what a protected guest must measure as. The monitor itself measures (agent/measure.h),
 * so the command knows nothing of measuring.
 */
#include "image_publish.h"
#include "measure.h"
#include "officer.h"
#include "settings.h"

#include "trust/guest_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB 1048576u

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
		printf("%s: %u MiB, %u processor%s, %s network card, %s port for its guest agent, signed.\n", file,
		       descriptor->memory_mib, descriptor->processors, descriptor->processors == 1 ? "" : "s",
		       descriptor->has_network ? "a" : "no", descriptor->has_guest_agent ? "a" : "no");
	return status;
}

static int run(const struct cli_context *context)
{
	struct descriptor descriptor = {.has_network = cli_switch(context, "network"),
					.has_guest_agent = !cli_switch(context, "no-guest-agent")};
	uint64_t memory = 2ull << 30, processors = 2;
	const char *machine = cli_value(context, "machine"), *monitor = cli_value(context, "monitor");
	char *platform, error[MEASURE_ERROR_MAX];
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
	status = measure_guest(monitor ? monitor : MONITOR_PROGRAM, platform, &descriptor, error);
	free(platform);
	return status ? cli_fail(context, "%s", error) : sign(context, &descriptor);
}

static const struct cli_option options[] = {
	{"memory", "SIZE", "the guest's memory, an even number of MiB [2G]", 'm', false},
	{"processors", "N", "1 to 16 [2]", 'p', false},
	{"network", NULL, "the guest has a network card", 0, false},
	{"no-guest-agent", NULL, "it has no port for qemu-guest-agent: nobody can ask it to hold its file systems still", 0, false},
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
