/*
 * The command framework: finding, parsing, refusing; tables and sizes.
 */
#include "command.h"
#include "help.h"
#include "output.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
	int runs;
	const char *name, *second, *argument;
	bool all;
	uint64_t size;
	int arguments;
} seen;

static int run_make(const struct cli_context *context)
{
	seen.runs++;
	seen.name = cli_value(context, "name");
	seen.second = cli_value_at(context, "name", 1);
	seen.all = cli_switch(context, "all");
	seen.argument = cli_argument(context, 0);
	seen.arguments = cli_argument_count(context);
	seen.size = 7;
	return cli_number(context, "size", 1, 1u << 30, &seen.size);
}

static int run_short(const struct cli_context *context)
{
	(void)context;
	seen.runs += 100;
	return CLI_OK;
}

static const struct cli_option make_options[] = {
	{.name = "name", .value = "NAME", .help = "its name", .letter = 'n'},
	{.name = "size", .value = "BYTES", .help = "its size"},
	{.name = "all", .help = "everything", .letter = 'a'},
	{0},
};

static const struct cli_option need_options[] = {
	{.name = "key", .value = "FILE", .help = "the key", .required = true},
	{0},
};

static const struct cli_command test_commands[] = {
	{.name = "thing", .arguments = "", .summary = "look at it", .run = run_short},
	{.name = "thing make", .arguments = "[FILE]", .summary = "make one", .options = make_options,
	 .description = ".starts with a dot\nand has -dashes- and \\ in it", .example = "bulkhead thing make x",
	 .arguments_max = 1, .run = run_make},
	{.name = "thing need", .arguments = "A B", .summary = "need things", .options = need_options,
	 .arguments_min = 2, .arguments_max = 2, .run = run_short},
	{0},
};

const struct cli_group cli_groups[] = {{"Things", test_commands}, {"This command", help_commands}, {0}};

static int run(const char *line)
{
	char copy[256], *argv[16] = {(char *)"bulkhead"};
	int argc = 1;

	memset(&seen, 0, sizeof(seen));
	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	/* Help goes to stdout, where the test's results go too. */
	int results = dup(STDOUT_FILENO), discard = open("/dev/null", O_WRONLY), status;

	fflush(stdout);
	dup2(discard, STDOUT_FILENO);
	status = cli_run(argc, argv);
	fflush(stdout);
	dup2(results, STDOUT_FILENO);
	close(results);
	close(discard);

	/* The words live in this frame; keep what the tests look at. */
	static char kept[3][64];
	const char **fields[] = {&seen.name, &seen.second, &seen.argument};

	for (int i = 0; i < 3; i++)
		if (*fields[i]) {
			snprintf(kept[i], sizeof(kept[i]), "%s", *fields[i]);
			*fields[i] = kept[i];
		}
	return status;
}

static void longest_name_wins(void **state)
{
	(void)state;
	assert_int_equal(run("thing"), CLI_OK);
	assert_int_equal(seen.runs, 100);
	assert_int_equal(run("thing make"), CLI_OK);
	assert_int_equal(seen.runs, 1);
}

static void options_parse_in_every_form(void **state)
{
	(void)state;
	assert_int_equal(run("thing make --name=one file -n two -a --size 3M"), CLI_OK);
	assert_string_equal(seen.name, "two");
	assert_string_equal(seen.second, "two");
	assert_true(seen.all);
	assert_string_equal(seen.argument, "file");
	assert_int_equal(seen.size, 3 << 20);
	assert_int_equal(run("thing make -none -- --all"), CLI_OK);
	assert_string_equal(seen.name, "one");
	assert_false(seen.all);
	assert_string_equal(seen.argument, "--all");
	assert_int_equal(seen.size, 7);
}

static void wrong_command_lines_do_nothing(void **state)
{
	static const char *const lines[] = {
		"nothing", "thing make --unknown", "thing make -x", "thing make --name", "thing make --all=1",
		"thing make a b", "thing need --key k a", "thing need a b", "thing make --size x",
		"thing make --size 2G", "thing make --size 0", "thing make --size 1Q", "thing make --size -1",
		"thing make --size 99999999999999999999", "thing make --size 99999999999T", "help nothing",
		"completion tcsh", "",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(run(lines[i]), CLI_USAGE);
		assert_true(seen.runs == 0 || strstr(lines[i], "--size"));
	}
}

static void help_never_runs_the_command(void **state)
{
	(void)state;
	assert_int_equal(run("thing make --help"), CLI_OK);
	assert_int_equal(seen.runs, 0);
	assert_int_equal(run("help thing make"), CLI_OK);
	assert_int_equal(seen.runs, 0);
	assert_int_equal(run("--help"), CLI_OK);
}

static char *captured(void (*print)(FILE *))
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	print(out);
	fclose(out);
	return text;
}

static void print_bash(FILE *out)
{
	assert_true(help_completion(out, "bash"));
	assert_true(help_completion(out, "zsh"));
	assert_true(help_completion(out, "fish"));
}

static void every_command_is_in_man_page_and_completions(void **state)
{
	char *man = captured(help_man_page), *completions = captured(print_bash);

	(void)state;
	for (const struct cli_command *row = test_commands; row->name; row++) {
		assert_non_null(strstr(man, row->name));
		assert_non_null(strstr(completions, row->name));
	}
	assert_non_null(strstr(man, "\\&.starts with a dot"));
	assert_non_null(strstr(man, "\\-dashes\\- and \\e in"));
	free(man);
	free(completions);
}

/* What output_record() prints to stdout, where the test's results go too. */
static void print_record(const json_t *record, char text[512])
{
	static const struct output_column columns[] = {
		{"name", "name", OUTPUT_TEXT},	    {"seen", "last seen", OUTPUT_TIME},
		{"report.used", "used", OUTPUT_BYTES}, {"report.trouble", "trouble", OUTPUT_TEXT},
	};
	int results = dup(STDOUT_FILENO);
	FILE *file = tmpfile();

	assert_non_null(file);
	fflush(stdout);
	dup2(fileno(file), STDOUT_FILENO);
	output_record(record, OUTPUT_COLUMNS(columns));
	fflush(stdout);
	dup2(results, STDOUT_FILENO);
	close(results);
	rewind(file);
	text[fread(text, 1, 511, file)] = 0;
	fclose(file);
}

static void record_shows_what_is_there_and_nothing_that_moves_the_cursor(void **state)
{
	json_t *record = json_pack("{s:s, s:i, s:{s:i}}", "name", "a\033[2Jb", "seen", 0, "report", "used", 1500);
	char text[512];

	(void)state;
	print_record(record, text);
	assert_string_equal(text, "name       a?[2Jb\nlast seen  never\nused       1.5 kB\n");
	json_decref(record);
}

static void sizes_and_durations_read_well(void **state)
{
	char text[24];

	(void)state;
	assert_string_equal(output_bytes(0, text), "0 B");
	assert_string_equal(output_bytes(999, text), "999 B");
	assert_string_equal(output_bytes(1500, text), "1.5 kB");
	assert_string_equal(output_bytes(999999, text), "1.0 MB");
	assert_string_equal(output_bytes(UINT64_MAX, text), "18 EB");
	assert_string_equal(output_duration(59, text), "59 s");
	assert_string_equal(output_duration(200, text), "3 min 20 s");
	assert_string_equal(output_duration(7500, text), "2 h 5 min");
	assert_string_equal(output_duration(864000, text), "10 days");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(longest_name_wins),
		cmocka_unit_test(options_parse_in_every_form),
		cmocka_unit_test(wrong_command_lines_do_nothing),
		cmocka_unit_test(help_never_runs_the_command),
		cmocka_unit_test(every_command_is_in_man_page_and_completions),
		cmocka_unit_test(record_shows_what_is_there_and_nothing_that_moves_the_cursor),
		cmocka_unit_test(sizes_and_durations_read_well),
	};

	return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
