/*
 * Finds the command that a command line names, parses its options by its own table, and runs it.
 *
 * Commands are one to three words ("image publish"); the longest name that matches wins. Options may stand anywhere
 * after the name; "--" ends them. getopt_long is not used: its tables would be a second copy of ours.
 */
#include "command.h"
#include "help.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 3

struct given_option {
	const struct cli_option *option;
	const char *value;
};

struct cli_context {
	const struct cli_command *command;
	struct given_option *given;
	size_t given_count;
	const char **arguments;
	int argument_count;
};

static const struct cli_option *option_of(const struct cli_command *command, const char *name)
{
	for (const struct cli_option *row = command->options; row && row->name; row++)
		if (!strcmp(row->name, name))
			return row;
	return NULL;
}

const char *cli_value_at(const struct cli_context *context, const char *option, size_t index)
{
	const struct cli_option *row = option_of(context->command, option);

	assert(row);
	for (size_t i = 0; i < context->given_count; i++)
		if (context->given[i].option == row && index-- == 0)
			return context->given[i].value;
	return NULL;
}

const char *cli_value(const struct cli_context *context, const char *option)
{
	const char *last = NULL, *value;

	for (size_t i = 0; (value = cli_value_at(context, option, i)); i++)
		last = value;
	return last;
}

bool cli_switch(const struct cli_context *context, const char *option)
{
	return cli_value(context, option) != NULL;
}

const char *cli_argument(const struct cli_context *context, int index)
{
	return index < context->argument_count ? context->arguments[index] : NULL;
}

int cli_argument_count(const struct cli_context *context)
{
	return context->argument_count;
}

static void complain(const struct cli_context *context, const char *format, va_list list)
{
	fprintf(stderr, "bulkhead %s: ", context->command->name);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
}

int cli_fail(const struct cli_context *context, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	complain(context, format, list);
	va_end(list);
	return CLI_FAILED;
}

int cli_usage(const struct cli_context *context, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	complain(context, format, list);
	va_end(list);
	fprintf(stderr, "Try: bulkhead %s --help\n", context->command->name);
	return CLI_USAGE;
}

int cli_number(const struct cli_context *context, const char *option, uint64_t min, uint64_t max,
	       uint64_t *result)
{
	static const char suffixes[] = "KMGT";
	const char *text = cli_value(context, option);
	unsigned long long number;
	char *end;
	unsigned int shift = 0;

	if (!text)
		return CLI_OK;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || errno)
		return cli_usage(context, "--%s %s: not a number", option, text);
	if (*end && strchr(suffixes, *end)) {
		shift = 10 * (unsigned int)(strchr(suffixes, *end) - suffixes + 1);
		end++;
	}
	if (*end)
		return cli_usage(context, "--%s %s: not a number (suffixes K, M, G, T)", option, text);
	if (number > UINT64_MAX >> shift || number << shift < min || number << shift > max)
		return cli_usage(context, "--%s %s: must be between %llu and %llu", option, text,
				 (unsigned long long)min, (unsigned long long)max);
	*result = number << shift;
	return CLI_OK;
}

/** How many leading words of @argv spell @name; 0 if they do not. */
static int words_matched(const char *name, int argc, char **argv)
{
	int words = 0;

	for (;;) {
		size_t length = strcspn(name, " ");

		if (words == argc || strlen(argv[words]) != length || strncmp(argv[words], name, length))
			return 0;
		words++;
		if (!name[length])
			return words;
		name += length + 1;
	}
}

static const struct cli_command *find_command(int argc, char **argv, int *words)
{
	const struct cli_command *best = NULL;

	*words = 0;
	for (const struct cli_group *group = cli_groups; group->title; group++)
		for (const struct cli_command *row = group->commands; row->name; row++) {
			int matched = words_matched(row->name, argc, argv);

			if (matched > *words) {
				best = row;
				*words = matched;
			}
		}
	return best;
}

/** Takes one option from argv[*at]; *@at moves past it and its value. */
static int take_option(struct cli_context *context, int argc, char **argv, int *at)
{
	const char *text = argv[*at], *value = NULL;
	const struct cli_option *row = NULL;

	if (!strncmp(text, "--", 2)) {
		size_t length = strcspn(text + 2, "=");

		for (row = context->command->options; row && row->name; row++)
			if (strlen(row->name) == length && !strncmp(row->name, text + 2, length))
				break;
		if (text[2 + length] == '=')
			value = text + 2 + length + 1;
	} else {
		for (row = context->command->options; row && row->name; row++)
			if (row->letter == text[1])
				break;
		if (text[2])
			value = text + 2;
	}
	if (!row || !row->name)
		return cli_usage(context, "%s: no such option", text);
	if (!row->value && value)
		return cli_usage(context, "--%s takes no value", row->name);
	if (row->value && !value) {
		if (*at + 1 >= argc)
			return cli_usage(context, "--%s needs %s", row->name, row->value);
		value = argv[++*at];
	}
	context->given[context->given_count++] = (struct given_option){row, value ? value : ""};
	++*at;
	return CLI_OK;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

static int parse(struct cli_context *context, int argc, char **argv)
{
	const struct cli_command *command = context->command;
	bool options_ended = false;

	for (int i = 0; i < argc;) {
		if (!options_ended && !strcmp(argv[i], "--")) {
			options_ended = true;
			i++;
		} else if (!options_ended && argv[i][0] == '-' && argv[i][1]) {
			int status = take_option(context, argc, argv, &i);

			if (status)
				return status;
		} else {
			context->arguments[context->argument_count++] = argv[i++];
		}
	}
	for (const struct cli_option *row = command->options; row && row->name; row++)
		if (row->required && !cli_value(context, row->name))
			return cli_usage(context, "--%s %s is required", row->name, row->value ? row->value : "");
	if (context->argument_count < command->arguments_min)
		return cli_usage(context, "too few arguments; expected: %s", command->arguments);
	if (command->arguments_max >= 0 && context->argument_count > command->arguments_max)
		return cli_usage(context, "%s: one argument too many; expected: %s",
				 context->arguments[command->arguments_max],
				 *command->arguments ? command->arguments : "none");
	return CLI_OK;
}

int cli_run(int argc, char **argv)
{
	struct cli_context context = {0};
	int words, status;

	argc--;
	argv++;
	if (argc == 0 || !strcmp(argv[0], "--help") || !strcmp(argv[0], "-h") ||
	    (argc == 1 && !strcmp(argv[0], "help"))) {
		help_overview(argc ? stdout : stderr);
		return argc ? CLI_OK : CLI_USAGE;
	}
	if (!strcmp(argv[0], "help")) {
		argc--;
		argv++;
		context.command = find_command(argc, argv, &words);
		if (context.command) {
			help_command(stdout, context.command);
			return CLI_OK;
		}
		return help_prefix(argc, argv);
	}
	context.command = find_command(argc, argv, &words);
	if (!context.command)
		return help_prefix(argc, argv);
	argc -= words;
	argv += words;
	if (asks_for_help(argc, argv)) {
		help_command(stdout, context.command);
		return CLI_OK;
	}
	context.given = calloc((size_t)argc + 1, sizeof(*context.given));
	context.arguments = calloc((size_t)argc + 1, sizeof(*context.arguments));
	if (!context.given || !context.arguments)
		status = cli_fail(&context, "out of memory");
	else
		status = parse(&context, argc, argv);
	if (!status)
		status = context.command->run(&context);
	/* A full disk or a closed pipe must not look like success to a script. */
	if ((fflush(stdout) || ferror(stdout)) && status == CLI_OK)
		status = cli_fail(&context, "standard output: %s", strerror(errno));
	free(context.given);
	free(context.arguments);
	return status;
}
