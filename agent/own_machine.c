/* Descriptors of the person's own guests: see own_machine.h. */
#include "own_machine.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_keys.h"
#include "durable_file.h"
#include "measure.h"
#include "trust/guest_config.h"
#include "trust/strict_json.h"

#define FILE_NAME "descriptor"

const struct descriptor own_machine_usual = {
    .memory_mib = 2048, .processors = 2, .has_network = true, .has_guest_agent = true};

/** Takes one thing that a guest has or has not. Returns whether what is said of it, if anything, is a truth value. */
static bool settle_one(const json_t *settings, const char *name, bool *has)
{
	const json_t *value = json_object_get(settings, name);

	if (value && !json_is_boolean(value))
		return false;
	if (value)
		*has = json_is_true(value);
	return true;
}

int own_machine_settle(struct personal *personal, const json_t *settings, struct descriptor *machine)
{
	int64_t number;

	if (json_object_get(settings, "memory_mib")) {
		if (strict_json_integer(settings, "memory_mib", DESCRIPTOR_MEMORY_MIB_LEAST,
					DESCRIPTOR_MEMORY_MIB_MOST, &number) != 0 ||
		    number % 2 != 0)
			return personal_complain(personal, -EINVAL, "its memory is an even number of MiB from 64 to 65536");
		machine->memory_mib = (uint32_t)number;
	}
	if (json_object_get(settings, "processors")) {
		if (strict_json_integer(settings, "processors", 1, DESCRIPTOR_PROCESSORS_MOST, &number) != 0)
			return personal_complain(personal, -EINVAL, "it has 1 to 16 processors");
		machine->processors = (uint32_t)number;
	}
	if (!settle_one(settings, "network", &machine->has_network))
		return personal_complain(personal, -EINVAL, "it has a network card or has none");
	if (!settle_one(settings, "guest_agent", &machine->has_guest_agent))
		return personal_complain(personal, -EINVAL, "it has a port for its guest agent or has none");
	return 0;
}

json_t *own_machine_settings(const struct descriptor *machine)
{
	return json_pack("{s:i, s:i, s:b, s:b}", "memory_mib", (int)machine->memory_mib, "processors",
			 (int)machine->processors, "network", machine->has_network, "guest_agent",
			 machine->has_guest_agent);
}

/** The guest's key for signing, made of 32 bytes that the vault keeps. */
static int take_key(struct agent *agent, const char *guest, struct signing_key *key, char error[AGENT_ERROR_MAX])
{
	char name[2 * AGENT_NAME_MAX], why[256] = "its key is missing; describe it anew: d in the console, or bulkhead guest describe";
	unsigned char seed[crypto_sign_SEEDBYTES];
	struct agent_blob blob;
	int result;

	memset(key, 0, sizeof(*key));
	snprintf(name, sizeof(name), "%s/%s", guest, OWN_MACHINE_KEY);
	result = agent_database_key_get(agent->database, name, &blob);
	if (result == 0)
		result = agent_keys_release(agent->config.keyd, name, &blob, false, NULL, seed, why);
	if (result == 0)
		crypto_sign_seed_keypair(key->public_half.bytes, key->secret, seed);
	else
		snprintf(error, AGENT_ERROR_MAX, "%s: %s", guest, why);
	sodium_memzero(seed, sizeof(seed));
	return result;
}

static int sign(struct personal *personal, const char *directory, const struct descriptor *machine)
{
	char path[AGENT_PATH_MAX], text[DESCRIPTOR_TEXT_MAX];
	struct signing_key key;
	int result = take_key(personal->agent, personal->guest, &key, personal->error);

	if (result != 0)
		return result;
	result = descriptor_sign(machine, &key, text);
	signing_key_forget(&key);
	if (result == 0 && snprintf(path, sizeof(path), "%s/" FILE_NAME, directory) >= (int)sizeof(path))
		result = -ENAMETOOLONG;
	if (result == 0)
		result = durable_file_write(path, text, strlen(text), 0600);
	return result == 0 ? 0 : personal_complain(personal, result, strerror(-result));
}

int own_machine_describe(struct personal *personal, const char *directory, struct descriptor machine)
{
	const struct agent_config *config = &personal->agent->config;
	unsigned char *platform = NULL;
	char error[MEASURE_ERROR_MAX];
	size_t size;
	int result;

	if (!config->machine[0])
		return 0;
	result = durable_file_read(config->machine, GUEST_CONFIG_PLATFORM_MAX, &platform, &size);
	if (result != 0)
		return personal_complain(personal, result, "this PC's lines that every guest begins with cannot be read");
	result = measure_guest(config->monitor.words[0], (const char *)platform, &machine, error);
	free(platform);
	return result == 0 ? sign(personal, directory, &machine) : personal_complain(personal, result, error);
}

int own_machine_read(struct agent *agent, const char *guest, char text[DESCRIPTOR_TEXT_MAX],
		     struct descriptor *machine, struct public_key *key, char error[AGENT_ERROR_MAX])
{
	char part[2 * AGENT_NAME_MAX], path[AGENT_PATH_MAX];
	unsigned char *bytes = NULL;
	struct signing_key own;
	size_t size = 0;
	int result;

	snprintf(part, sizeof(part), "guests/%s/" FILE_NAME, guest);
	agent_path(agent, part, path);
	result = durable_file_read(path, DESCRIPTOR_TEXT_MAX - 1, &bytes, &size);
	if (result != 0) {
		snprintf(error, AGENT_ERROR_MAX, "%s: it has no descriptor (%s); describe it anew: d in the console, or bulkhead guest describe %s --personal",
			 guest, strerror(-result), guest);
		return result;
	}
	memcpy(text, bytes, size);
	text[size] = '\0';
	free(bytes);
	result = take_key(agent, guest, &own, error);
	if (result != 0)
		return result;
	*key = own.public_half;
	signing_key_forget(&own);
	result = descriptor_verify(text, size, key, machine);
	if (result != 0)
		snprintf(error, AGENT_ERROR_MAX,
			 "%s: its descriptor is not the one that this PC's vault signed; if you changed it, describe it anew: d in the "
			 "console, or bulkhead guest describe %s --personal",
			 guest, guest);
	return result;
}
