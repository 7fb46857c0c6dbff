/* What the agent's tests share: see fixture.h. */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIE(what) (fprintf(stderr, "fixture: %s: %s\n", (what), strerror(errno)), abort())

void fixture_directory(char path[64])
{
	snprintf(path, 64, "/tmp/bulkhead-test-XXXXXX");
	if (!mkdtemp(path))
		DIE(path);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	return remove(path);
}

void fixture_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fixture_copy(const char *from, const char *to)
{
	char path[PATH_MAX], bytes[65536];
	DIR *list = opendir(from);
	struct dirent *entry;

	mkdir(to, 0700);
	while (list && (entry = readdir(list))) {
		int in = openat(dirfd(list), entry->d_name, O_RDONLY), out;
		struct stat status;
		ssize_t size;

		if (in < 0 || fstat(in, &status) != 0 || !S_ISREG(status.st_mode)) {
			if (in >= 0)
				close(in);
			continue;
		}
		snprintf(path, sizeof(path), "%s/%s", to, entry->d_name);
		out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		while ((size = read(in, bytes, sizeof(bytes))) > 0)
			if (write(out, bytes, (size_t)size) != size)
				DIE(path);
		close(in);
		close(out);
	}
	if (list)
		closedir(list);
}

static void run(char *const *command, bool wait_for_it, pid_t *process)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		execvp(command[0], command);
		_exit(127);
	}
	if (child < 0)
		DIE(command[0]);
	if (process)
		*process = child;
	if (wait_for_it && (waitpid(child, &status, 0) != child || status != 0))
		DIE(command[0]);
}

/** Whether somebody waits for connections at a socket's path. Connecting, to find out, would be heard there. */
static bool is_listening(const char *path)
{
	FILE *sockets = fopen("/proc/net/unix", "r");
	unsigned int flags;
	char line[256], name[128];
	bool found = false;

	while (sockets && !found && fgets(line, sizeof(line), sockets))
		found = sscanf(line, "%*s %*x %*x %x %*x %*x %*u %127s", &flags, name) == 2 && (flags & 0x10000) &&
			strcmp(name, path) == 0;
	if (sockets)
		fclose(sockets);
	return found;
}

void fixture_tpm_run(struct emulated_tpm *tpm)
{
	char state[96], server[96], control[96];
	char *command[] = {"swtpm", "socket", "--tpm2", "--tpmstate", state,	       "--server",
			   server,  "--ctrl", control,	"--flags",    "not-need-init", NULL};
	char path[96];

	snprintf(state, sizeof(state), "dir=%s", tpm->directory);
	snprintf(server, sizeof(server), "type=unixio,path=%s/socket", tpm->directory);
	snprintf(control, sizeof(control), "type=unixio,path=%s/socket.ctrl", tpm->directory);
	snprintf(path, sizeof(path), "%s/socket", tpm->directory);
	snprintf(tpm->tcti, sizeof(tpm->tcti), "swtpm:path=%s/socket", tpm->directory);
	unlink(path);
	unlink(control + strlen("type=unixio,path="));
	run(command, false, &tpm->process);
	while (!is_listening(path) || !is_listening(control + strlen("type=unixio,path="))) {
		if (waitpid(tpm->process, NULL, WNOHANG) != 0)
			DIE("swtpm");
		usleep(1000);
	}
}

static char manufactured_directory[64];

static void remove_manufactured(void)
{
	fixture_remove(manufactured_directory);
}

void fixture_tpm_start(struct emulated_tpm *tpm)
{
	/* Manufacturing takes a second; every test starts from a copy of one chip's first state. */
	static char manufactured[64];
	char *command[] = {"swtpm_setup", "--tpm2", "--tpmstate", manufactured, NULL};

	if (!manufactured[0]) {
		fixture_directory(manufactured);
		run(command, true, NULL);
		atexit(remove_manufactured);
		snprintf(manufactured_directory, sizeof(manufactured_directory), "%s",
			 manufactured);
	}
	fixture_directory(tpm->directory);
	fixture_copy(manufactured, tpm->directory);
	fixture_tpm_run(tpm);
}

void fixture_tpm_kill(struct emulated_tpm *tpm)
{
	if (tpm->process > 0) {
		kill(tpm->process, SIGKILL);
		waitpid(tpm->process, NULL, 0);
	}
	tpm->process = 0;
}

void fixture_tpm_remove(struct emulated_tpm *tpm)
{
	fixture_tpm_kill(tpm);
	fixture_remove(tpm->directory);
}

char *company_sign(const char *type, const char *payload, const struct signing_key *const *keys,
		   int count)
{
	struct dsse_envelope envelope;
	char *text = NULL;

	if (dsse_new(&envelope, type, payload, strlen(payload)) != 0)
		DIE("envelope");
	for (int i = 0; i < count; i++)
		if (dsse_sign(&envelope, keys[i]) != 0)
			DIE("signature");
	if (dsse_write(&envelope, &text) != 0)
		DIE("envelope");
	dsse_release(&envelope);
	return text;
}

void company_make(struct company *company)
{
	const struct signing_key *root = &company->root;
	char *payload;

	memset(company, 0, sizeof(*company));
	if (signing_key_start() != 0 || signing_key_generate(&company->root, "root") != 0 ||
	    signing_key_generate(&company->server, "server") != 0 ||
	    signing_key_generate(&company->policy, "policy") != 0 ||
	    signing_key_generate(&company->officers[0], "ann") != 0 ||
	    signing_key_generate(&company->officers[1], "bob") != 0)
		DIE("keys");
	company->roles.version = 1;
	company->roles.expires = INT32_MAX;
	roles_add_key(&company->roles, ROLE_ROOT, &company->root.public_half, "root");
	roles_add_key(&company->roles, ROLE_SERVER, &company->server.public_half, "server");
	roles_add_key(&company->roles, ROLE_POLICY, &company->policy.public_half, "policy");
	roles_add_key(&company->roles, ROLE_IMAGES, &company->policy.public_half, "policy");
	roles_add_key(&company->roles, ROLE_DESTRUCTION, &company->officers[0].public_half, "ann");
	roles_add_key(&company->roles, ROLE_DESTRUCTION, &company->officers[1].public_half, "bob");
	for (int role = 0; role < ROLE_COUNT; role++)
		company->roles.roles[role].threshold = role == ROLE_DESTRUCTION ? 2 : 1;
	if (roles_write(&company->roles, &payload) != 0)
		DIE("roles");
	company->roles_text = company_sign(DSSE_TYPE_ROLES, payload, &root, 1);
	free(payload);
}

void company_release(struct company *company)
{
	free(company->roles_text);
}

char *company_lease(const struct company *company, uint64_t serial, int64_t issued,
		    int64_t not_after, uint64_t powered_seconds, uint64_t starts)
{
	const struct lease lease = {.device = FIXTURE_DEVICE,
				    .serial = serial,
				    .issued = issued,
				    .not_after = not_after,
				    .powered_seconds = powered_seconds,
				    .starts = starts};
	const struct signing_key *key = &company->server;
	char *payload, *text;

	if (lease_write(&lease, &payload) != 0)
		DIE("lease");
	text = company_sign(DSSE_TYPE_LEASE, payload, &key, 1);
	free(payload);
	return text;
}

char *company_state(const struct company *company, uint64_t serial, int64_t issued,
		    enum state_status status)
{
	struct state *state = calloc(1, sizeof(*state));
	const struct signing_key *key = &company->server;
	char *payload, *text;

	snprintf(state->device, sizeof(state->device), "%s", FIXTURE_DEVICE);
	snprintf(state->ring, sizeof(state->ring), "deployed");
	state->serial = serial;
	state->issued = issued;
	state->expires = issued + 86400;
	state->status = status;
	state->roles = 1;
	if (state_write(state, &payload) != 0)
		DIE("state");
	text = company_sign(DSSE_TYPE_STATE, payload, &key, 1);
	free(payload);
	free(state);
	return text;
}

char *company_order(const struct company *company, const struct order *order, int signers)
{
	const struct signing_key *keys[] = {&company->officers[0], &company->officers[1]};
	char *payload, *text;

	if (order_write(order, &payload) != 0)
		DIE("order");
	text = company_sign(DSSE_TYPE_ORDER, payload, keys, signers);
	free(payload);
	return text;
}
