/**
 * Building and reading messages of include/bulkhead/keyd.h. No I/O: what arrives is checked as a
 * whole before any field of it can be read.
 */
#ifndef AGENT_KEYD_WIRE_H
#define AGENT_KEYD_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include <bulkhead/keyd.h>

/** One field of a message that was read; points into the caller's buffer. */
struct keyd_value {
	const unsigned char *bytes;
	size_t size_bytes;
	bool present;
};

struct keyd_message {
	uint16_t call;
	uint32_t error;
	struct keyd_value field[KEYD_TAG_COUNT];
};

/** A message being built in `bytes`; `overflow` is sticky. */
struct keyd_writer {
	unsigned char bytes[KEYD_MESSAGE_MAX_BYTES];
	size_t size_bytes;
	bool overflow;
};

/**
 * Reads a whole message. `message` points into `bytes`, which must outlive it.
 * Returns 0, or -EBADMSG when any length, tag or reserved bit is off, or a tag repeats.
 */
int keyd_wire_parse(const unsigned char *bytes, size_t size_bytes, struct keyd_message *message);

/** Begins a message of `call` with `error` (0 in calls). */
void keyd_wire_begin(struct keyd_writer *writer, uint16_t call, uint32_t error);

/** Adds one field. What does not fit any more is remembered and makes keyd_wire_end() fail. */
void keyd_wire_add(struct keyd_writer *writer, enum keyd_tag tag, const void *bytes,
		   size_t size_bytes);

/** Adds a string without its terminating zero. */
void keyd_wire_add_text(struct keyd_writer *writer, enum keyd_tag tag, const char *text);

/** Completes the header. Returns 0 or -EMSGSIZE. */
int keyd_wire_end(struct keyd_writer *writer);

/**
 * Copies a text field of 1..capacity-1 bytes without control characters into `text`,
 * zero-terminated. Returns 0, -ENOENT if the field is absent, -EINVAL otherwise.
 */
int keyd_wire_text(const struct keyd_message *message, enum keyd_tag tag, char *text,
		   size_t capacity_bytes);

#endif
