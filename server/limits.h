/*
 * limits.h: token buckets per address and per device, in a table of fixed size: whoever floods the
 * server shares a bucket with others at worst, and never makes it grow.
 */
#ifndef SERVER_LIMITS_H
#define SERVER_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

enum limit { LIMIT_OPEN, LIMIT_DEVICE, LIMIT_COUNT };

struct limits;

/** @open_calls_per_minute: logins and enrolments from one address. Returns NULL if memory ran out.
 */
struct limits *limits_new(unsigned int open_calls_per_minute);
void limits_free(struct limits *limits);

/** Takes one call from the bucket of @who. Returns false if it is empty. @now: Unix seconds. */
bool limits_take(struct limits *limits, enum limit limit, const char *who, int64_t now);

#endif
