/** The agent's log: one JSON object a line on stderr, which the journal keeps. Names of events
 * never change. */
#ifndef AGENT_LOG_H
#define AGENT_LOG_H

#include <jansson.h>

enum agent_level { AGENT_INFO, AGENT_WARNING, AGENT_ERROR };

/**
 * Writes {"time", "level", "event", ...}. `format` and what follows are json_pack()'s, an object
 * without braces: agent_log(AGENT_INFO, "guest.started", "s:s", "guest", name). Never holds a key,
 * a phrase or a token.
 */
void agent_log(enum agent_level level, const char *event, const char *format, ...);

#endif
