/* The monitor's files: see agent_machine.h. */
#include "agent_machine.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_disks.h"
#include "durable_file.h"
#include "store/manifest.h"
#include "trust/guest_config.h"

#define MANIFEST_MAX_BYTES (64u << 20)

struct descriptor_text {
	char text[DESCRIPTOR_TEXT_MAX];
	size_t bytes;
	struct descriptor read;
	struct public_key key; /* of the role images; it signed */
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

int agent_machine_write(struct agent *agent, const struct agent_running *running,
			struct agent_machine *machine, char error[AGENT_ERROR_MAX])
{
	char descriptor_file[AGENT_PATH_MAX], key_file[AGENT_PATH_MAX], key[66];
	struct descriptor_text descriptor;
	int result = find_descriptor(agent, running, &descriptor, error);

	if (result != 0)
		return result;
	sodium_bin2hex(key, sizeof(key), descriptor.key.bytes, sizeof(descriptor.key.bytes));
	strcat(key, "\n");
	result = write_file(running, "descriptor", descriptor.text, descriptor_file);
	if (result == 0)
		result = write_file(running, "descriptor.key", key, key_file);
	if (result == 0)
		result = write_config(agent, running, &descriptor.read, descriptor_file, key_file,
				      machine);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX,
			 "%s: its monitor's configuration cannot be written (%s, \"machine\": %.100s)",
			 running->name, strerror(-result), agent->config.machine);
	return result;
}
