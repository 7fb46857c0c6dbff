/*
 * The command framework: one table row per command, from which parsing, help, man pages and shell completions are
 * all made, so that none of them can say something else than the others.
 *
 * A part adds a file <noun>.c with an array of rows, ended by an empty one, and names the array in commands.c.
 */
#ifndef BULKHEAD_CLI_COMMAND_H
#define BULKHEAD_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Exit statuses that scripts may rely on. */
enum cli_status {
	CLI_OK = 0,
	CLI_FAILED = 1, /**< the command was understood and did not succeed; one line on stderr says why */
	CLI_USAGE = 2,	/**< the command line was wrong; nothing was done */
};

/** One option of a command. The array ends with a row whose name is NULL. */
struct cli_option {
	const char *name;  /**< long name without dashes */
	const char *value; /**< name of the value for help, e.g. "FILE"; NULL for a switch */
	const char *help;  /**< one line: what it does, its default */
	char letter;	   /**< short form, or 0 */
	bool required;	   /**< the command cannot do without it */
};

/** What a running command is given. Opaque; read it through the cli_* functions. */
struct cli_context;

/** One command. The array ends with a row whose name is NULL. */
struct cli_command {
	const char *name;		  /**< "image publish": words separated by one space */
	const char *arguments;		  /**< for help: "DISK [NAME]"; "" for none */
	const char *summary;		  /**< one line, no full stop, imperative: "publish a disk as a version" */
	const char *description;	  /**< paragraphs for --help and the man page; may be NULL */
	const char *example;		  /**< one or more lines to copy; may be NULL */
	const struct cli_option *options; /**< besides --help; may be NULL. --json is an ordinary row */
	int arguments_min, arguments_max; /**< number of positional arguments; max -1: any */
	/** Does the work; returns an enum cli_status. */
	int (*run)(const struct cli_context *context);
};

/** A part's commands and the heading they stand under in the overview. */
struct cli_group {
	const char *title;
	const struct cli_command *commands;
};

/** All groups, in the order of the overview, ended by an empty one (commands.c). */
extern const struct cli_group cli_groups[];

/** The value of an option, or NULL if it was not given. The last one wins. Asserts that the command has it. */
const char *cli_value(const struct cli_context *context, const char *option);

/** Whether a switch was given. Asserts that the command has it. */
bool cli_switch(const struct cli_context *context, const char *option);

/**
 * Every value of an option that may be repeated, in order.
 * @index  0 for the first.
 * Returns NULL after the last.
 */
const char *cli_value_at(const struct cli_context *context, const char *option, size_t index);

/** The positional argument @index (from 0), or NULL if there is none. */
const char *cli_argument(const struct cli_context *context, int index);
int cli_argument_count(const struct cli_context *context);

/**
 * Reads an option as a whole number between @min and @max, with the suffixes K, M, G, T (powers of 1024).
 * Leaves *@result alone if the option was not given. Returns CLI_OK, or CLI_USAGE after saying what is wrong.
 */
int cli_number(const struct cli_context *context, const char *option, uint64_t min, uint64_t max,
	       uint64_t *result);

/**
 * Says on stderr, in one line, what went wrong: "bulkhead image publish: THING: REASON; REMEDY".
 * Returns CLI_FAILED so that a command can end with `return cli_fail(...)`.
 */
int cli_fail(const struct cli_context *context, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** As cli_fail, for a command line that cannot be carried out. Returns CLI_USAGE. */
int cli_usage(const struct cli_context *context, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Parses the command line and runs the command it names. Returns the program's exit status. */
int cli_run(int argc, char **argv);

#endif
