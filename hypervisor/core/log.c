/* SPDX-License-Identifier: MIT */
/*
 * The log ring and its small formatter.
 */
#include <stdarg.h>

#include "log.h"

/* A line is put together here first, so that lines of two processors never mix. */
#define LINE_BYTES 256u

struct line {
	size_t size_bytes;
	char text[LINE_BYTES];
};

static void put(struct line *line, char character)
{
	/* The last byte is kept for the end of the line. */
	if (line->size_bytes < LINE_BYTES - 1)
		line->text[line->size_bytes++] = character;
}

static void put_text(struct line *line, const char *text)
{
	for (size_t i = 0; i < LINE_BYTES && text[i]; i++)
		put(line, text[i]);
}

static void put_number(struct line *line, uint64_t number, unsigned int base)
{
	char digits[20];
	size_t count = 0;

	do {
		digits[count++] = "0123456789abcdef"[number % base];
		number /= base;
	} while (number > 0);
	while (count > 0)
		put(line, digits[--count]);
}

/* One conversion; returns the character of the format that ends it. */
static const char *put_argument(struct line *line, const char *format, va_list *arguments)
{
	bool is_long = *format == 'l';

	if (is_long)
		format++;
	switch (*format) {
	case 's':
		put_text(line, va_arg(*arguments, const char *));
		break;
	case 'u':
	case 'x':
		put_number(line,
			   is_long ? va_arg(*arguments, unsigned long) :
				     va_arg(*arguments, unsigned int),
			   *format == 'u' ? 10 : 16);
		break;
	default:
		put(line, *format);
		break;
	}
	return format;
}

void log_set_level(struct log *log, enum log_level level)
{
	log->level = level;
}

void log_line(struct log *log, enum log_level level, const char *subject, const char *format, ...)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	struct line line = { 0 };
	va_list arguments;

	if (level > log->level)
		return;
	put(&line, '<');
	put_text(&line, names[level]);
	put_text(&line, "> ");
	put_text(&line, subject);
	put_text(&line, ": ");
	va_start(arguments, format);
	for (; *format; format++) {
		if (*format == '%' && format[1])
			format = put_argument(&line, format + 1, &arguments);
		else
			put(&line, *format);
	}
	va_end(arguments);
	line.text[line.size_bytes++] = '\n';
	arch_lock(&log->lock);
	for (size_t i = 0; i < line.size_bytes; i++)
		log->ring[(log->written + i) % LOG_RING_BYTES] = line.text[i];
	log->written += line.size_bytes;
	arch_console(line.text, line.size_bytes);
	arch_unlock(&log->lock);
}

uint64_t log_read(struct log *log, uint64_t position, struct bulkhead_log *answer)
{
	uint64_t oldest, size, from, whole;

	arch_lock(&log->lock);
	oldest = log->written > LOG_RING_BYTES ? log->written - LOG_RING_BYTES : 0;
	if (position < oldest)
		position = oldest;
	if (position > log->written)
		position = log->written;
	size = log->written - position;
	if (size > BULKHEAD_LOG_TEXT_BYTES)
		size = BULKHEAD_LOG_TEXT_BYTES;
	answer->first = position;
	answer->size_bytes = (uint32_t)size;
	from = position % LOG_RING_BYTES;
	whole = LOG_RING_BYTES - from < size ? LOG_RING_BYTES - from : size;
	__builtin_memcpy(answer->text, log->ring + from, whole);
	__builtin_memcpy(answer->text + whole, log->ring, size - whole);
	arch_unlock(&log->lock);
	return position + size;
}
