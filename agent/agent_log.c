/* The agent's log: see agent_log.h. */
#include "agent_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void agent_log(enum agent_level level, const char *event, const char *format, ...)
{
	static const char *const names[] = {"info", "warning", "error"};
	json_t *line = json_object(), *more = NULL;
	char braces[128], stamp[32], *text;
	time_t now = time(NULL);
	struct tm parts;
	va_list arguments;

	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
	json_object_set_new(line, "time", json_string(stamp));
	json_object_set_new(line, "level", json_string(names[level]));
	json_object_set_new(line, "event", json_string(event));
	if (format && snprintf(braces, sizeof(braces), "{%s}", format) < (int)sizeof(braces)) {
		va_start(arguments, format);
		more = json_vpack_ex(NULL, 0, braces, arguments);
		va_end(arguments);
	}
	if (more)
		json_object_update(line, more);
	text = json_dumps(line, JSON_COMPACT);
	if (text)
		fprintf(stderr, "%s\n", text);
	free(text);
	json_decref(more);
	json_decref(line);
}
