/* guest_config.c: see guest_config.h. */
#include "trust/guest_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the platform's lines may say: what boots. */
static const char *const platform_keys[] = {"firmware", "kernel", "initrd", "command-line"};

static bool is_platform_line(const char *line, size_t length)
{
	size_t at = strspn(line, " \t");

	if (at >= length || line[at] == '#')
		return true;
	for (size_t i = 0; i < sizeof(platform_keys) / sizeof(platform_keys[0]); i++) {
		size_t key = strlen(platform_keys[i]);

		if (length - at > key && strncmp(line + at, platform_keys[i], key) == 0 &&
		    strchr(" \t=", line[at + key]))
			return true;
	}
	return false;
}

static bool are_platform_lines(const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		if (!is_platform_line(text, length))
			return false;
		text += length + (text[length] == '\n');
	}
	return true;
}

static void put(FILE *out, const char *key, const char *value, int *result)
{
	if (!value)
		return;
	if (!*value || strchr(value, '\n'))
		*result = -EINVAL;
	else
		fprintf(out, "%s = %s\n", key, value);
}

int guest_config_write(const struct guest_config *config, const struct descriptor *descriptor,
		       char **text)
{
	size_t size;
	FILE *out;
	int result = 0;

	*text = NULL;
	if (!config->name || (config->platform && !are_platform_lines(config->platform)) ||
	    (descriptor->has_network && (!config->network || !config->mac)) ||
	    (descriptor->has_guest_agent && !config->guest_agent))
		return -EINVAL;
	out = open_memstream(text, &size);
	if (!out)
		return -ENOMEM;
	if (config->platform)
		fprintf(out, "%s\n", config->platform);
	put(out, "name", config->name, &result);
	fprintf(out, "memory = %uM\nprocessors = %u\nprotected = yes\n", descriptor->memory_mib,
		descriptor->processors);
	put(out, "disk", config->system, &result);
	put(out, "disk", config->user, &result);
	put(out, "disk", config->config, &result);
	if (descriptor->has_network) {
		put(out, "network", config->network, &result);
		put(out, "mac", config->mac, &result);
	}
	if (descriptor->has_guest_agent)
		put(out, "guest-agent", config->guest_agent, &result);
	put(out, "console", config->console, &result);
	put(out, "control", config->control, &result);
	put(out, "descriptor", config->descriptor, &result);
	put(out, "descriptor-key", config->descriptor_key, &result);
	if (fclose(out) != 0)
		result = -ENOMEM;
	if (result != 0) {
		free(*text);
		*text = NULL;
	}
	return result;
}
