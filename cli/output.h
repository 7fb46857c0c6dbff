/*
 * How commands show things: tables for people, JSON for scripts, progress for long work, sizes and times in words.
 */
#ifndef BULKHEAD_CLI_OUTPUT_H
#define BULKHEAD_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/** A column of a table: the JSON field it shows and its heading. Sizes and times are shown in words. */
struct output_column {
	const char *field;   /**< key in each row; "a.b" reaches into an object */
	const char *heading; /**< upper case by custom */
	enum output_kind { OUTPUT_TEXT, OUTPUT_NUMBER, OUTPUT_BYTES, OUTPUT_TIME } kind;
};

/**
 * Prints @rows (a JSON array of objects; borrowed) as a table on stdout, columns aligned by display width.
 * Missing or null fields show as "-", a time of 0 as "never". An empty array prints @empty, a sentence, instead.
 */
void output_table(const json_t *rows, const struct output_column *columns, size_t column_count, const char *empty);

/** A table's columns and how many they are, for the calls above and below. */
#define OUTPUT_COLUMNS(columns) (columns), sizeof(columns) / sizeof((columns)[0])

/**
 * Prints one object as lines of heading and value, values aligned; of @columns those that @record (borrowed) has.
 */
void output_record(const json_t *record, const struct output_column *columns, size_t column_count);

/** What every listing command ends with: @rows (given up here) as JSON for scripts, or as a table for people. */
void output_rows(json_t *rows, bool as_json, const struct output_column *columns, size_t column_count,
		 const char *empty);

/** Prints @value (borrowed) as indented JSON with sorted keys and a final newline. */
void output_json(const json_t *value);

/** Writes @bytes as people read it ("1.5 GB", powers of 1000) into @text. Returns @text. */
const char *output_bytes(uint64_t bytes, char text[16]);

/** Writes a duration ("45 s", "3 min 20 s", "2 h 5 min") into @text. Returns @text. */
const char *output_duration(uint64_t seconds, char text[24]);

/** Progress of one long task on stderr: percentage, rate, time left. Silent unless stderr is a terminal. */
struct output_progress {
	const char *what;     /**< "Publishing work 1"; borrowed */
	uint64_t total_bytes; /**< 0 if not known */
	uint64_t started_ns, shown_ns;
	int is_terminal;
};

/** Starts showing progress. @what must live until output_progress_end. */
void output_progress_start(struct output_progress *progress, const char *what, uint64_t total_bytes);

/** Shows that @done_bytes are done; redraws at most five times a second, so it may be called for every block. */
void output_progress_update(struct output_progress *progress, uint64_t done_bytes);

/** Wipes the progress line, so that what is printed next starts on a clean one. */
void output_progress_end(struct output_progress *progress);

#endif
