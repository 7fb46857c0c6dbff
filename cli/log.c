/*
 * `bulkhead log`: the hypervisor's log ring, from the oldest text kept.
 */
#include "machine.h"
#include "output.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FOLLOW_PAUSE_NS 300000000L

/** Prints @size bytes of log text, with anything that could steer a terminal shown as '?'. */
static void print_text(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		putchar(c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f) ? c : '?');
	}
}

/** Reads the next piece. Returns CLI_OK, with size_bytes 0 at the end, or CLI_FAILED after saying why. */
static int read_piece(const struct cli_context *context, int device, uint64_t position, struct bulkhead_log *piece)
{
	int result;

	memset(piece, 0, sizeof(*piece));
	piece->first = position;
	result = machine_request(context, device, BULKHEAD_DEVICE_LOG, piece, "log");
	if (result == CLI_OK && piece->size_bytes > sizeof(piece->text))
		return cli_fail(context, "log: the driver's answer is longer than its buffer; "
					 "install driver and command of the same release");
	return result;
}

static int print_log(const struct cli_context *context, int device, bool follow)
{
	struct bulkhead_log piece;
	uint64_t position = 0;
	int result;

	for (;;) {
		result = read_piece(context, device, position, &piece);
		if (result != CLI_OK)
			return result;
		if (piece.first > position && position)
			fprintf(stderr, "bulkhead log: %llu bytes were overwritten before they could be read\n",
				(unsigned long long)(piece.first - position));
		print_text(piece.text, piece.size_bytes);
		position = piece.first + piece.size_bytes;
		if (piece.size_bytes)
			continue;
		if (!follow)
			return CLI_OK;
		if (fflush(stdout) != 0)
			return CLI_FAILED;
		nanosleep(&(struct timespec){.tv_nsec = FOLLOW_PAUSE_NS}, NULL);
	}
}

/** Appends one line to @lines; what is not plain ASCII shows as '?', since JSON must be UTF-8. */
static void append_line(json_t *lines, char *line, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)line[i] < 0x20 || (unsigned char)line[i] >= 0x7f)
			line[i] = '?';
	json_array_append_new(lines, json_stringn(line, length));
}

static int print_json(const struct cli_context *context, int device)
{
	json_t *lines = json_array(), *report;
	struct bulkhead_log piece;
	uint64_t position = 0, first = 0;
	char line[1024];
	size_t length = 0;
	int result;

	for (;;) {
		result = read_piece(context, device, position, &piece);
		if (result != CLI_OK)
			break;
		if (!position)
			first = piece.first;
		for (uint32_t i = 0; i < piece.size_bytes; i++) {
			if (piece.text[i] != '\n' && length < sizeof(line)) {
				line[length++] = piece.text[i];
				continue;
			}
			append_line(lines, line, length);
			length = 0;
			if (piece.text[i] != '\n')
				line[length++] = piece.text[i];
		}
		position = piece.first + piece.size_bytes;
		if (!piece.size_bytes)
			break;
	}
	if (length)
		append_line(lines, line, length);
	report = json_pack("{s:I, s:o}", "first", (json_int_t)first, "lines", lines);
	if (result == CLI_OK)
		output_json(report);
	json_decref(report);
	return result;
}

int log_run(const struct cli_context *context)
{
	bool follow = cli_switch(context, "follow"), json = cli_switch(context, "json");
	int device, result;

	if (follow && json)
		return cli_usage(context, "--follow with --json: JSON needs an end; leave one of them out");
	device = machine_open(context);
	if (device < 0)
		return CLI_FAILED;
	result = json ? print_json(context, device) : print_log(context, device, follow);
	close(device);
	return result;
}
