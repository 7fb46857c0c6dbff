/* csv.h: comma-separated values (RFC 4180), one line at a time, in place. */
#ifndef SERVER_CSV_H
#define SERVER_CSV_H

#include <stddef.h>

#define CSV_FIELDS_MAX 16

struct csv_line {
	char *rest;    /* set to the text before the first call; the text is changed */
	size_t number; /* of the line, from 1 */
	size_t count;
	char *fields[CSV_FIELDS_MAX];
};

/** Reads the next line that is not empty. Returns 1, 0 at the end, or -EBADMSG (open quote, too
 * many fields). */
int csv_next(struct csv_line *line);

#endif
