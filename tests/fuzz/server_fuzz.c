/* server_fuzz.c: what the server reads before it knows who asks: paths, ranges, bodies, tables. */
#include "server/csv.h"
#include "server/http_reply.h"
#include "server/route.h"
#include "trust/strict_json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void try_body(const char *text, size_t bytes)
{
	char wrong[64];
	json_t *body;

	if (strict_json_parse(text, bytes, 65536, &body))
		return;
	for (size_t i = 0; i < route_count; i++)
		if (route_table[i].fields)
			route_body_fits(route_table[i].fields, body, wrong, sizeof(wrong));
	json_decref(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char *text = malloc(bytes + 1), parameters[4][80];
	struct csv_line line = {.rest = text};
	uint64_t first = 0, count = 0;
	size_t parameter_count;
	bool other;

	memcpy(text, data, bytes);
	text[bytes] = 0;
	try_body(text, bytes);
	if (http_reply_range(text, 1000, &first, &count) == 1 &&
	    (first >= 1000 || !count || first + count > 1000))
		abort();
	http_reply_matches(text, "\"tag\"");
	if (route_find("GET", text, parameters, &parameter_count, &other) && strstr(text, "/.."))
		abort();
	while (csv_next(&line) == 1)
		if (!line.count || line.count > CSV_FIELDS_MAX)
			abort();
	free(text);
	return 0;
}
