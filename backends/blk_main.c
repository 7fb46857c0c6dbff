/*
 * bulkhead-blk: serves one guest's disk to one monitor over vhost-user.
 */
#include "blk.h"
#include "confine.h"
#include "served.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char usage[] =
	"usage: bulkhead-blk --socket PATH --state DIR --key FILE [options]\n"
	"       bulkhead-blk --socket PATH --file FILE\n"
	"Serves one guest's disk over vhost-user-blk until it gets SIGTERM.\n\n"
	"  --socket PATH      where the monitor connects\n"
	"  --state DIR        folder of the guest's layers; made if missing\n"
	"  --key FILE         32 bytes from which the layers' keys are made\n"
	"  --file FILE        serve this plain file, read-only, and no layers\n"
	"system disk:\n"
	"  --store DIR        store that has the version\n"
	"  --domain-key FILE  32 bytes: key of the version's domain\n"
	"  --version V        id, beginning of an id, or label\n"
	"  --drop-overlay     forget what the guest wrote above this version before\n"
	"  --read-only        no overlay\n"
	"  --feed PATH        socket at which missing frames are asked for\n"
	"  --trace FILE       fetch in the order of this boot trace\n"
	"  --record FILE      record a boot trace\n"
	"  --no-background    fetch only what the guest reads\n"
	"one layer (no --store):\n"
	"  --layer NAME       folder of the layer; default user\n"
	"  --size BYTES       make the disk if there is none; K, M, G, T are powers of 1024\n"
	"both:\n"
	"  --control PATH     socket at which backups are read\n"
	"  --direct           read and write layers past this machine's page cache (the guest has its own)\n"
	"  --queues N         1 to 16; default 1\n"
	"  --serial TEXT      serial number that the guest sees\n";

enum { OPT_SOCKET = 256, OPT_FILE, OPT_STATE, OPT_KEY, OPT_STORE, OPT_DOMAIN, OPT_VERSION, OPT_DROP, OPT_READ_ONLY, OPT_FEED, OPT_TRACE,
       OPT_RECORD, OPT_NO_BACKGROUND, OPT_DIRECT, OPT_SIZE, OPT_LAYER, OPT_CONTROL, OPT_QUEUES, OPT_SERIAL, OPT_HELP };

static const struct option options[] = {
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"file", required_argument, NULL, OPT_FILE},
	{"state", required_argument, NULL, OPT_STATE},
	{"key", required_argument, NULL, OPT_KEY},
	{"store", required_argument, NULL, OPT_STORE},
	{"domain-key", required_argument, NULL, OPT_DOMAIN},
	{"version", required_argument, NULL, OPT_VERSION},
	{"drop-overlay", no_argument, NULL, OPT_DROP},
	{"read-only", no_argument, NULL, OPT_READ_ONLY},
	{"feed", required_argument, NULL, OPT_FEED},
	{"trace", required_argument, NULL, OPT_TRACE},
	{"record", required_argument, NULL, OPT_RECORD},
	{"no-background", no_argument, NULL, OPT_NO_BACKGROUND},
	{"direct", no_argument, NULL, OPT_DIRECT},
	{"size", required_argument, NULL, OPT_SIZE},
	{"layer", required_argument, NULL, OPT_LAYER},
	{"control", required_argument, NULL, OPT_CONTROL},
	{"queues", required_argument, NULL, OPT_QUEUES},
	{"serial", required_argument, NULL, OPT_SERIAL},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

struct command_line {
	struct served_options served;
	const char *socket, *serial, *key, *domain_key;
	uint64_t queues;
};

static bool number(const char *text, uint64_t max, uint64_t *value)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	if (errno || end == text || *text < '0' || *text > '9')
		return false;
	if (*end && (suffix = strchr(suffixes, *end)) && end[1] == '\0') {
		unsigned int shift = 10 * (unsigned int)(suffix - suffixes + 1);

		if (*value > max >> shift)
			return false;
		*value <<= shift;
		end++;
	}
	return *end == '\0' && *value >= 1 && *value <= max;
}

/** Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct command_line *line)
{
	struct served_options *served = &line->served;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case OPT_SOCKET: line->socket = optarg; break;
		case OPT_FILE: served->file = optarg; break;
		case OPT_STATE: served->state = optarg; break;
		case OPT_KEY: line->key = optarg; break;
		case OPT_STORE: served->store = optarg; break;
		case OPT_DOMAIN: line->domain_key = optarg; break;
		case OPT_VERSION: served->version = optarg; break;
		case OPT_DROP: served->drop_overlay = true; break;
		case OPT_READ_ONLY: served->read_only = true; break;
		case OPT_FEED: served->feed = optarg; break;
		case OPT_TRACE: served->trace = optarg; break;
		case OPT_RECORD: served->record = optarg; break;
		case OPT_NO_BACKGROUND: served->no_background = true; break;
		case OPT_DIRECT: served->direct = true; break;
		case OPT_LAYER: served->layer = optarg; break;
		case OPT_CONTROL: served->control = optarg; break;
		case OPT_SERIAL: line->serial = optarg; break;
		case OPT_SIZE:
			if (!number(optarg, DISK_BYTES_MAX, &served->layer_bytes)) {
				fprintf(stderr, "bulkhead-blk: --size %s: is not a size up to 16T\n", optarg);
				return 2;
			}
			break;
		case OPT_QUEUES:
			if (!number(optarg, VHOST_QUEUES_MAX, &line->queues)) {
				fprintf(stderr, "bulkhead-blk: --queues %s: is not a number from 1 to %u\n", optarg,
					VHOST_QUEUES_MAX);
				return 2;
			}
			break;
		case OPT_HELP: fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (optind == argc && line->socket &&
	    (served->file ? !served->state && !line->key && !served->store && !served->control
			  : served->state && line->key && (!served->store || (line->domain_key && served->version))))
		return -1;
	fputs(usage, stderr);
	return 2;
}

/** Opens the disk with the keys in the files, which are forgotten at once. */
static int open_disk(struct command_line *line, struct served **served, struct problem *problem)
{
	uint8_t key[SERVED_KEY_BYTES], domain_key[SERVED_KEY_BYTES];
	int error = line->key ? served_read_key(line->key, key, problem) : 0;

	line->served.key = line->key ? key : NULL;
	if (!error && line->domain_key) {
		error = served_read_key(line->domain_key, domain_key, problem);
		line->served.domain_key = domain_key;
	}
	if (!error)
		error = served_open(&line->served, served, problem);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(domain_key, sizeof(domain_key));
	line->served.key = line->served.domain_key = NULL;
	return error;
}

/** Serves the disk, with no more rights than that takes. Returns 0 or a negative errno. */
static int serve(const char *socket, struct blk *blk, int stop)
{
	const char *what = socket;
	int listener = vhost_open(socket), error = listener < 0 ? listener : 0;

	if (!error)
		error = confine_enter(NULL, CONFINE_FILES, &what);
	if (!error) {
		what = socket;
		error = vhost_accept(listener, &blk->kind, stop);
	}
	if (error)
		fprintf(stderr, "bulkhead-blk: %s: %s\n", what, strerror(-error));
	if (listener >= 0) {
		close(listener);
		unlink(socket);
	}
	return error;
}

int main(int argc, char **argv)
{
	struct command_line line = {.queues = 1, .serial = "bulkhead"};
	struct problem problem = {""};
	struct served *served;
	struct blk blk;
	int status = parse(argc, argv, &line), stop, error;

	if (status >= 0)
		return status;
	/* Memory of this process holds keys: no core file, no debugger of another process of this user. */
	if (prctl(PR_SET_DUMPABLE, 0)) {
		fprintf(stderr, "bulkhead-blk: cannot forbid core files: %s\n", strerror(errno));
		return 1;
	}
	stop = confine_signals("bulkhead-blk");
	if (stop < 0) {
		fprintf(stderr, "bulkhead-blk: signals: %s\n", strerror(errno));
		return 1;
	}
	line.served.stop_fd = stop;
	/* Opening starts threads that transfer at once, and the filter that comes after it refuses rings. */
	store_file_refuse_rings();
	error = open_disk(&line, &served, &problem);
	if (error) {
		fprintf(stderr, "bulkhead-blk: %s\n", problem.line);
		return 1;
	}
	blk_make(&blk, served_disk(served), (unsigned int)line.queues, line.serial);
	error = serve(line.socket, &blk, stop);
	if (served_close(served, &problem)) {
		fprintf(stderr, "bulkhead-blk: %s\n", problem.line);
		error = -EIO;
	}
	return error ? 1 : 0;
}
