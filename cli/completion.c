/*
 * Shell completions and the man page as commands, made from the command table.
 *
 * All three shells ask for one thing: the words that may follow the words so far. The scripts carry the table as one
 * line a command, so that completing never starts the program.
 */
#include "help.h"

#include <string.h>

static const char bash_head[] =
	"# bash completion for bulkhead; put it into /usr/share/bash-completion/completions/bulkhead\n"
	"_bulkhead() {\n"
	"    local words=\"${COMP_WORDS[*]:1:COMP_CWORD-1}\" current=\"${COMP_WORDS[COMP_CWORD]}\" line name options\n"
	"    COMPREPLY=()\n"
	"    while IFS='|' read -r name options; do\n"
	"        if [[ \"$words \" == \"$name \"* ]]; then\n"
	"            if [[ $current == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
	"            else COMPREPLY=($(compgen -f -- \"$current\")); fi\n"
	"            return\n"
	"        fi\n"
	"        if [[ -z $words || \"$name\" == \"$words \"* ]]; then\n"
	"            line=${name#\"$words\"}; line=${line# }; line=${line%% *}\n"
	"            [[ $line == \"$current\"* ]] && COMPREPLY+=(\"$line\")\n"
	"        fi\n"
	"    done <<'TABLE'\n";

static const char bash_tail[] = "TABLE\n"
				"    [ ${#COMPREPLY[@]} -gt 0 ] && mapfile -t COMPREPLY < <(printf '%s\\n' "
				"\"${COMPREPLY[@]}\" | sort -u)\n"
				"}\n"
				"complete -F _bulkhead bulkhead\n";

static void bash_completion(FILE *out)
{
	fputs(bash_head, out);
	for (const struct cli_group *group = cli_groups; group->title; group++)
		for (const struct cli_command *row = group->commands; row->name; row++) {
			fprintf(out, "%s|--help", row->name);
			for (const struct cli_option *option = row->options; option && option->name; option++)
				fprintf(out, " --%s", option->name);
			fputc('\n', out);
		}
	fputs(bash_tail, out);
}

static void fish_quoted(FILE *out, const char *text)
{
	fputc('\'', out);
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('\'', out);
}

/** The words of @name before its last one, and that last word. */
static const char *last_word(const char *name, int *prefix_length)
{
	const char *space = strrchr(name, ' ');

	*prefix_length = space ? (int)(space - name) : 0;
	return space ? space + 1 : name;
}

static void fish_completion(FILE *out)
{
	fprintf(out, "# fish completion for bulkhead; put it into ~/.config/fish/completions/bulkhead.fish\n"
		     "function __bulkhead_at; set -l t (commandline -opc); test \"$t[2..-1]\" = \"$argv\"; end\n"
		     "function __bulkhead_in; set -l t (commandline -opc); "
		     "string match -q -- \"$argv*\" \"$t[2..-1]\"; end\n");
	for (const struct cli_group *group = cli_groups; group->title; group++)
		for (const struct cli_command *row = group->commands; row->name; row++) {
			int prefix;
			const char *word = last_word(row->name, &prefix), *space = strchr(row->name, ' ');

			if (space)
				fprintf(out, "complete -c bulkhead -f -n '__bulkhead_at' -a '%.*s'\n",
					(int)(space - row->name), row->name);
			fprintf(out, "complete -c bulkhead -f -n '__bulkhead_at %.*s' -a '%s' -d ", prefix, row->name,
				word);
			fish_quoted(out, row->summary);
			fputc('\n', out);
			for (const struct cli_option *option = row->options; option && option->name; option++) {
				fprintf(out, "complete -c bulkhead -n '__bulkhead_in %s' -l %s%s -d ", row->name,
					option->name, option->value ? " -r" : "");
				fish_quoted(out, option->help);
				fputc('\n', out);
			}
		}
}

bool help_completion(FILE *out, const char *shell)
{
	if (!strcmp(shell, "bash")) {
		bash_completion(out);
	} else if (!strcmp(shell, "zsh")) {
		fprintf(out, "#compdef bulkhead\nautoload -U +X bashcompinit && bashcompinit\n");
		bash_completion(out);
	} else if (!strcmp(shell, "fish")) {
		fish_completion(out);
	} else {
		return false;
	}
	return true;
}

static int run_completion(const struct cli_context *context)
{
	if (!help_completion(stdout, cli_argument(context, 0)))
		return cli_usage(context, "%s: no completions for this shell; there are bash, zsh and fish",
				 cli_argument(context, 0));
	return CLI_OK;
}

static int run_man(const struct cli_context *context)
{
	(void)context;
	help_man_page(stdout);
	return CLI_OK;
}

const struct cli_command help_commands[] = {
	{
		.name = "completion",
		.arguments = "SHELL",
		.summary = "print completions for bash, zsh or fish",
		.example = "bulkhead completion bash > /usr/share/bash-completion/completions/bulkhead",
		.arguments_min = 1,
		.arguments_max = 1,
		.run = run_completion,
	},
	{
		.name = "man",
		.arguments = "",
		.summary = "print the man page",
		.example = "bulkhead man | man -l -",
		.run = run_man,
	},
	{0},
};
