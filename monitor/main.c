/* SPDX-License-Identifier: MIT */
/*
 * monitor: runs one guest from one configuration file. This file reads the command line, and runs one launch of the guest:
 * it sets everything up, enters the sandbox, and serves console, control socket and backends until the guest ends.
 */
#include "bulkhead_guest.h"
#include "console.h"
#include "control.h"
#include "descriptor.h"
#include "firmware.h"
#include "handover.h"
#include "kvm.h"
#include "linux_boot.h"
#include "listen.h"
#include "relay_device.h"
#include "sandbox.h"
#include "shared_device.h"
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ERROR_BYTES	 512u
#define FIRST_BACKEND_FD 6u /* among what serve() waits for */

static const char help_text[] =
	"Usage: monitor [--device FILE] [--user NAME] [--handover FD] [--check | --measure] CONFIGURATION\n"
	"\n"
	"Runs one guest as its configuration file says and ends with it: 0 the guest switched itself off,\n"
	"65 it was killed through its control socket, 1 something went wrong. A reset launches it anew.\n"
	"  --device FILE   the KVM device (default /dev/kvm: Linux's KVM, or Bulkhead's driver)\n"
	"  --user NAME     what runs the guest becomes this user once everything is open\n"
	"  --handover FD   show the sealed guest at this socket, and wait there until its disks are served\n"
	"  --check         only read the configuration and say what is wrong with it\n"
	"  --measure       only print what the guest will measure as on Bulkhead\n"
	"\n"
	"Keys of the file (\"key = value\", # comments): name, memory (512M, 2G), processors (1-16), firmware (such as\n"
	"OVMF.fd: it starts what the first disk holds) or kernel with initrd and command-line, console (stdio, or a socket),\n"
	"control (a socket), disk (a vhost-user-blk socket; up to 8), network (a vhost-user-net socket) with mac, entropy (a\n"
	"vhost-user-rng socket), virtio-console and guest-agent (sockets of bulkhead-console; the second one with --port).\n"
	"On Bulkhead also: protected (yes, or no to share memory), balloon (yes: it can be asked to give memory back),\n"
	"descriptor (what the guest must measure as, signed) with descriptor-key (the public key).\n"
	"The control socket takes one JSON object a line: {\"command\": NAME} with NAME status, statistics, pause, resume, stop\n"
	"(presses the power button), kill, balloon (with \"bytes\").\n";

static struct machine machine;
static struct console console;
static int stop_pipe[2];

static void serial_output(void *context, uint8_t character)
{
	(void)context;
	console_output(&console, &character, 1);
}

static void serial_line(void *context, bool level)
{
	(void)context;
	machine_set_line(&machine, SERIAL_LINE, level);
}

/** Shows the guest to who has the keys of its disks, if somebody wants to see it, and waits for the disks. */
static bool hand_over(const struct options *options, int guest_fd, char *error)
{
	int status = options->handover < 0 ? 0 : handover_show(options->handover, guest_fd);

	if (status)
		snprintf(error, ERROR_BYTES, "%s: whoever was shown it (--handover) does not serve its disks",
			 machine.config->name);
	return !status;
}

/** On stock KVM: chips in the kernel, the other devices here. */
static bool set_up_on_kvm(const struct options *options, char *error)
{
	struct relay_device_place places[CONFIG_DEVICES_MAX];
	const struct config *config = machine.config;
	unsigned int count;
	int status;

	chipset_init(&machine.chipset, &machine.pci);
	machine.chipset.ram_low_bytes = machine.ram.low_bytes;
	if (machine.blob_bytes)
		fw_cfg_init(&machine.fw_cfg, &machine.ram, RAM_HIGH_START - machine.ram.top_bytes,
			    (uint32_t)machine.blob_bytes);
	if (!kvm_create(&machine, error, ERROR_BYTES))
		return false;
	status = machine.entry ? linux_boot_registers(machine.processors[0].fd, machine.entry) : 0;
	if (status) {
		snprintf(error, ERROR_BYTES, "%s: setting registers: %s", config->name, strerror(-status));
		return false;
	}
	if (config->balloon) {
		snprintf(error, ERROR_BYTES, "%s: stock KVM's guests have no balloon; take \"balloon\" out", config->name);
		return false;
	}
	if (!hand_over(options, -1, error))
		return false;
	count = relay_device_list(config, places);
	while (machine.shared_device_count < count) {
		unsigned int number = machine.shared_device_count;

		machine.shared_devices[number] = shared_device_create(&machine, number, &places[number], error, ERROR_BYTES);
		if (!machine.shared_devices[number])
			return false;
		machine.shared_device_count++;
	}
	return true;
}

/**
 * On Bulkhead: everything is described to the hypervisor, measured and sealed before the guest runs; only then are its
 * disks looked for, because their keys may wait for what it measures as.
 */
static bool set_up_on_bulkhead(const struct options *options, char *error)
{
	uint8_t digest[BULKHEAD_MEASUREMENT_BYTES];
	struct launch launch;
	int status;

	bulkhead_guest_plan(&launch, &machine);
	if (!bulkhead_guest_create(&machine, &launch, error, ERROR_BYTES))
		return false;
	status = bulkhead_guest_seal(&machine, digest);
	if (status == -ENOMEM) {
		snprintf(error, ERROR_BYTES, "%s: this PC has less than its %llu MiB free; end another guest, or lower \"memory\"",
			 machine.config->name, (unsigned long long)(machine.config->memory_bytes >> 20));
		return false;
	}
	if (status) {
		snprintf(error, ERROR_BYTES, "%s: sealing it: %s", machine.config->name, strerror(-status));
		return false;
	}
	if (machine.config->descriptor && !descriptor_check(machine.config, digest, error, ERROR_BYTES))
		return false;
	machine.is_protected = launch.flags & BULKHEAD_GUEST_PROTECTED;
	if (machine.is_protected)
		ram_destroy(&machine.ram); /* the guest has its own */
	return hand_over(options, machine.vm_fd, error) && bulkhead_guest_connect(&machine, error, ERROR_BYTES);
}

/** Puts what the guest starts with into its RAM, as it is or (protected) to be loaded from there. */
static bool fill_memory(const struct config *config, char *error)
{
	uint64_t top_bytes = 0;
	int status;

	machine = (struct machine){
		.config = config,
		.kvm_fd = -1,
		.vm_fd = -1,
		.end = MACHINE_RUNNING,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
		.serial = { .output = serial_output, .set_line = serial_line },
	};
	serial_reset(&machine.serial);
	if (config->firmware && !firmware_size(config, &top_bytes, error, ERROR_BYTES))
		return false;
	status = ram_create(&machine.ram, config->memory_bytes, MACHINE_RAM_LOW_END, top_bytes);
	if (status) {
		snprintf(error, ERROR_BYTES, "%s: memory: %s", config->name, strerror(-status));
		return false;
	}
	if (config->firmware)
		return firmware_load(&machine.ram, config, &machine.blob_bytes, error, ERROR_BYTES);
	return linux_boot_load(&machine.ram, config, &machine.entry, error, ERROR_BYTES);
}

static bool set_up(const struct config *config, const struct options *options, char *error)
{
	if (!fill_memory(config, error) || !kvm_open(&machine, options->device, error, ERROR_BYTES))
		return false;
	return machine.on_bulkhead ? set_up_on_bulkhead(options, error) : set_up_on_kvm(options, error);
}

/** Gives typed characters to the serial port, as many as it has room for. */
static void pass_input(void)
{
	uint8_t typed[256];
	size_t count;

	if (machine.serial.input_count > SERIAL_INPUT_BYTES - sizeof(typed))
		return;
	count = console_input(&console, typed, sizeof(typed));
	pthread_mutex_lock(&machine.lock);
	(void)serial_input(&machine.serial, typed, count);
	pthread_mutex_unlock(&machine.lock);
}

static int backend_fd(unsigned int index)
{
	return machine.on_bulkhead ? relay_device_backend_fd(machine.relay_devices[index]) :
				     shared_device_backend_fd(machine.shared_devices[index]);
}

static void backend_died(unsigned int index)
{
	struct pollfd now = { .events = POLLRDHUP };

	pthread_mutex_lock(&machine.lock);
	/* The guest may have reset its device since, and another backend may be there. */
	now.fd = backend_fd(index);
	if (now.fd < 0 || poll(&now, 1, 0) <= 0) {
		pthread_mutex_unlock(&machine.lock);
		return;
	}
	fprintf(stderr, "monitor: %s: the backend went away; the guest's device is gone until it resets it\n",
		machine.on_bulkhead ? relay_device_path(machine.relay_devices[index]) :
				      shared_device_path(machine.shared_devices[index]));
	if (machine.on_bulkhead)
		relay_device_backend_died(machine.relay_devices[index]);
	else
		shared_device_backend_died(machine.shared_devices[index]);
	pthread_mutex_unlock(&machine.lock);
}

/** Ends the launch once its watchdog has waited for too long. Returns for how long to wait, as poll() counts. */
static int watch_watchdog(void)
{
	uint64_t left;

	if (machine.paused)
		return -1;
	pthread_mutex_lock(&machine.lock);
	left = watchdog_left(&machine.watchdog, machine_now());
	pthread_mutex_unlock(&machine.lock);
	if (left == WATCHDOG_NEVER)
		return -1;
	if (left == 0) {
		fprintf(stderr, "monitor: %s: it has not fed its watchdog; it is launched anew\n", machine.config->name);
		machine_end(&machine, MACHINE_RESET);
	}
	return (int)(left / 1000000) + 1;
}

/** Serves console, control socket, watchdog and backends' deaths until the machine ends. */
static void serve(int control_fd)
{
	unsigned int backend_count = machine.on_bulkhead ? machine.relay_device_count : machine.shared_device_count;
	int connection = -1;

	while (machine.end == MACHINE_RUNNING) {
		struct pollfd fds[FIRST_BACKEND_FD + CONFIG_DEVICES_MAX] = {
			{ .fd = stop_pipe[0], .events = POLLIN },
			{ .fd = console.input_fd, .events = POLLIN },
			{ .fd = console.listen_fd, .events = POLLIN },
			{ .fd = connection < 0 ? control_fd : -1, .events = POLLIN }, /* one at a time */
			{ .fd = connection, .events = POLLIN },
			{ .fd = machine.look, .events = POLLIN },
		};
		eventfd_t count;

		for (unsigned int i = 0; i < backend_count; i++)
			fds[FIRST_BACKEND_FD + i] = (struct pollfd){ .fd = backend_fd(i), .events = POLLRDHUP };
		if (poll(fds, FIRST_BACKEND_FD + backend_count, watch_watchdog()) < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			break;
		if (fds[1].revents)
			pass_input();
		if (fds[2].revents)
			console_accept(&console);
		if (fds[3].revents)
			connection = accept4(control_fd, NULL, NULL, SOCK_CLOEXEC);
		if (connection >= 0 && fds[4].revents && !control_serve(&machine, connection)) {
			close(connection);
			connection = -1;
		}
		if (fds[5].revents)
			(void)eventfd_read(machine.look, &count);
		for (unsigned int i = 0; i < backend_count; i++)
			if (fds[FIRST_BACKEND_FD + i].revents & (POLLRDHUP | POLLHUP | POLLERR))
				backend_died(i);
	}
}

static void *wait_for_end(void *argument)
{
	(void)argument;
	kvm_wait(&machine);
	(void)!write(stop_pipe[1], "", 1);
	return NULL;
}

/** One launch of the guest, in a process of its own. @connector: to its supervisor. Returns its exit status. */
static int launch(const struct config *config, const struct options *options, int connector)
{
	char error[ERROR_BYTES];
	int control_fd = -1, status;
	pthread_t waiter;

	const char *what = "starting";

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* no guest without its supervisor */
	if (!set_up(config, options, error)) {
		fprintf(stderr, "monitor: %s\n", error);
		return MACHINE_ERROR;
	}
	if (options->handover >= 0)
		close(options->handover);
	machine.connector = connector;
	machine.look = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	status = console_open(&console, config->console);
	if (!status && config->control) {
		control_fd = listen_unix(config->control);
		status = control_fd < 0 ? control_fd : 0;
	}
	if (status) {
		fprintf(stderr, "monitor: %s: console and control sockets: %s\n", config->name, strerror(-status));
		return MACHINE_ERROR;
	}
	if (pipe(stop_pipe))
		return MACHINE_ERROR;
	control_prepare();
	status = sandbox_enter(options->user, &what);
	if (!status)
		what = "starting";
	if (!status)
		status = kvm_start(&machine);
	if (!status)
		status = -pthread_create(&waiter, NULL, wait_for_end, NULL);
	if (status) {
		fprintf(stderr, "monitor: %s: %s: %s\n", config->name, what, strerror(-status));
		return MACHINE_ERROR;
	}
	serve(control_fd);
	pthread_join(waiter, NULL);
	for (unsigned int i = 0; i < machine.shared_device_count; i++)
		shared_device_destroy(machine.shared_devices[i]);
	for (unsigned int i = 0; i < machine.relay_device_count; i++)
		relay_device_destroy(machine.relay_devices[i]);
	console_close(&console);
	return machine.end;
}

/** Prints what the guest will measure as on Bulkhead; needs neither Bulkhead nor KVM. Returns the exit status. */
static int print_measurement(const struct config *config)
{
	uint8_t digest[BULKHEAD_MEASUREMENT_BYTES];
	char error[ERROR_BYTES], text[2 * sizeof(digest) + 1];
	struct launch launch;

	if (!fill_memory(config, error)) {
		fprintf(stderr, "monitor: %s\n", error);
		return MACHINE_ERROR;
	}
	bulkhead_guest_plan(&launch, &machine);
	if (launch_measure(&launch, digest)) {
		fprintf(stderr, "monitor: %s: the measurement cannot be computed\n", config->name);
		return MACHINE_ERROR;
	}
	descriptor_print(digest, text);
	puts(text);
	ram_destroy(&machine.ram);
	return 0;
}

/** Reads the number of a file that the monitor was started with; programs that it starts do not get it. */
static bool parse_fd(const char *text, int *fd)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (*end || end == text || number < 0 || number > INT_MAX || fcntl((int)number, F_SETFD, FD_CLOEXEC))
		return false;
	*fd = (int)number;
	return true;
}

int main(int argc, char **argv)
{
	struct options options = { .device = "/dev/kvm", .handover = -1 };
	const char *file = NULL;
	struct config config;
	char error[ERROR_BYTES];
	bool check = false, measure = false;
	int status;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(help_text, stdout);
			return 0;
		}
		if (!strcmp(argv[i], "--check")) {
			check = true;
		} else if (!strcmp(argv[i], "--measure")) {
			measure = true;
		} else if (!strcmp(argv[i], "--device") && i + 1 < argc) {
			options.device = argv[++i];
		} else if (!strcmp(argv[i], "--handover") && i + 1 < argc && parse_fd(argv[i + 1], &options.handover)) {
			i++;
		} else if (!strcmp(argv[i], "--user") && i + 1 < argc) {
			options.user = argv[++i];
		} else if (argv[i][0] != '-' && !file) {
			file = argv[i];
		} else {
			fprintf(stderr, "monitor: %s: not understood; see monitor --help\n", argv[i]);
			return 2;
		}
	}
	if (!file) {
		fputs(help_text, stderr);
		return 2;
	}
	if (!config_load(&config, file, error, sizeof(error))) {
		fprintf(stderr, "monitor: %s\n", error);
		config_free(&config);
		return 2;
	}
	status = check ? 0 : measure ? print_measurement(&config) : supervise(&config, &options, launch);
	config_free(&config);
	return status;
}
