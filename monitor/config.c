/* SPDX-License-Identifier: MIT */
/*
 * Reads a guest's configuration; see config.h. One table of keys; a key given twice or unknown is an error, so that a
 * typing mistake never starts a machine other than the one meant.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_FILE_MAX 65536u

struct key {
	const char *name;
	size_t text_offset; /**< of a char * field, or SIZE_MAX for keys of their own */
	const char *(*set)(struct config *config, const char *value);
};

static bool parse_size(const char *text, uint64_t *bytes)
{
	unsigned long long number;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno || (*end && end[1]))
		return false;
	switch (*end) {
	case 'G':
		number = number > UINT64_MAX >> 30 ? 0 : number << 30;
		break;
	case 'M':
		number = number > UINT64_MAX >> 20 ? 0 : number << 20;
		break;
	default:
		return false;
	}
	*bytes = number;
	return true;
}

static const char *set_memory(struct config *config, const char *value)
{
	if (config->memory_bytes)
		return "is given twice";
	if (!parse_size(value, &config->memory_bytes) || config->memory_bytes < 64ull << 20 ||
	    config->memory_bytes > 64ull << 30 || config->memory_bytes % (2ull << 20))
		return "must be an even number of MiB between 64M and 64G, such as 512M or 2G";
	return NULL;
}

static const char *set_processors(struct config *config, const char *value)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	if (config->processors)
		return "is given twice";
	if (*end || number < 1 || number > CONFIG_PROCESSORS_MAX)
		return "must be a number from 1 to 16";
	config->processors = (unsigned int)number;
	return NULL;
}

static const char *set_disk(struct config *config, const char *value)
{
	if (config->disk_count == CONFIG_DISKS_MAX)
		return "is given more than 8 times";
	config->disks[config->disk_count].socket = strdup(value);
	if (!config->disks[config->disk_count++].socket)
		return "does not fit in memory";
	return NULL;
}

static const char *set_flag(bool *flag, const char *value, const char *meaning)
{
	if (strcmp(value, "yes") && strcmp(value, "no"))
		return "must be yes or no";
	*flag = !strcmp(value, meaning);
	return NULL;
}

static const char *set_protected(struct config *config, const char *value)
{
	return set_flag(&config->unprotected, value, "no");
}

static const char *set_balloon(struct config *config, const char *value)
{
	return set_flag(&config->balloon, value, "yes");
}

static const char *set_mac(struct config *config, const char *value)
{
	unsigned int bytes[6];
	int end = 0;

	if (config->mac_given)
		return "is given twice";
	if (sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4], &bytes[5],
		   &end) != 6 || value[end] || bytes[0] & 1)
		return "must be an address of one station, such as 52:54:00:12:34:56";
	for (unsigned int i = 0; i < 6; i++)
		config->mac[i] = (uint8_t)bytes[i];
	config->mac_given = true;
	return NULL;
}

#define TEXT(field) offsetof(struct config, field), NULL
static const struct key keys[] = {
	{ "name", TEXT(name) },
	{ "memory", SIZE_MAX, set_memory },
	{ "processors", SIZE_MAX, set_processors },
	{ "kernel", TEXT(kernel) },
	{ "initrd", TEXT(initrd) },
	{ "command-line", TEXT(command_line) },
	{ "firmware", TEXT(firmware) },
	{ "console", TEXT(console) },
	{ "control", TEXT(control) },
	{ "disk", SIZE_MAX, set_disk },
	{ "network", TEXT(network) },
	{ "mac", SIZE_MAX, set_mac },
	{ "entropy", TEXT(entropy) },
	{ "virtio-console", TEXT(virtio_console) },
	{ "guest-agent", TEXT(guest_agent) },
	{ "balloon", SIZE_MAX, set_balloon },
	{ "protected", SIZE_MAX, set_protected },
	{ "descriptor", TEXT(descriptor) },
	{ "descriptor-key", TEXT(descriptor_key) },
};

static char *trim(char *text)
{
	char *end = text + strlen(text);

	while (isspace((unsigned char)*text))
		text++;
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = 0;
	return text;
}

/** Applies one line. Returns NULL, or what is wrong; sets @name to the key. */
static const char *apply(struct config *config, char *line, const char **name)
{
	char *equals = strchr(line, '=');

	*name = line;
	if (!equals)
		return "is no \"key = value\" line";
	*equals = 0;
	*name = trim(line);
	line = trim(equals + 1);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char **field;

		if (strcmp(keys[i].name, *name))
			continue;
		if (!*line)
			return "has no value";
		if (keys[i].set)
			return keys[i].set(config, line);
		field = (char **)((char *)config + keys[i].text_offset);
		if (*field)
			return "is given twice";
		*field = strdup(line);
		return *field ? NULL : "does not fit in memory";
	}
	return "is not a key; monitor --help lists them";
}

static unsigned int device_count(const struct config *config)
{
	return config->disk_count + !!config->network + !!config->entropy + !!config->virtio_console + !!config->guest_agent +
	       config->balloon;
}

/** What of a configuration contradicts itself or is missing, as a line with the remedy; NULL: nothing. */
static const char *find_fault(const struct config *config)
{
	if (!config->name)
		return "name is missing; add a line \"name = ...\"";
	if (!config->memory_bytes)
		return "memory is missing; add a line \"memory = ...\"";
	if (!config->kernel == !config->firmware)
		return config->kernel ? "kernel and firmware are both given; take one of them out" :
					"kernel is missing, and firmware; add a line \"kernel = ...\" or \"firmware = ...\"";
	if (config->firmware && (config->initrd || config->command_line))
		return "initrd and command-line go with kernel; take them out, the disk of a guest with firmware holds its own";
	if (!config->network != !config->mac_given)
		return "network and mac are given together, or not at all";
	if (!config->descriptor != !config->descriptor_key)
		return "descriptor and descriptor-key are given together, or not at all";
	if (config->balloon && config->unprotected)
		return "only a protected guest has a balloon; take \"balloon\" out";
	if (device_count(config) > CONFIG_DEVICES_MAX)
		return "more than 8 devices; take a disk out";
	return NULL;
}

bool config_parse(struct config *config, const char *text, const char *file, char *error, size_t error_bytes)
{
	char *copy = strdup(text), *rest = copy, *line;
	const char *name, *wrong = NULL;
	int number = 0;

	*config = (struct config){ 0 };
	while (copy && !wrong && (line = strsep(&rest, "\n"))) {
		number++;
		line = trim(line);
		if (!*line || *line == '#')
			continue;
		wrong = apply(config, line, &name);
		if (wrong)
			snprintf(error, error_bytes, "%s:%d: %s %s", file, number, name, wrong);
	}
	free(copy);
	if (wrong)
		return false;
	wrong = find_fault(config);
	if (wrong) {
		snprintf(error, error_bytes, "%s: %s", file, wrong);
		return false;
	}
	if (!config->processors)
		config->processors = 1;
	return true;
}

bool config_load(struct config *config, const char *path, char *error, size_t error_bytes)
{
	char *text = calloc(1, CONFIG_FILE_MAX + 1);
	FILE *file = fopen(path, "re");
	bool good = false;

	*config = (struct config){ 0 };
	if (!text || !file)
		snprintf(error, error_bytes, "%s: %s", path, strerror(errno));
	else if (fread(text, 1, CONFIG_FILE_MAX + 1, file) > CONFIG_FILE_MAX)
		snprintf(error, error_bytes, "%s: longer than 64 KiB; this is no guest configuration", path);
	else if (ferror(file))
		snprintf(error, error_bytes, "%s: %s", path, strerror(errno));
	else
		good = config_parse(config, text, path, error, error_bytes);
	if (file)
		fclose(file);
	free(text);
	return good;
}

void config_free(struct config *config)
{
	free(config->name);
	free(config->kernel);
	free(config->initrd);
	free(config->command_line);
	free(config->firmware);
	free(config->console);
	free(config->control);
	free(config->network);
	free(config->entropy);
	free(config->virtio_console);
	free(config->guest_agent);
	free(config->descriptor);
	free(config->descriptor_key);
	for (unsigned int i = 0; i < config->disk_count; i++)
		free(config->disks[i].socket);
	*config = (struct config){ 0 };
}
