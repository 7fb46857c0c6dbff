/*
 * What the command table says to people and shells: overview, a command's help, man pages, completions.
 */
#ifndef BULKHEAD_CLI_HELP_H
#define BULKHEAD_CLI_HELP_H

#include "command.h"

#include <stdio.h>

/** Prints every command under its group's heading. */
void help_overview(FILE *out);

/** Prints one command's help: usage, description, options, example. */
void help_command(FILE *out, const struct cli_command *command);

/**
 * Answers a command line that names no command: lists the commands that start with its words ("bulkhead image"),
 * or says that there are none and what comes nearest. Returns CLI_USAGE.
 */
int help_prefix(int argc, char **argv);

/** Writes the man page bulkhead(1) in man(7) form. */
void help_man_page(FILE *out);

/** Writes a completion script for @shell ("bash", "zsh" or "fish"). Returns false for any other shell. */
bool help_completion(FILE *out, const char *shell);

/** The commands of this file's subject: "completion", "man". */
extern const struct cli_command help_commands[];

#endif
