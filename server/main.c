/* main.c: bulkhead-server: options, start, wait for a signal. */
#include "server/server.h"
#include "server/version.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Usage: bulkhead-server --data DIR [OPTION...]\n"
    "\n"
    "Runs the Bulkhead management server. The first start makes what is missing: certificate\n"
    "authority, database, a first administrator. His one-time password is printed, a new one\n"
    "at every start, until he has chosen his own.\n"
    "\n"
    "  --data DIR             where everything is kept (required)\n"
    "  --listen ADDR:PORT     HTTPS for administrators and devices [0.0.0.0:8443]\n"
    "  --name HOST            DNS name or address in the certificate; repeat for several\n"
    "                         [this host's name, localhost, 127.0.0.1, ::1]\n"
    "  --packs-listen ADDR:PORT  packs alone, over plain HTTP, for a cache in front\n"
    "  --packs-url URL        where clients fetch packs, if not from here\n"
    "  --threads N            [one per processor, 2 to 8]\n"
    "  --connections N        at the same time [2000]\n"
    "  --restored             once, after the database was replaced by an older copy: goes on with\n"
    "                         serials beyond those that devices have seen\n"
    "  --attempts N           logins and enrolments a minute from one address [30]\n"
    "  --help, --version\n";

enum option_code {
	DATA = 256,
	LISTEN,
	NAME,
	PACKS_LISTEN,
	PACKS_URL,
	THREADS,
	CONNECTIONS,
	ATTEMPTS,
	RESTORED,
	HELP,
	VERSION
};

static const struct option long_options[] = {
    {"data", required_argument, NULL, DATA},
    {"listen", required_argument, NULL, LISTEN},
    {"name", required_argument, NULL, NAME},
    {"packs-listen", required_argument, NULL, PACKS_LISTEN},
    {"packs-url", required_argument, NULL, PACKS_URL},
    {"threads", required_argument, NULL, THREADS},
    {"connections", required_argument, NULL, CONNECTIONS},
    {"attempts", required_argument, NULL, ATTEMPTS},
    {"restored", no_argument, NULL, RESTORED},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {0},
};

static bool read_count(const char *option, unsigned int least, unsigned int most, unsigned int *out)
{
	char *end;
	unsigned long value = strtoul(optarg, &end, 10);

	if (*end || end == optarg || value < least || value > most) {
		fprintf(stderr, "bulkhead-server: --%s: %s is not a number from %u to %u\n", option,
			optarg, least, most);
		return false;
	}
	*out = (unsigned int)value;
	return true;
}

/* Returns -1 to go on, else the exit status. */
static int read_option(int code, struct server_options *options)
{
	switch (code) {
	case DATA:
		options->data = optarg;
		return -1;
	case LISTEN:
		options->listen = optarg;
		return -1;
	case NAME:
		if (options->name_count == SERVER_NAMES_MAX) {
			fprintf(stderr, "bulkhead-server: --name: at most %d names\n",
				SERVER_NAMES_MAX);
			return 2;
		}
		options->names[options->name_count++] = optarg;
		return -1;
	case PACKS_LISTEN:
		options->packs_listen = optarg;
		return -1;
	case PACKS_URL:
		options->packs_url = optarg;
		return -1;
	case THREADS:
		return read_count("threads", 2, 64, &options->threads) ? -1 : 2;
	case CONNECTIONS:
		return read_count("connections", 16, 100000, &options->connections) ? -1 : 2;
	case ATTEMPTS:
		return read_count("attempts", 1, 1000000, &options->open_calls_per_minute) ? -1 : 2;
	case RESTORED:
		options->restored = true;
		return -1;
	case HELP:
		fputs(help, stdout);
		return 0;
	case VERSION:
		puts("bulkhead-server " BULKHEAD_VERSION);
		return 0;
	default:
		fputs("bulkhead-server: see --help\n", stderr);
		return 2;
	}
}

static void announce(const struct server *server)
{
	uint8_t pin[32];
	char text[65];

	authority_pin(server->authority, pin);
	sodium_bin2hex(text, sizeof(text), pin, sizeof(pin));
	printf("bulkhead-server: listening on port %d, certificate authority %s\n", server->port,
	       text);
	if (server->packs_port)
		printf("bulkhead-server: packs in plain on port %d\n", server->packs_port);
	if (server->first_password[0])
		printf("bulkhead-server: first administrator \"admin\", one-time password %s "
		       "(another at every start until it was used)\n"
		       "bulkhead-server: next: bulkhead server login https://%s:%d --ca %s\n",
		       server->first_password, server->options.names[0], server->port, text);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static char host[256];
	struct server_options options = {.listen = "0.0.0.0:8443"};
	struct server *server;
	char problem[600];
	sigset_t signals;
	int code, status, caught;

	while ((code = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		status = read_option(code, &options);
		if (status >= 0)
			return status;
	}
	if (!options.data || optind != argc) {
		fputs("bulkhead-server: --data DIR is required; see --help\n", stderr);
		return 2;
	}
	if (!options.name_count) {
		if (!gethostname(host, sizeof(host) - 1) && host[0])
			options.names[options.name_count++] = host;
		options.names[options.name_count++] = "localhost";
		options.names[options.name_count++] = "127.0.0.1";
		options.names[options.name_count++] = "::1";
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	/* Blocked before any thread starts, so that only sigwait() below sees them. */
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if (server_open(&options, &server, problem, sizeof(problem))) {
		fprintf(stderr, "bulkhead-server: %s\n", problem);
		return 1;
	}
	announce(server);
	sigwait(&signals, &caught);
	server_close(server);
	return 0;
}
