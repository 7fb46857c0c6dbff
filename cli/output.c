/*
 * Tables, JSON and progress of the command; see output.h.
 */
#include "output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/** Columns a UTF-8 text takes on a terminal, counting code points; wide scripts are rare in names and only shift. */
static int display_width(const char *text)
{
	int width = 0;

	for (; *text; text++)
		if (((unsigned char)*text & 0xc0) != 0x80)
			width++;
	return width;
}

/**
 * Prints text from a row. Names come from other parties: control characters would let them move the cursor or set
 * the terminal's title, so they show as '?'.
 */
static void print_cell(const char *text)
{
	for (; *text; text++)
		putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

const char *output_bytes(uint64_t bytes, char text[16])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1000;
		unit++;
	}
	if (unit == 0)
		snprintf(text, 16, "%" PRIu64 " B", bytes);
	else
		snprintf(text, 16, value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

const char *output_duration(uint64_t seconds, char text[24])
{
	if (seconds < 60)
		snprintf(text, 24, "%" PRIu64 " s", seconds);
	else if (seconds < 3600)
		snprintf(text, 24, "%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
	else if (seconds < 100 * 3600)
		snprintf(text, 24, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600, seconds / 60 % 60);
	else
		snprintf(text, 24, "%" PRIu64 " days", seconds / 86400);
	return text;
}

static const json_t *field_of(const json_t *row, const char *path)
{
	while (row && *path) {
		size_t length = strcspn(path, ".");
		char key[64];

		if (length >= sizeof(key))
			return NULL;
		memcpy(key, path, length);
		key[length] = 0;
		row = json_object_get(row, key);
		path += length + (path[length] == '.');
	}
	return row;
}

static char *cell_text(const json_t *row, const struct output_column *column)
{
	const json_t *value = field_of(row, column->field);
	char text[64] = "-";

	if (json_is_string(value))
		return strdup(json_string_value(value));
	if (json_is_boolean(value)) {
		snprintf(text, sizeof(text), "%s", json_is_true(value) ? "yes" : "no");
	} else if (json_is_real(value)) {
		snprintf(text, sizeof(text), "%.2f", json_real_value(value));
	} else if (json_is_integer(value)) {
		json_int_t number = json_integer_value(value);
		time_t when = (time_t)number;
		struct tm broken_down;

		if (column->kind == OUTPUT_BYTES && number >= 0)
			output_bytes((uint64_t)number, text);
		else if (column->kind == OUTPUT_TIME && number == 0)
			return strdup("never");
		else if (column->kind == OUTPUT_TIME && localtime_r(&when, &broken_down))
			strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &broken_down);
		else
			snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, number);
	} else if (json_is_array(value) || json_is_object(value)) {
		return json_dumps(value, JSON_COMPACT);
	}
	return strdup(text);
}

void output_table(const json_t *rows, const struct output_column *columns, size_t column_count, const char *empty)
{
	size_t row_count = json_array_size(rows);
	char **cells = calloc(row_count * column_count + 1, sizeof(*cells));
	int *widths = calloc(column_count + 1, sizeof(*widths));

	if (!cells || !widths)
		abort();
	if (!row_count) {
		puts(empty);
		goto out;
	}
	for (size_t c = 0; c < column_count; c++)
		widths[c] = display_width(columns[c].heading);
	for (size_t i = 0; i < row_count * column_count; i++) {
		cells[i] = cell_text(json_array_get(rows, i / column_count), &columns[i % column_count]);
		if (!cells[i])
			abort();
		if (display_width(cells[i]) > widths[i % column_count])
			widths[i % column_count] = display_width(cells[i]);
	}
	for (size_t i = 0; i < (row_count + 1) * column_count; i++) {
		size_t c = i % column_count;
		const char *text = i < column_count ? columns[c].heading : cells[i - column_count];
		int padding = widths[c] - display_width(text);
		int right = columns[c].kind == OUTPUT_NUMBER || columns[c].kind == OUTPUT_BYTES;

		if (right)
			printf("%*s", padding, "");
		print_cell(text);
		if (c + 1 == column_count)
			putchar('\n');
		else
			printf("%*s  ", right ? 0 : padding, "");
	}
out:
	for (size_t i = 0; i < row_count * column_count; i++)
		free(cells[i]);
	free(cells);
	free(widths);
}

void output_record(const json_t *record, const struct output_column *columns, size_t column_count)
{
	int width = 0;

	for (size_t c = 0; c < column_count; c++)
		if (field_of(record, columns[c].field) && display_width(columns[c].heading) > width)
			width = display_width(columns[c].heading);
	for (size_t c = 0; c < column_count; c++) {
		char *text;

		if (!field_of(record, columns[c].field))
			continue;
		text = cell_text(record, &columns[c]);
		if (!text)
			abort();
		printf("%s%*s  ", columns[c].heading, width - display_width(columns[c].heading), "");
		print_cell(text);
		putchar('\n');
		free(text);
	}
}

void output_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
	putchar('\n');
}

void output_rows(json_t *rows, bool as_json, const struct output_column *columns, size_t column_count,
		 const char *empty)
{
	if (as_json)
		output_json(rows);
	else
		output_table(rows, columns, column_count, empty);
	json_decref(rows);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void output_progress_start(struct output_progress *progress, const char *what, uint64_t total_bytes)
{
	*progress = (struct output_progress){
		.what = what,
		.total_bytes = total_bytes,
		.started_ns = now_ns(),
		.is_terminal = isatty(STDERR_FILENO),
	};
}

void output_progress_update(struct output_progress *progress, uint64_t done_bytes)
{
	uint64_t now = now_ns(), elapsed_ns = now - progress->started_ns, rate;
	char done[16], per_second[16], left[24];

	if (!progress->is_terminal || now - progress->shown_ns < 200000000u)
		return;
	progress->shown_ns = now;
	rate = elapsed_ns ? (uint64_t)((double)done_bytes * 1e9 / (double)elapsed_ns) : 0;
	fprintf(stderr, "\r\033[K%s: ", progress->what);
	if (progress->total_bytes)
		fprintf(stderr, "%3.0f %%, ",
			100.0 * (double)(done_bytes < progress->total_bytes ? done_bytes : progress->total_bytes) /
				(double)progress->total_bytes);
	fprintf(stderr, "%s, %s/s", output_bytes(done_bytes, done), output_bytes(rate, per_second));
	if (rate && done_bytes < progress->total_bytes)
		fprintf(stderr, ", %s left",
			output_duration((progress->total_bytes - done_bytes) / rate + 1, left));
	fflush(stderr);
}

void output_progress_end(struct output_progress *progress)
{
	if (progress->is_terminal && progress->shown_ns)
		fputs("\r\033[K", stderr);
}
