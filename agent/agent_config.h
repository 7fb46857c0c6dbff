/**
 * The agent's configuration: one JSON file that the installer writes. Unknown fields are refused,
 * so that a misspelt one is noticed. docs/agent.md shows a whole one.
 */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trust/policy.h"

#define AGENT_COMMAND_WORDS_MAX 96
#define AGENT_PATH_MAX		512

/** A program to run, with %{...} to fill in. */
struct agent_command {
	int count;
	char *words[AGENT_COMMAND_WORDS_MAX];
};

struct agent_config {
	char data[AGENT_PATH_MAX];    /* the agent's own files */
	char keyd[AGENT_PATH_MAX];    /* socket of the vault */
	char control[AGENT_PATH_MAX]; /* socket for the command */
	uint64_t poll_seconds;
	char packs_ca[AGENT_PATH_MAX]; /* authority of the packs' cache; empty: what the system trusts */
	uint64_t bandwidth_bytes;     /* a second, 0: no limit; policy may be lower */
	uint64_t quota_bytes;	      /* for the company's guests, 0: what the disk has */
	bool personal;		      /* the user's own agent: no server, no enrolment */
	/* what %{network} becomes where policy gives a guest that network */
	char networks[POLICY_NETWORKS][AGENT_PATH_MAX];
	/* lines that a protected guest's configuration begins with: its firmware; empty: guests are run by
	 * some other monitor */
	char machine[AGENT_PATH_MAX];
	char backends[AGENT_PATH_MAX]; /* folder of the programs that serve a protected guest's card and port */
	struct agent_command monitor; /* runs a guest; ends when the guest does */
	struct agent_command disk;    /* serves one disk on a socket */
};

/**
 * Reads a configuration's text. Returns 0, or -EBADMSG with one line in `error`. Release with
 * agent_config_release().
 */
int agent_config_parse(const char *text, size_t text_bytes, struct agent_config *config,
		       char *error, size_t error_size);

/** Reads the file. Returns 0 or negative errno with one line in `error`. */
int agent_config_load(const char *path, struct agent_config *config, char *error,
		      size_t error_size);

void agent_config_release(struct agent_config *config);

/** One %{name} and what it becomes. A list ends with a row whose name is NULL. */
struct agent_value {
	const char *name;
	const char *text;
};

/**
 * Fills a command's words in. A word that names an absent or empty value and ends in '?'
 * ("-drive=%{user}?") is left out. Returns a NULL-terminated array, to be freed with
 * agent_config_free_words(), or NULL with errno EINVAL (a name that is not among the values) or
 * ENOMEM.
 */
char **agent_config_fill(const struct agent_command *command, const struct agent_value *values);

void agent_config_free_words(char **words);

#endif
