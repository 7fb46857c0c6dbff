/*
 * The command rows about this PC, and the way to the driver's device.
 */
#include "machine.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static bool runs_under_bulkhead(void)
{
	unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;

	__cpuid(BULKHEAD_CPUID_BASE, eax, ebx, ecx, edx);
	return ebx == BULKHEAD_CPUID_EBX && ecx == BULKHEAD_CPUID_ECX && edx == BULKHEAD_CPUID_EDX;
}

int machine_open(const struct cli_context *context)
{
	int device = open(BULKHEAD_DEVICE, O_RDONLY | O_CLOEXEC);

	if (device >= 0)
		return device;
	if (!runs_under_bulkhead())
		cli_fail(context, "this machine: Bulkhead does not run here, so nothing is protected; "
				  "`bulkhead capabilities` says whether it can");
	else if (errno == ENOENT)
		cli_fail(context, BULKHEAD_DEVICE ": Bulkhead runs here but its driver is not loaded; "
						  "try `modprobe bulkhead`, then `dmesg | grep bulkhead`");
	else if (errno == EACCES || errno == EPERM)
		cli_fail(context, BULKHEAD_DEVICE ": only root may ask the hypervisor; try with sudo");
	else
		cli_fail(context, BULKHEAD_DEVICE ": %s; `dmesg | grep bulkhead` may say more", strerror(errno));
	return -1;
}

int machine_request(const struct cli_context *context, int device, unsigned long request, void *answer,
		    const char *what)
{
	if (ioctl(device, request, answer) == 0)
		return CLI_OK;
	if (errno == EPROTO || errno == ENOTTY)
		return cli_fail(context, "%s: the driver or hypervisor is of another release than this command; "
					 "install all three of the same one", what);
	return cli_fail(context, "%s: %s; `bulkhead log` and `dmesg` may say why", what, strerror(errno));
}

static const struct cli_option status_options[] = {
	{"json", NULL, "print everything as JSON", 'j', false},
	{0},
};

static const struct cli_option stats_options[] = {
	{"interval", "SECONDS", "count only what happens in the next SECONDS, and print it per second", 'i', false},
	{"all", NULL, "also show rows that are zero", 'a', false},
	{"json", NULL, "print raw counters of each processor as JSON", 'j', false},
	{0},
};

static const struct cli_option log_options[] = {
	{"follow", NULL, "keep printing what is added, until interrupted", 'f', false},
	{"json", NULL, "print {first, lines} as JSON; not together with --follow", 'j', false},
	{0},
};

static const struct cli_option capabilities_options[] = {
	{"facts", NULL, "print this machine's entry for docs/hardware.md instead of the verdict", 0, false},
	{"json", NULL, "print facts and verdict as JSON", 'j', false},
	{0},
};

const struct cli_command machine_commands[] = {
	{
		.name = "status",
		.arguments = "",
		.summary = "say what is protected on this machine and what is not",
		.description = "Asks the hypervisor beneath this Linux. What is not protected, and why, is always part\n"
			       "of the answer. Fails when Bulkhead does not run here.",
		.example = "bulkhead status\nbulkhead status --json | jq .unprotected",
		.options = status_options,
		.run = status_run,
	},
	{
		.name = "stats",
		.arguments = "",
		.summary = "count what made processors enter the hypervisor, and its slowest calls",
		.description = "Counters run from the machine's start. Times of calls are the worst seen, in ticks of\n"
			       "the processor's time-stamp counter.",
		.example = "bulkhead stats --interval 10",
		.options = stats_options,
		.run = stats_run,
	},
	{
		.name = "log",
		.arguments = "",
		.summary = "print the hypervisor's log",
		.description = "The log is a ring in the hypervisor's memory: the oldest text may be gone. The same text\n"
			       "goes to the serial port. Reading it adds which devices the IOMMU has kept from\n"
			       "memory meanwhile.",
		.example = "bulkhead log | grep iommu",
		.options = log_options,
		.run = log_run,
	},
	{
		.name = "capabilities",
		.arguments = "",
		.summary = "say whether this machine can run Bulkhead, and what is missing",
		.description = "Works on any PC with Linux, with or without Bulkhead; run it as root, or some answers\n"
			       "are \"unknown\". Fails when the machine cannot run Bulkhead.",
		.example = "sudo bulkhead capabilities\nsudo bulkhead capabilities --facts >> docs/hardware.md",
		.options = capabilities_options,
		.run = capabilities_run,
	},
	{0},
};
