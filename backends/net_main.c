/*
 * bulkhead-net: one guest's network card over vhost-user, on a tap of the service domain's.
 */
#include "confine.h"
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char usage[] =
	"usage: bulkhead-net --socket PATH --tap NAME --mac MAC --address A/BITS --gateway A [options]\n"
	"Serves one guest's network card over vhost-user until it gets SIGTERM. The guest can use only this hardware and\n"
	"network address, which it gets by DHCP; bulkhead-net-setup makes the tap and says whom it reaches.\n\n"
	"  --socket PATH     where the monitor connects\n"
	"  --tap NAME        interface; made if missing\n"
	"  --mac MAC         the guest's hardware address, as 02:00:00:00:00:01\n"
	"  --address A/BITS  the guest's IPv4 address and network, as 10.77.1.2/30\n"
	"  --gateway A       the tap's address\n"
	"  --resolver A      name server the guest is told; none by default\n"
	"  --user NAME       give up root for this user once socket and tap are open\n";

struct command_line {
	const char *socket, *tap, *user;
	struct net_identity identity;
	bool has_mac, has_address;
};

static bool read_mac(const char *text, uint8_t *mac)
{
	unsigned int bytes[NET_MAC_BYTES];
	char more;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4], &bytes[5],
		   &more) != 6)
		return false;
	for (unsigned int i = 0; i < NET_MAC_BYTES; i++)
		mac[i] = (uint8_t)bytes[i];
	return !(mac[0] & 1); /* not a group's */
}

static bool read_address(const char *text, uint32_t *address)
{
	struct in_addr value;

	if (inet_pton(AF_INET, text, &value) != 1)
		return false;
	*address = ntohl(value.s_addr);
	return true;
}

static bool read_network(const char *text, struct net_identity *identity)
{
	char address[INET_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	char *end;
	unsigned long bits;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return false;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	bits = strtoul(slash + 1, &end, 10);
	if (end == slash + 1 || *end || bits < 1 || bits > 30)
		return false;
	identity->prefix_bits = (unsigned int)bits;
	return read_address(address, &identity->guest);
}

/** Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct command_line *line)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},   {"tap", required_argument, NULL, 't'},
		{"mac", required_argument, NULL, 'm'},	    {"address", required_argument, NULL, 'a'},
		{"gateway", required_argument, NULL, 'g'},  {"resolver", required_argument, NULL, 'r'},
		{"user", required_argument, NULL, 'u'},	    {"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *wrong = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1 && !wrong) {
		switch (option) {
		case 's': line->socket = optarg; break;
		case 't': line->tap = strlen(optarg) < IFNAMSIZ ? optarg : NULL; break;
		case 'u': line->user = optarg; break;
		case 'm':
			line->has_mac = read_mac(optarg, line->identity.mac);
			wrong = line->has_mac ? NULL : "--mac: not a hardware address of one card";
			break;
		case 'a':
			line->has_address = read_network(optarg, &line->identity);
			wrong = line->has_address ? NULL : "--address: not an IPv4 address with 1 to 30 bits";
			break;
		case 'g': wrong = read_address(optarg, &line->identity.gateway) ? NULL : "--gateway: not an IPv4 address"; break;
		case 'r':
			wrong = read_address(optarg, &line->identity.resolver) ? NULL : "--resolver: not an IPv4 address";
			break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (wrong) {
		fprintf(stderr, "bulkhead-net: %s\n", wrong);
		return 2;
	}
	if (optind != argc || !line->socket || !line->tap || !line->has_mac || !line->has_address || !line->identity.gateway) {
		fputs(usage, stderr);
		return 2;
	}
	return -1;
}

static int open_tap(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (tap < 0)
		return -errno;
	memcpy(request.ifr_name, name, strlen(name));
	if (ioctl(tap, TUNSETIFF, &request)) {
		int error = -errno;

		close(tap);
		return error;
	}
	return tap;
}

static int fail(const char *what, int error)
{
	fprintf(stderr, "bulkhead-net: %s: %s\n", what, strerror(-error));
	return 1;
}

int main(int argc, char **argv)
{
	struct command_line line = {0};
	int status = parse(argc, argv, &line), stop, tap, listener, error;
	static struct net net;
	const char *what;

	if (status >= 0)
		return status;
	stop = confine_signals("bulkhead-net");
	if (stop < 0)
		return fail("signals", -errno);
	tap = open_tap(line.tap);
	if (tap < 0)
		return fail(line.tap, tap);
	listener = vhost_open(line.socket);
	if (listener < 0)
		return fail(line.socket, listener);
	error = net_make(&net, &line.identity, tap);
	if (error)
		return fail(line.tap, error);
	error = confine_enter(line.user, CONFINE_NOTHING_MORE, &what);
	if (error)
		return fail(what, error);
	error = vhost_accept(listener, &net.kind, stop);
	return error ? fail(line.socket, error) : 0;
}
