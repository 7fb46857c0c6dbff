/* The agent's configuration: see agent_config.h. */
#include "agent_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "durable_file.h"
#include "handover.h"
#include "trust/strict_json.h"

#define FILE_MAX_BYTES 65536

static const char *const fields[] = {
    "data",	   "keyd",     "control", "poll_seconds", "bandwidth_bytes",
    "quota_bytes", "personal", "monitor", "disk",	  "networks", "packs_ca", "machine",
    "backends",	   NULL};

/* What serves a disk where the configuration names nothing else. */
static const char *const usual_disk[] = {BLK_PROGRAM,
					 "--socket=%{socket}",
					 "--control=%{control}",
					 "--state=%{state}",
					 "--key=%{key}",
					 "--serial=%{kind}",
					 "--store=%{store}?",
					 "--domain-key=%{domain_key}?",
					 "--version=%{version}?",
					 "--feed=%{feed}?",
					 "--trace=%{trace}?",
					 "--record=%{record}?",
					 "--layer=%{layer}?",
					 "--size=%{size}?"};

/* What runs a guest where "machine" is given and no "monitor". */
static const char *const usual_monitor[] = {MONITOR_PROGRAM, "--handover", HANDOVER_FILE, "%{machine}"};

static int wrong(char *error, size_t error_size, const char *field, const char *what)
{
	snprintf(error, error_size, "\"%s\": %s", field, what);
	return -EBADMSG;
}

static int read_path(const json_t *root, const char *field, const char *initial,
		     char path[AGENT_PATH_MAX])
{
	if (!json_object_get(root, field)) {
		snprintf(path, AGENT_PATH_MAX, "%s", initial);
		return 0;
	}
	return strict_json_string(root, field, path, AGENT_PATH_MAX) == 0 && path[0] == '/'
		   ? 0
		   : -EBADMSG;
}

static int read_number(const json_t *root, const char *field, int64_t least, int64_t initial,
		       uint64_t *number)
{
	int64_t value = initial;

	if (json_object_get(root, field) &&
	    strict_json_integer(root, field, least, INT64_MAX, &value) != 0)
		return -EBADMSG;
	*number = (uint64_t)value;
	return 0;
}

/** Reads a command's words; @usual ones where there are none. */
static int read_command(const json_t *root, const char *field, const char *const *usual,
			size_t usual_count, struct agent_command *command)
{
	const json_t *list = json_object_get(root, field);
	json_t *word;
	size_t i;

	for (i = 0; !list && i < usual_count; i++) {
		command->words[command->count] = strdup(usual[i]);
		if (!command->words[command->count++])
			return -ENOMEM;
	}
	if (!list)
		return 0;
	if (!json_is_array(list) || json_array_size(list) == 0 ||
	    json_array_size(list) > AGENT_COMMAND_WORDS_MAX)
		return -EBADMSG;
	json_array_foreach((json_t *)list, i, word)
	{
		if (!json_is_string(word))
			return -EBADMSG;
		command->words[command->count] = strdup(json_string_value(word));
		if (!command->words[command->count++])
			return -ENOMEM;
	}
	return 0;
}

/** Reads {"open": TEXT, "company": TEXT, "none": TEXT}, each of which may be absent. */
static int read_networks(const json_t *root, char networks[POLICY_NETWORKS][AGENT_PATH_MAX])
{
	const struct policy_field_rule *rule = &policy_field_rules[POLICY_NETWORK];
	const json_t *object = json_object_get(root, "networks");

	snprintf(networks[POLICY_NETWORK_OPEN], AGENT_PATH_MAX, "%s", rule->words[POLICY_NETWORK_OPEN]);
	if (object && (!json_is_object(object) || !strict_json_only_keys(object, rule->words)))
		return -EBADMSG;
	for (int i = 0; i < POLICY_NETWORKS; i++)
		if (json_object_get(object, rule->words[i]) &&
		    strict_json_string(object, rule->words[i], networks[i], AGENT_PATH_MAX) != 0)
			return -EBADMSG;
	return 0;
}

int agent_config_parse(const char *text, size_t text_bytes, struct agent_config *config,
		       char *error, size_t error_size)
{
	json_t *root = NULL;
	int result = 0;

	memset(config, 0, sizeof(*config));
	if (strict_json_parse(text, text_bytes, FILE_MAX_BYTES, &root) != 0)
		return wrong(error, error_size, "configuration",
			     "is not one JSON object without duplicate keys");
	config->personal = json_is_true(json_object_get(root, "personal"));
	if (!strict_json_only_keys(root, fields))
		result = wrong(error, error_size, "configuration",
			       "has a field that does not exist; see docs/agent.md");
	else if (json_object_get(root, "personal") &&
		 !json_is_boolean(json_object_get(root, "personal")))
		result = wrong(error, error_size, "personal", "is true or false");
	else if (read_path(root, "data", "/var/lib/bulkhead", config->data) != 0)
		result = wrong(error, error_size, "data", "is no absolute path");
	else if (read_path(root, "keyd", "/run/bulkhead/keyd", config->keyd) != 0)
		result = wrong(error, error_size, "keyd", "is no absolute path");
	else if (read_path(root, "control", "/run/bulkhead/agent", config->control) != 0)
		result = wrong(error, error_size, "control", "is no absolute path");
	else if (read_path(root, "packs_ca", "", config->packs_ca) != 0)
		result = wrong(error, error_size, "packs_ca", "is no absolute path");
	else if (read_number(root, "poll_seconds", 1, 300, &config->poll_seconds) != 0)
		result = wrong(error, error_size, "poll_seconds", "is no number above 0");
	else if (read_number(root, "bandwidth_bytes", 0, 0, &config->bandwidth_bytes) != 0)
		result = wrong(error, error_size, "bandwidth_bytes", "is no number");
	else if (read_number(root, "quota_bytes", 0, 0, &config->quota_bytes) != 0)
		result = wrong(error, error_size, "quota_bytes", "is no number");
	else if (read_networks(root, config->networks) != 0)
		result = wrong(error, error_size, "networks",
			       "is an object of texts for \"open\", \"company\", \"none\"");
	else if (read_path(root, "machine", "", config->machine) != 0)
		result = wrong(error, error_size, "machine", "is no absolute path");
	else if (read_path(root, "backends", BACKENDS_FOLDER, config->backends) != 0)
		result = wrong(error, error_size, "backends", "is no absolute path");
	else if (read_command(root, "monitor", usual_monitor,
			      config->machine[0] ? sizeof(usual_monitor) / sizeof(usual_monitor[0]) : 0,
			      &config->monitor) != 0)
		result = wrong(error, error_size, "monitor", "is no list of words");
	else if (read_command(root, "disk", usual_disk, sizeof(usual_disk) / sizeof(usual_disk[0]),
			      &config->disk) != 0)
		result = wrong(error, error_size, "disk", "is no list of words");
	json_decref(root);
	if (result != 0)
		agent_config_release(config);
	return result;
}

int agent_config_load(const char *path, struct agent_config *config, char *error, size_t error_size)
{
	unsigned char *text;
	char why[160];
	size_t size;
	int result = durable_file_read(path, FILE_MAX_BYTES, &text, &size);

	if (result != 0) {
		snprintf(error, error_size, "%s: %s", path, strerror(-result));
		return result;
	}
	result = agent_config_parse((const char *)text, size, config, why, sizeof(why));
	if (result != 0)
		snprintf(error, error_size, "%s: %s", path, why);
	free(text);
	return result;
}

void agent_config_release(struct agent_config *config)
{
	for (int i = 0; i < config->monitor.count; i++)
		free(config->monitor.words[i]);
	for (int i = 0; i < config->disk.count; i++)
		free(config->disk.words[i]);
	config->monitor.count = config->disk.count = 0;
}

static const char *find(const struct agent_value *values, const char *name, size_t length)
{
	for (; values->name; values++)
		if (strlen(values->name) == length && memcmp(values->name, name, length) == 0)
			return values->text ? values->text : "";
	return NULL;
}

/** Fills one word in. `*left_out`: it named an empty value and may go. */
static char *fill_word(const char *word, const struct agent_value *values, bool *left_out)
{
	size_t length = strlen(word), size = 0;
	bool optional = length > 0 && word[length - 1] == '?';
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);

	*left_out = false;
	if (!out)
		return NULL;
	if (optional)
		length--;
	for (size_t i = 0; i < length; i++) {
		const char *end =
		    word[i] == '%' && word[i + 1] == '{' ? strchr(word + i, '}') : NULL;
		const char *value;

		if (!end) {
			fputc(word[i], out);
			continue;
		}
		value = find(values, word + i + 2, (size_t)(end - word) - i - 2);
		if (!value) {
			fclose(out);
			free(text);
			errno = EINVAL;
			return NULL;
		}
		*left_out |= optional && !*value;
		fputs(value, out);
		i = (size_t)(end - word);
	}
	fclose(out);
	return text;
}

char **agent_config_fill(const struct agent_command *command, const struct agent_value *values)
{
	char **words = calloc((size_t)command->count + 1, sizeof(*words));
	int count = 0;

	for (int i = 0; words && i < command->count; i++) {
		bool left_out;
		char *word = fill_word(command->words[i], values, &left_out);

		if (!word) {
			agent_config_free_words(words);
			return NULL;
		}
		if (left_out)
			free(word);
		else
			words[count++] = word;
	}
	return words;
}

void agent_config_free_words(char **words)
{
	for (char **word = words; word && *word; word++)
		free(*word);
	free(words);
}
