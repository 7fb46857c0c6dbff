/*
 * Makes help, the man page and completions from the command table, so that they cannot disagree with it.
 */
#include "help.h"

#include <string.h>

static void print_wrapped(FILE *out, const char *text, int indent, int width)
{
	int column = 0;

	while (*text) {
		size_t length = strcspn(text, " \n");

		if (column == 0)
			column = fprintf(out, "%*s", indent, "");
		else if (column + 1 + (int)length > width)
			column = fprintf(out, "\n%*s", indent, "") - 1;
		else
			column += fprintf(out, " ");
		column += fprintf(out, "%.*s", (int)length, text);
		text += length;
		if (*text == '\n') {
			fputc('\n', out);
			column = 0;
		}
		if (*text)
			text++;
	}
	fputc('\n', out);
}

static int widest_name(void)
{
	int width = 0;

	for (const struct cli_group *group = cli_groups; group->title; group++)
		for (const struct cli_command *row = group->commands; row->name; row++)
			if ((int)strlen(row->name) > width)
				width = (int)strlen(row->name);
	return width;
}

void help_overview(FILE *out)
{
	int width = widest_name();

	fprintf(out, "Usage: bulkhead COMMAND [ARGUMENTS] [OPTIONS]\n");
	for (const struct cli_group *group = cli_groups; group->title; group++) {
		fprintf(out, "\n%s\n", group->title);
		for (const struct cli_command *row = group->commands; row->name; row++)
			fprintf(out, "  %-*s  %s\n", width, row->name, row->summary);
	}
	fprintf(out, "\n`bulkhead COMMAND --help` explains one command.\n");
}

/** Writes an option as people type it, e.g. "-n, --name NAME"; returns its length. */
static int option_text(char *text, size_t size, const struct cli_option *row)
{
	char letter[8] = "    ";

	if (row->letter)
		snprintf(letter, sizeof(letter), "-%c, ", row->letter);
	return snprintf(text, size, "%s--%s%s%s", letter, row->name, row->value ? " " : "",
			row->value ? row->value : "");
}

void help_command(FILE *out, const struct cli_command *command)
{
	char text[128];
	int width = (int)strlen("    --help");

	fprintf(out, "Usage: bulkhead %s", command->name);
	if (*command->arguments)
		fprintf(out, " %s", command->arguments);
	for (const struct cli_option *row = command->options; row && row->name; row++) {
		int length = option_text(text, sizeof(text), row);

		if (length > width)
			width = length;
		if (row->required)
			fprintf(out, " --%s %s", row->name, row->value ? row->value : "");
	}
	fprintf(out, " [OPTIONS]\n\n%c%s.\n", command->summary[0] - ('a' <= command->summary[0] &&
		command->summary[0] <= 'z' ? 'a' - 'A' : 0), command->summary + 1);
	if (command->description) {
		fputc('\n', out);
		print_wrapped(out, command->description, 0, 96);
	}
	fprintf(out, "\nOptions:\n");
	for (const struct cli_option *row = command->options; row && row->name; row++) {
		option_text(text, sizeof(text), row);
		fprintf(out, "  %-*s  %s%s\n", width, text, row->help, row->required ? " (required)" : "");
	}
	fprintf(out, "  %-*s  show this help\n", width, "    --help");
	if (command->example)
		fprintf(out, "\nExample:\n  %s\n", command->example);
}

static bool starts_with_words(const char *name, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		size_t length = strcspn(name, " ");

		if (strlen(argv[i]) != length || strncmp(name, argv[i], length))
			return false;
		name += length;
		while (*name == ' ')
			name++;
	}
	return true;
}

int help_prefix(int argc, char **argv)
{
	int given = 0, width = widest_name();
	bool any = false;

	while (given < argc && argv[given][0] != '-')
		given++;
	for (int words = given < 2 ? given : 2; words > 0 && !any; words--) {
		for (const struct cli_group *group = cli_groups; group->title; group++)
			for (const struct cli_command *row = group->commands; row->name; row++) {
				if (!starts_with_words(row->name, words, argv))
					continue;
				if (!any && words < given)
					fprintf(stderr, "bulkhead: no command '%s %s'; there is:\n", argv[0],
						argv[words]);
				any = true;
				fprintf(stderr, "  %-*s  %s\n", width, row->name, row->summary);
			}
	}
	if (!any)
		fprintf(stderr, "bulkhead: no command '%s'; `bulkhead --help` lists them\n",
			argc ? argv[0] : "");
	return CLI_USAGE;
}

/** Writes text for man(7): a leading dot or quote would be a request, a backslash an escape, "-" a hyphen. */
static void man_text(FILE *out, const char *text)
{
	bool line_start = true;

	for (; *text; text++) {
		if (line_start && (*text == '.' || *text == '\''))
			fputs("\\&", out);
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else
			fputc(*text, out);
		line_start = *text == '\n';
	}
}

void help_man_page(FILE *out)
{
	fprintf(out, ".TH BULKHEAD 1 \"\" \"Bulkhead\"\n.SH NAME\nbulkhead \\- manage Bulkhead machines, images and "
		     "fleets\n.SH SYNOPSIS\n.B bulkhead\n.I COMMAND\n[\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]\n");
	for (const struct cli_group *group = cli_groups; group->title; group++) {
		fprintf(out, ".SH \"");
		for (const char *c = group->title; *c; c++)
			fputc('a' <= *c && *c <= 'z' ? *c - 'a' + 'A' : *c, out);
		fprintf(out, "\"\n");
		for (const struct cli_command *row = group->commands; row->name; row++) {
			fprintf(out, ".SS \"bulkhead ");
			man_text(out, row->name);
			fprintf(out, "%s", *row->arguments ? " " : "");
			man_text(out, row->arguments);
			fprintf(out, "\"\n");
			man_text(out, row->summary);
			fprintf(out, ".\n");
			if (row->description) {
				fprintf(out, ".PP\n");
				man_text(out, row->description);
				fputc('\n', out);
			}
			for (const struct cli_option *option = row->options; option && option->name; option++) {
				char text[128];
				int skip;

				option_text(text, sizeof(text), option);
				skip = (int)strspn(text, " ");
				fprintf(out, ".TP\n.B \"");
				man_text(out, text + skip);
				fprintf(out, "\"\n");
				man_text(out, option->help);
				fputc('\n', out);
			}
			if (row->example) {
				fprintf(out, ".PP\n.RS\n.nf\n");
				man_text(out, row->example);
				fprintf(out, "\n.fi\n.RE\n");
			}
		}
	}
	fprintf(out, ".SH \"EXIT STATUS\"\n0: done. 1: not done, one line on standard error says why. 2: the command "
		     "line was wrong, nothing was done.\n");
}
