/*
 * One request to an agent that may take hours, made beside the console's loop, so that guests can be used meanwhile.
 */
#ifndef BULKHEAD_CLI_ERRAND_H
#define BULKHEAD_CLI_ERRAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct errand;

/** What came of one. */
struct errand_end {
	json_t *result;	 /**< the agent's answer, the caller's; NULL after an error */
	char error[512]; /**< one line; empty: it went well */
};

/**
 * Begins one. @request and @file (-1: none) are taken over. What was written through @file is on its disk when the errand is
 * over. Returns NULL, both given up, if there is no memory.
 */
struct errand *errand_begin(const char *socket, json_t *request, int file);

/** What the agent last said about how far it is, into @line: "" at first. */
void errand_progress(struct errand *errand, char *line, size_t line_bytes);

/** Whether it is over; then @errand is freed and @end filled. Never waits. */
bool errand_is_over(struct errand *errand, struct errand_end *end);

#endif
