/*
 * bulkhead-console: one guest's virtio console over vhost-user, shown at a socket; or a named port, spoken through there.
 */
#include "confine.h"
#include "console_device.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
	"usage: bulkhead-console --socket PATH --console PATH [--port NAME] [--user NAME]\n"
	"Serves one guest's virtio console over vhost-user until it gets SIGTERM. Whoever connects to the console's socket\n"
	"sees the last output and takes over from who was there, who reads an end without a hang-up. What a guest sends may\n"
	"hold any terminal sequence: show it with a program that filters them, as bulkhead console does.\n"
	"With --port it is no console: a program in the guest opens /dev/virtio-ports/NAME and speaks with who is connected;\n"
	"whoever connects before it has opened that is hung up on.\n\n"
	"  --socket PATH   where the monitor connects\n"
	"  --console PATH  where a person's terminal, or who uses the port, connects\n"
	"  --port NAME     the port's name, such as org.qemu.guest_agent.0\n"
	"  --user NAME     give up root for this user once the sockets are open\n";

static int fail(const char *what, int error)
{
	fprintf(stderr, "bulkhead-console: %s: %s\n", what, strerror(-error));
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"console", required_argument, NULL, 'c'},
		{"port", required_argument, NULL, 'p'},
		{"user", required_argument, NULL, 'u'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct console_device device;
	const char *path = NULL, *console = NULL, *port = NULL, *user = NULL, *what;
	int option, stop, listener, error;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's': path = optarg; break;
		case 'c': console = optarg; break;
		case 'p': port = optarg; break;
		case 'u': user = optarg; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (optind != argc || !path || !console || (port && (!*port || strlen(port) > PORT_NAME_MAX))) {
		fputs(usage, stderr);
		return 2;
	}
	stop = confine_signals("bulkhead-console");
	if (stop < 0)
		return fail("signals", stop);
	listener = vhost_open(path);
	if (listener < 0)
		return fail(path, listener);
	error = console_device_make(&device, console, port);
	if (error)
		return fail(console, error);
	error = confine_enter(user, CONFINE_NOTHING_MORE, &what);
	if (error)
		return fail(what, error);
	error = console_device_start(&device);
	if (!error)
		error = vhost_accept(listener, &device.kind, stop);
	return error ? fail(path, error) : 0;
}
