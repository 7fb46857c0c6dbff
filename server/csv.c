/* csv.c: see csv.h. */
#include "server/csv.h"

#include <errno.h>
#include <string.h>

/* Reads a field from *rest, which then stands behind it, on the comma, line end or NUL. */
static int read_field(char **rest, char **field)
{
	char *from = *rest, *to = *rest;

	*field = to;
	if (*from == '"') {
		for (from++; *from && (*from != '"' || from[1] == '"'); from++) {
			if (*from == '"')
				from++;
			*to++ = *from;
		}
		if (*from != '"')
			return -EBADMSG;
		from++;
		if (*from && !strchr(",\r\n", *from))
			return -EBADMSG;
	} else {
		from += strcspn(from, ",\r\n");
		to = from;
	}
	*rest = from;
	/* The end of the field may be the separator itself, which the caller has yet to see. */
	return (int)(to - *field);
}

int csv_next(struct csv_line *line)
{
	char *ends[CSV_FIELDS_MAX];

	for (;;) {
		line->number++;
		if (!*line->rest)
			return 0;
		if (!line->rest[strspn(line->rest, "\r")] ||
		    line->rest[strspn(line->rest, "\r")] != '\n')
			break;
		line->rest += strspn(line->rest, "\r") + 1;
	}
	line->count = 0;
	for (;;) {
		int length;

		if (line->count == CSV_FIELDS_MAX)
			return -EBADMSG;
		length = read_field(&line->rest, &line->fields[line->count]);
		if (length < 0)
			return -EBADMSG;
		ends[line->count] = line->fields[line->count] + length;
		line->count++;
		if (*line->rest != ',')
			break;
		line->rest++;
	}
	line->rest += strspn(line->rest, "\r");
	if (*line->rest == '\n')
		line->rest++;
	else if (*line->rest)
		return -EBADMSG;
	for (size_t i = 0; i < line->count; i++)
		*ends[i] = 0;
	return 1;
}
