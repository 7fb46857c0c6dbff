/*
 * bulkhead-entropy: random bytes for one guest, over vhost-user.
 */
#include "confine.h"
#include "entropy.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"usage: bulkhead-entropy --socket PATH [--user NAME]\n"
	"Serves random bytes to one guest over vhost-user until it gets SIGTERM.\n\n"
	"  --socket PATH  where the monitor connects\n"
	"  --user NAME    give up root for this user once the socket is open\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"user", required_argument, NULL, 'u'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *path = NULL, *user = NULL, *what;
	int option, stop, listener, error;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's': path = optarg; break;
		case 'u': user = optarg; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (optind != argc || !path) {
		fputs(usage, stderr);
		return 2;
	}
	stop = confine_signals("bulkhead-entropy");
	listener = vhost_open(path);
	if (stop < 0 || listener < 0) {
		fprintf(stderr, "bulkhead-entropy: %s: %s\n", path, strerror(listener < 0 ? -listener : 0));
		return 1;
	}
	error = confine_enter(user, CONFINE_NOTHING_MORE, &what);
	if (error) {
		fprintf(stderr, "bulkhead-entropy: %s: %s\n", what, strerror(-error));
		return 1;
	}
	return vhost_accept(listener, &entropy_kind, stop) ? 1 : 0;
}
