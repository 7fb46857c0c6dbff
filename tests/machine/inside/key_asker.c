/* SPDX-License-Identifier: MIT */
/*
 * key_asker ASKING-VAULT OTHER-VAULT: plays the agent of a PC whose company has described one guest. Has monitors seal that
 * guest and others that differ from it in one thing each, shows each to a vault that asks the hypervisor what guests
 * measure as, and asks for the keys of a start; then the same of a vault that does not ask, which is the control. Prints a
 * line for each; status 0 if the first vault gave keys to the described guest alone, and the second to all.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "handover.h"
#include "keyd_client.h"
#include "trust/descriptor.h"

#define CONFIG "/tmp/asked.conf"

static const char described[] = "name = work\nmemory = 128M\nprocessors = 1\nprotected = yes\n"
				"kernel = /guest/vmlinuz\ninitrd = /guest/initrd\ncommand-line = quiet\n"
				"disk = /nowhere/system\ndisk = /nowhere/user\n";

/* What is different in a guest: text of the configuration, and what stands there instead. */
static const struct guest {
	const char *what, *text, *instead;
	bool is_described;
} guests[] = {
	{ "the described guest", "quiet", "quiet", true },
	{ "one byte of what its kernel is told", "quiet", "quieT", false },
	{ "another initrd", "/guest/initrd", "/guest/vmlinuz", false },
	{ "more memory", "128M", "130M", false },
	{ "one more processor", "processors = 1", "processors = 2", false },
	{ "one more disk", "disk = /nowhere/user", "disk = /nowhere/user\ndisk = /nowhere/third", false },
	{ "memory that others can read", "protected = yes", "protected = no", false },
};

struct key {
	unsigned char blob[128];
	size_t size_bytes;
};

static struct company company;
static char descriptor[DESCRIPTOR_TEXT_MAX];

static void die(const char *what)
{
	printf("key_asker: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int call(const char *vault, struct keyd_writer *call, int guest, struct keyd_answer *answer)
{
	int result = keyd_client_call(vault, call, guest, answer);

	if (result != 0)
		printf("    %s\n", answer->error);
	return result;
}

static void write_config(const struct guest *guest)
{
	const char *at = strstr(described, guest->text);
	FILE *file = fopen(CONFIG, "w");

	if (!file || !at)
		die(CONFIG);
	fprintf(file, "%.*s%s%s", (int)(at - described), described, guest->instead, at + strlen(guest->text));
	fclose(file);
}

/** Signs what the monitor says that the guest will measure as. */
static void describe(const struct guest *guest)
{
	struct descriptor machine = { .memory_mib = 128, .processors = 1 };
	char hex[2 * DESCRIPTOR_MEASUREMENT_BYTES + 2] = "";
	size_t size = 0;
	FILE *monitor;

	write_config(guest);
	monitor = popen("monitor --measure " CONFIG, "r");
	if (!monitor || !fgets(hex, sizeof(hex), monitor) || pclose(monitor) != 0 ||
	    sodium_hex2bin(machine.measurement, sizeof(machine.measurement), hex, sizeof(hex) - 2, NULL, &size, NULL) != 0 ||
	    size != sizeof(machine.measurement) || descriptor_sign(&machine, &company.policy, descriptor) != 0)
		die("measuring the described guest");
}

/** Enrols a vault with the company, and has it make the key that a start takes. */
static void enrol(const char *vault, struct key *key)
{
	static struct keyd_writer request;
	static struct keyd_answer answer;
	int64_t now = (int64_t)time(NULL);
	char *lease = company_lease(&company, 1, now, now + 86400, 86400, 1000);

	keyd_wire_begin(&request, KEYD_LEASE, 0);
	keyd_wire_add_text(&request, KEYD_TAG_ROOT, company.roles_text);
	keyd_wire_add_text(&request, KEYD_TAG_OWNER, "acme");
	keyd_wire_add_text(&request, KEYD_TAG_DEVICE, FIXTURE_DEVICE);
	keyd_wire_add_text(&request, KEYD_TAG_LEASE, lease);
	if (call(vault, &request, -1, &answer) != 0)
		die(vault);
	free(lease);
	keyd_wire_begin(&request, KEYD_SEAL, 0);
	keyd_wire_add_text(&request, KEYD_TAG_NAME, "work/identity");
	keyd_wire_add(&request, KEYD_TAG_FLAGS, &(uint32_t){ KEYD_SEAL_FOR_GUEST }, sizeof(uint32_t));
	if (call(vault, &request, -1, &answer) != 0 || answer.message.field[KEYD_TAG_BLOB].size_bytes > sizeof(key->blob))
		die(vault);
	key->size_bytes = answer.message.field[KEYD_TAG_BLOB].size_bytes;
	memcpy(key->blob, answer.message.field[KEYD_TAG_BLOB].bytes, key->size_bytes);
}

static bool gives_key(const char *vault, const struct key *key, int guest)
{
	static struct keyd_writer request;
	static struct keyd_answer answer;

	keyd_wire_begin(&request, KEYD_RELEASE, 0);
	keyd_wire_add_text(&request, KEYD_TAG_NAME, "work/identity");
	keyd_wire_add(&request, KEYD_TAG_BLOB, key->blob, key->size_bytes);
	keyd_wire_add(&request, KEYD_TAG_FLAGS, &(uint32_t){ KEYD_RELEASE_START }, sizeof(uint32_t));
	keyd_wire_add_text(&request, KEYD_TAG_DESCRIPTOR, descriptor);
	return call(vault, &request, guest, &answer) == 0 && answer.message.field[KEYD_TAG_KEY].size_bytes == 32;
}

/** Has a monitor seal the guest; returns its file. The monitor waits for as long as `*ours` is open. */
static int seal(const struct guest *guest, int *ours)
{
	int theirs, file;
	pid_t child;

	write_config(guest);
	if (handover_make(ours, &theirs) != 0)
		die("sockets");
	child = fork();
	if (child == 0) {
		dup2(theirs, 3);
		execlp("monitor", "monitor", "--handover", HANDOVER_FILE, CONFIG, NULL);
		_exit(127);
	}
	close(theirs);
	if (handover_wait(*ours, &file) != 0 || file < 0)
		die(guest->what);
	return file;
}

int main(int argc, char **argv)
{
	const char *const vaults[] = { argv[1], argv[2] };
	struct key keys[2];
	bool good = true;

	if (argc != 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	company_make(&company);
	describe(&guests[0]);
	for (int i = 0; i < 2; i++)
		enrol(vaults[i], &keys[i]);
	for (size_t i = 0; i < sizeof(guests) / sizeof(guests[0]); i++) {
		int ours, guest = seal(&guests[i], &ours);
		bool asked = gives_key(vaults[0], &keys[0], guest), other = gives_key(vaults[1], &keys[1], guest);

		printf("%s: %s, control: %s\n", guests[i].what, asked ? "keys" : "no keys", other ? "keys" : "no keys");
		good = good && asked == guests[i].is_described && other;
		close(guest);
		close(ours);
		wait(NULL);
	}
	/* Nothing of the kind that could be measured. */
	if (gives_key(vaults[0], &keys[0], -1) || gives_key(vaults[0], &keys[0], STDIN_FILENO)) {
		printf("keys without a guest\n");
		good = false;
	}
	company_release(&company);
	return good ? 0 : 1;
}
