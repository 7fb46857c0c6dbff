/*
 * bulkhead-keyd: holds the vault of one owner and answers five calls. One process, one thread, one
 * call at a time; it reads no network, starts nothing and keeps no secret in memory between calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "durable_file.h"
#include "keyd_guest.h"
#include "keyd_serve.h"
#include "passed_file.h"
#include "trust/signing_key.h"

static const char usage[] =
    "usage: bulkhead-keyd --vault DIR --socket PATH [options]\n"
    "Holds the keys of one owner on this PC.\n"
    "\n"
    "  --vault DIR            where the vault's files are; made if missing\n"
    "  --socket PATH          where calls arrive (include/bulkhead/keyd.h)\n"
    "  --owner company|user   whose vault it is (default company)\n"
    "  --tpm TCTI             the TPM, e.g. device:/dev/tpmrm0; none: keys lie in files and "
    "reports say advisory\n"
    "  --nv-base INDEX        first of four NV indices (default 0x01801000; a second vault needs "
    "another)\n"
    "  --platform-key FILE    public key (PEM, P-256) that approves PCR 4 and 7; none: any "
    "platform\n"
    "  --approvals DIR        approved policies of the platform\n"
    "  --hypervisor DEVICE    asks it (usually " BULKHEAD_DEVICE ") what guests measure as: those that are not as their\n"
    "                         signed descriptor says get no keys; none: keys are not bound to what runs\n"
    "  --passphrase-file FILE first line closes a vault without a TPM; none: a key file on this "
    "PC's disk does\n"
    "  --agent-user NAME      who may make every call (default: who runs this)\n"
    "  --state-user NAME      who may ask for the state (default: nobody else)\n"
    "  --test-quick-phrases   make recovery copies cheap to open: for tests only\n"
    "  --help\n";

struct options {
	const char *vault, *socket, *tpm, *platform_key, *approvals, *passphrase_file, *hypervisor;
	enum vault_owner owner;
	uint32_t nv_base;
	struct keyd_access access;
	bool quick_phrases;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
	(void)number;
	stopping = 1;
}

static int complain(const char *format, const char *thing, const char *reason)
{
	fprintf(stderr, "bulkhead-keyd: ");
	fprintf(stderr, format, thing, reason);
	fputc('\n', stderr);
	return 1;
}

static int find_user(const char *name, uid_t *user)
{
	const struct passwd *entry = getpwnam(name);
	char *end;
	unsigned long number = strtoul(name, &end, 10);

	if (entry)
		*user = entry->pw_uid;
	else if (*name && !*end && number < UINT32_MAX)
		*user = (uid_t)number;
	else
		return complain("--agent-user: there is no user '%s'%s", name, "");
	return 0;
}

static int read_options(int argc, char **argv, struct options *options)
{
	static const struct option table[] = {{"vault", 1, NULL, 'v'},
					      {"socket", 1, NULL, 's'},
					      {"owner", 1, NULL, 'o'},
					      {"tpm", 1, NULL, 't'},
					      {"nv-base", 1, NULL, 'n'},
					      {"platform-key", 1, NULL, 'k'},
					      {"approvals", 1, NULL, 'a'},
					      {"hypervisor", 1, NULL, 'y'},
					      {"passphrase-file", 1, NULL, 'p'},
					      {"agent-user", 1, NULL, 'u'},
					      {"state-user", 1, NULL, 'w'},
					      {"test-quick-phrases", 0, NULL, 'q'},
					      {"help", 0, NULL, 'h'},
					      {NULL, 0, NULL, 0}};
	int letter;

	*options = (struct options){.nv_base = 0x01801000, .access = {geteuid(), (uid_t)-1}};
	while ((letter = getopt_long(argc, argv, "h", table, NULL)) != -1) {
		switch (letter) {
		case 'v':
			options->vault = optarg;
			break;
		case 's':
			options->socket = optarg;
			break;
		case 't':
			options->tpm = optarg;
			break;
		case 'k':
			options->platform_key = optarg;
			break;
		case 'a':
			options->approvals = optarg;
			break;
		case 'p':
			options->passphrase_file = optarg;
			break;
		case 'y':
			options->hypervisor = optarg;
			break;
		case 'q':
			options->quick_phrases = true;
			break;
		case 'n':
			options->nv_base = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'o':
			if (strcmp(optarg, "company") != 0 && strcmp(optarg, "user") != 0)
				return complain("--owner is company or user, not '%s'%s", optarg,
						"");
			options->owner =
			    strcmp(optarg, "user") == 0 ? VAULT_OF_USER : VAULT_OF_COMPANY;
			break;
		case 'u':
			if (find_user(optarg, &options->access.agent) != 0)
				return 1;
			break;
		case 'w':
			if (find_user(optarg, &options->access.state) != 0)
				return 1;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (!options->vault || !options->socket || optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	return 0;
}

/** No core dump, no debugger of the same user, no page of a key on a swap disk. */
static void close_up(void)
{
	const struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (mlockall(MCL_CURRENT) != 0)
		syslog(LOG_WARNING,
		       "memory cannot be locked (%s): raise LimitMEMLOCK, or have no swap",
		       strerror(errno));
}

static int open_backend(const struct options *options, struct vault_backend **backend)
{
	static unsigned char platform_key[TPM_PUBLIC_KEY_BYTES];
	struct vault_tpm_config config = {.tcti = options->tpm,
					  .base_index = options->nv_base,
					  .approvals_directory = options->approvals};
	unsigned char *text = NULL;
	char error[320] = "";
	size_t size;
	int result;

	if (options->platform_key) {
		result = durable_file_read(options->platform_key, 8192, &text, &size);
		if (result == 0)
			result = tpm_rules_public_key((const char *)text, platform_key);
		free(text);
		if (result != 0)
			return complain("--platform-key %s: %s", options->platform_key,
					result == -EINVAL ? "this is no P-256 key in PEM"
							  : strerror(-result));
		config.platform_key = platform_key;
	}
	if (options->tpm)
		result = vault_tpm_open(&config, backend, error, sizeof(error));
	else if (options->passphrase_file) {
		result = durable_file_read(options->passphrase_file, 4096, &text, &size);
		if (result != 0)
			return complain("--passphrase-file %s: %s", options->passphrase_file,
					strerror(-result));
		text[strcspn((char *)text, "\r\n")] = '\0';
		result = vault_file_open(options->vault, (const char *)text, backend, error,
					 sizeof(error));
		sodium_memzero(text, size);
		free(text);
	} else {
		result = vault_file_open(options->vault, NULL, backend, error, sizeof(error));
	}
	return result == 0 ? 0 : complain("%s%s", error, "");
}

/** The socket is for this user and its group; who of them may do what is decided per call. */
static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int file;

	if (strlen(path) >= sizeof(address.sun_path))
		return complain("--socket %s: %s", path, "the path is longer than 107 bytes"), -1;
	memcpy(address.sun_path, path, strlen(path));
	unlink(path);
	file = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (file < 0 || bind(file, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    chmod(path, 0660) != 0 || listen(file, 16) != 0) {
		complain("--socket %s: %s", path, strerror(errno));
		if (file >= 0)
			close(file);
		return -1;
	}
	return file;
}

/** One connection, one call. A peer that stays silent for a second is dropped, so nobody can hold
 * the line. */
static void serve_one(int listener, struct vault *vault, const struct keyd_access *access, int hypervisor)
{
	static unsigned char bytes[KEYD_MESSAGE_MAX_BYTES];
	static struct keyd_writer answer;
	const struct timeval patience = {.tv_sec = 1};
	struct bulkhead_measurement measurement;
	struct keyd_peer caller = {0};
	struct ucred peer;
	socklen_t peer_size = sizeof(peer);
	ssize_t size;
	int guest = -1, file = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (file < 0)
		return;
	if (getsockopt(file, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0 &&
	    setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	    setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0) {
		size = passed_file_receive(file, bytes, sizeof(bytes), &guest);
		if (size > 0) {
			caller.user = peer.uid;
			if (keyd_guest_measure(hypervisor, guest, &measurement) == 0)
				caller.guest = &measurement;
			keyd_serve(vault, access, &caller, bytes, (size_t)size, &answer);
			send(file, answer.bytes, answer.size_bytes, MSG_NOSIGNAL);
			sodium_memzero(answer.bytes, answer.size_bytes);
			sodium_memzero(bytes, sizeof(bytes));
		}
		if (guest >= 0)
			close(guest);
	}
	close(file);
}

static int serve(int listener, struct vault *vault, const struct keyd_access *access, int hypervisor)
{
	const struct itimerspec unit = {{VAULT_POWERED_UNIT_SECONDS, 0},
					{VAULT_POWERED_UNIT_SECONDS, 0}};
	int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
	uint64_t passed;

	if (timer < 0 || timerfd_settime(timer, 0, &unit, NULL) != 0)
		return complain("timer: %s%s", strerror(errno), "");
	while (!stopping) {
		struct pollfd waits[] = {{listener, POLLIN, 0}, {timer, POLLIN, 0}};

		if (poll(waits, 2, -1) < 0)
			continue;
		/* Units slept through count too: each is charged. */
		if ((waits[1].revents & POLLIN) &&
		    read(timer, &passed, sizeof(passed)) == sizeof(passed))
			for (; passed > 0; passed--)
				if (vault_charge_powered(vault) != 0)
					syslog(LOG_ERR, "powered time cannot be charged: %s",
					       vault_error(vault));
		if (waits[0].revents & POLLIN)
			serve_one(listener, vault, access, hypervisor);
	}
	close(timer);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction stop = {.sa_handler = on_signal};
	struct options options;
	struct vault_backend *backend;
	struct vault *vault;
	char error[320];
	int listener, hypervisor = -1, result = read_options(argc, argv, &options);

	if (result != 0)
		return result;
	umask(0077);
	openlog("bulkhead-keyd", LOG_PID, LOG_AUTH);
	if (sodium_init() < 0 || signing_key_start() != 0)
		return complain("%s%s", "the system gives no random numbers", "");
	close_up();
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	if (options.hypervisor) {
		hypervisor = keyd_guest_open(options.hypervisor);
		if (hypervisor < 0)
			return complain("--hypervisor %s: %s", options.hypervisor, strerror(-hypervisor));
	}
	if (open_backend(&options, &backend) != 0)
		return 1;
	if (vault_open(options.vault, options.owner, backend, &vault, error, sizeof(error)) != 0)
		return complain("%s%s", error, "");
	if (options.hypervisor)
		vault_measure_guests(vault);
	if (options.quick_phrases)
		vault_set_phrase_cost(vault, KEY_COPY_COST_LEAST);
	if (vault_charge_powered(vault) != 0)
		result = complain("%s%s", vault_error(vault), "");
	listener = result == 0 ? listen_at(options.socket) : -1;
	if (listener < 0)
		result = 1;
	if (result == 0)
		result = serve(listener, vault, &options.access, hypervisor);
	if (listener >= 0) {
		unlink(options.socket);
		close(listener);
	}
	vault_close(vault);
	return result;
}
