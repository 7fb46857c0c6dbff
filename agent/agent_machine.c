/* The monitor's files: see agent_machine.h. */
#include "agent_machine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent_disks.h"
#include "agent_policy.h"
#include "agent_spawn.h"
#include "durable_file.h"
#include "own_machine.h"
#include "store/manifest.h"
#include "trust/guest_config.h"

#define MANIFEST_MAX_BYTES (64u << 20)
#define NETWORK_STATE	   "/run/systemd/netif/state" /* what systemd-networkd learnt; networkctl(1) shows the same */

struct descriptor_text {
	char text[DESCRIPTOR_TEXT_MAX];
	size_t bytes;
	struct descriptor read;
	struct public_key key; /* it signed: of the role images, or of a person's own guest */
};

static int complain(char error[AGENT_ERROR_MAX], const char *guest, int result, const char *text)
{
	snprintf(error, AGENT_ERROR_MAX, "%s: %s", guest, text);
	return result;
}

/** Which key of the role signed the text. */
static int find_signer(const struct roles_role *role, struct descriptor_text *descriptor)
{
	for (uint8_t i = 0; i < role->key_count; i++)
		if (descriptor_verify(descriptor->text, descriptor->bytes, &role->keys[i],
				      &descriptor->read) == 0) {
			descriptor->key = role->keys[i];
			return 0;
		}
	return -EKEYREJECTED;
}

/** Takes the descriptor out of an envelope that is signed, and is this version's. */
static int open_manifest(const struct roles *roles, const struct dsse_envelope *envelope,
			 const char *version, struct descriptor_text *descriptor)
{
	uint8_t id[crypto_hash_sha256_BYTES];
	struct manifest manifest;
	char hex[AGENT_VERSION_TEXT];
	int result = roles_verify(roles, ROLE_IMAGES, DSSE_TYPE_MANIFEST, envelope);

	if (result != 0)
		return result;
	crypto_hash_sha256(id, envelope->payload, envelope->payload_bytes);
	sodium_bin2hex(hex, sizeof(hex), id, sizeof(id));
	if (strcmp(hex, version) != 0)
		return -EKEYREJECTED;
	result = manifest_read(envelope->payload, envelope->payload_bytes, &manifest);
	if (result != 0)
		return result;
	if (manifest.description_bytes == 0)
		result = -ENOENT;
	else if (manifest.description_bytes >= sizeof(descriptor->text))
		result = -EBADMSG;
	if (result == 0) {
		memcpy(descriptor->text, manifest.description, manifest.description_bytes);
		descriptor->text[manifest.description_bytes] = '\0';
		descriptor->bytes = manifest.description_bytes;
		result = find_signer(&roles->roles[ROLE_IMAGES], descriptor);
	}
	manifest_release(&manifest);
	return result;
}

static int find_descriptor(struct agent *agent, const struct agent_running *running,
			   struct descriptor_text *descriptor, char error[AGENT_ERROR_MAX])
{
	char path[AGENT_PATH_MAX], version[AGENT_VERSION_TEXT];
	struct dsse_envelope envelope;
	unsigned char *text;
	size_t size;
	int result;

	agent_disks_release_path(agent, running->name, running->release, "manifest", path);
	if (!agent_disks_ready(agent, running->name, running->release, version))
		return complain(error, running->name, -EAGAIN, "its release has not arrived yet");
	result = durable_file_read(path, MANIFEST_MAX_BYTES, &text, &size);
	if (result != 0)
		return complain(error, running->name, result, "its manifest cannot be read");
	result = dsse_parse((const char *)text, size, &envelope);
	free(text);
	if (result == 0) {
		result = open_manifest(&agent->memory.roles, &envelope, version, descriptor);
		dsse_release(&envelope);
	}
	if (result == -ENOENT)
		return complain(error, running->name, result,
				"its release has no descriptor, so it cannot run protected; publish it "
				"with --descriptor (bulkhead image describe)");
	if (result != 0)
		return complain(error, running->name, result,
				"its release's manifest or descriptor is not signed by the company's keys for "
				"images");
	return 0;
}

static int path_in(const struct agent_running *running, const char *name, char path[AGENT_PATH_MAX])
{
	return snprintf(path, AGENT_PATH_MAX, "%s/%s", running->directory, name) < AGENT_PATH_MAX
		   ? 0
		   : -ENAMETOOLONG;
}

/** Writes a file beside the guest's sockets. */
static int write_file(const struct agent_running *running, const char *name, const char *text,
		      char path[AGENT_PATH_MAX])
{
	int result = path_in(running, name, path);

	return result ? result : durable_file_write(path, text, strlen(text), 0600);
}

/** Writes the configuration, with descriptor and key already in their files. */
static int write_config(struct agent *agent, const struct agent_running *running,
			const struct descriptor *descriptor, const char *descriptor_file,
			const char *key_file, struct agent_machine *machine)
{
	char system[AGENT_PATH_MAX], user[AGENT_PATH_MAX], console[AGENT_PATH_MAX],
	    control[AGENT_PATH_MAX];
	struct guest_config config = {.name = running->name,
				      .system = system,
				      .user = user,
				      .config = machine->config_disk,
				      .network = machine->card,
				      .mac = machine->mac,
				      .guest_agent = machine->port,
				      .console = console,
				      .control = control,
				      .descriptor = descriptor_file,
				      .descriptor_key = key_file};
	unsigned char *platform = NULL;
	char *text = NULL;
	size_t size;
	int result = path_in(running, "system", system);

	if (result == 0)
		result = path_in(running, "user", user);
	if (result == 0)
		result = path_in(running, "config", machine->config_disk);
	if (result == 0)
		result = path_in(running, "port", machine->port);
	if (result == 0)
		result = path_in(running, "network", machine->card);
	if (result == 0)
		result = path_in(running, "console", console);
	if (result == 0)
		result = path_in(running, "control", control);
	if (result == 0)
		result = durable_file_read(agent->config.machine, GUEST_CONFIG_PLATFORM_MAX, &platform,
					   &size);
	config.platform = (const char *)platform;
	if (result == 0)
		result = guest_config_write(&config, descriptor, &text);
	if (result == 0)
		result = write_file(running, "machine", text, machine->config);
	free(platform);
	free(text);
	return result;
}

void agent_machine_find_resolver(const char *path, char address[16])
{
	FILE *file = fopen(path, "re");
	char line[1024];

	address[0] = '\0';
	while (file && !address[0] && fgets(line, sizeof(line), file)) {
		struct in_addr value;
		char *rest, *word = strncmp(line, "DNS=", 4) == 0 ? strtok_r(line + 4, " \n", &rest) : NULL;

		while (word && inet_pton(AF_INET, word, &value) != 1)
			word = strtok_r(NULL, " \n", &rest);
		if (word)
			snprintf(address, 16, "%s", word);
	}
	if (file)
		fclose(file);
}

/**
 * Plugs the guest's card into the network that policy gives it: "TAP@A.B" is the tap TAPn, which
 * bulkhead-net-setup made, with the network A.B.n.0/30, for the guest in place n of this agent.
 */
static int plan_card(struct agent *agent, const struct agent_running *running,
		     struct agent_machine *machine, char error[AGENT_ERROR_MAX])
{
	unsigned int place = (unsigned int)(running - agent->running), first, second;
	const char *text;
	char tap[12], more;
	int result = agent_policy_network(agent, running->name, &text, error);

	if (result != 0)
		return result;
	if (sscanf(text, "%11[a-z]@%u.%u%c", tap, &first, &second, &more) != 3 || first > 255 ||
	    second > 255) {
		snprintf(error, AGENT_ERROR_MAX,
			 "%s: it has a network card and this PC no network for it; \"networks\" in agent.json "
			 "says \"%.40s\" and should say TAP@A.B (docs/agent.md)",
			 running->name, text);
		return -ENODEV;
	}
	machine->has_card = true;
	snprintf(machine->tap, sizeof(machine->tap), "%s%u", tap, place);
	snprintf(machine->mac, sizeof(machine->mac), "02:42:48:%02x:%02x:%02x", first, second, place);
	snprintf(machine->address, sizeof(machine->address), "%u.%u.%u.2/30", first, second, place);
	snprintf(machine->gateway, sizeof(machine->gateway), "%u.%u.%u.1", first, second, place);
	agent_machine_find_resolver(NETWORK_STATE, machine->resolver);
	return 0;
}

/** Starts a server at a socket and waits for it; says which one where it does not come. */
static int serve(const struct agent *agent, struct agent_running *running, int server, const char *const words[], int count,
		 const char *socket, const char *what, char error[AGENT_ERROR_MAX])
{
	struct agent_command command = {.count = count};
	char log[AGENT_PATH_MAX + 16];
	int result;

	for (int i = 0; i < count; i++)
		command.words[i] = (char *)words[i];
	snprintf(log, sizeof(log), "%s.log", socket);
	unlink(socket);
	running->servers[server] = agent_spawn(
		&command, (const struct agent_value[]){{"backends", agent->config.backends}, {NULL, NULL}}, log, NULL);
	result = agent_spawn_wait(&running->servers[server], socket);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX, "%s: its %s cannot be served: %s; see %.180s.log",
			 running->name, what, result == -ESRCH ? "the program ended" : strerror(-result),
			 socket);
	return result;
}

static int serve_card(const struct agent *agent, struct agent_running *running, const struct agent_machine *machine,
		      char error[AGENT_ERROR_MAX])
{
	const char *const card[] = {"%{backends}/bulkhead-net", "--socket", machine->card, "--tap", machine->tap, "--mac",
				    machine->mac, "--address", machine->address, "--gateway",
				    machine->gateway, "--resolver", machine->resolver};
	int words = sizeof(card) / sizeof(card[0]);

	return serve(agent, running, AGENT_NETWORK_CARD, card, machine->resolver[0] ? words : words - 2,
		     machine->card, "network card", error);
}

int agent_machine_serve(struct agent *agent, struct agent_running *running,
			const struct agent_machine *machine, const char *config_file,
			char error[AGENT_ERROR_MAX])
{
	char helper[AGENT_PATH_MAX];
	const char *const disk[] = {agent->config.disk.words[0], "--socket", machine->config_disk,
				    "--file", config_file, "--serial", "config"};
	const char *const port[] = {"%{backends}/bulkhead-console", "--socket", machine->port, "--console", helper,
				    "--port", "org.qemu.guest_agent.0"};
	int result = path_in(running, "guest-agent", helper);

	if (result == 0)
		result = serve(agent, running, AGENT_CONFIG_DISK, disk, sizeof(disk) / sizeof(disk[0]),
			       machine->config_disk, "configuration disk", error);
	if (result == 0 && machine->has_port)
		result = serve(agent, running, AGENT_PORT, port, sizeof(port) / sizeof(port[0]), machine->port,
			       "helper's port", error);
	return result || !machine->has_card ? result : serve_card(agent, running, machine, error);
}

/** Puts the descriptor and the key that signed it beside the guest's sockets, for its monitor to check. */
static int write_descriptor(const struct agent_running *running,
			    const struct descriptor_text *descriptor,
			    char descriptor_file[AGENT_PATH_MAX], char key_file[AGENT_PATH_MAX])
{
	char key[2 * sizeof(descriptor->key.bytes) + 2];
	int result = write_file(running, "descriptor", descriptor->text, descriptor_file);

	sodium_bin2hex(key, sizeof(key), descriptor->key.bytes, sizeof(descriptor->key.bytes));
	strcat(key, "\n");
	return result ? result : write_file(running, "descriptor.key", key, key_file);
}

/** Whose descriptor it is decides where it comes from; what is made of it does not differ. */
static int take_descriptor(struct agent *agent, const struct agent_running *running,
			   struct descriptor_text *descriptor, char error[AGENT_ERROR_MAX])
{
	int result;

	if (!agent->config.personal)
		return find_descriptor(agent, running, descriptor, error);
	result = own_machine_read(agent, running->name, descriptor->text, &descriptor->read, &descriptor->key, error);
	descriptor->bytes = result == 0 ? strlen(descriptor->text) : 0;
	return result;
}

int agent_machine_write(struct agent *agent, const struct agent_running *running,
			struct agent_machine *machine, char error[AGENT_ERROR_MAX])
{
	char descriptor_file[AGENT_PATH_MAX], key_file[AGENT_PATH_MAX];
	struct descriptor_text descriptor;
	int result = take_descriptor(agent, running, &descriptor, error);

	if (result == 0 && descriptor.read.has_network)
		result = plan_card(agent, running, machine, error);
	if (result != 0)
		return result;
	machine->has_port = descriptor.read.has_guest_agent;
	strcpy(machine->descriptor, descriptor.text);
	result = write_descriptor(running, &descriptor, descriptor_file, key_file);
	if (result == 0)
		result = write_config(agent, running, &descriptor.read, descriptor_file, key_file, machine);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX,
			 "%s: its monitor's configuration cannot be written (%s, \"machine\": %.100s)",
			 running->name, strerror(-result), agent->config.machine);
	return result;
}

bool agent_machine_press_power(const struct agent_running *running)
{
	static const char request[] = "{\"command\": \"stop\"}\n";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int connection, length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/control",
					  running->directory);
	bool sent;

	if (length >= (int)sizeof(address.sun_path))
		return false;
	connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	sent = connection >= 0 &&
	       connect(connection, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
	       send(connection, request, sizeof(request) - 1, MSG_NOSIGNAL) ==
		   (ssize_t)sizeof(request) - 1;
	if (connection >= 0)
		close(connection);
	return sent;
}
