/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's log: a ring of text that the service domain can read (LOG_READ) and that the
 * early console shows. Lines are "<level> subject: text\n". The oldest text is overwritten; positions
 * count bytes since start, so a reader knows what it missed.
 */
#ifndef BULKHEAD_CORE_LOG_H
#define BULKHEAD_CORE_LOG_H

#include "arch.h"

#define LOG_RING_BYTES 32768u

enum log_level {
	LOG_ERROR,
	LOG_WARNING,
	LOG_INFO,
	LOG_DEBUG,
};

struct log {
	struct lock lock;
	enum log_level level; /* lines above it are dropped */
	uint64_t written;     /* bytes since start */
	char ring[LOG_RING_BYTES];
};

/** Sets what is worth keeping. At start it is errors only. */
void log_set_level(struct log *log, enum log_level level);

/**
 * Writes one line.
 * @subject: part that speaks ("svm", "iommu")
 * @format: text with %s (const char *), %u (unsigned int), %x (unsigned int, hexadecimal),
 *	%lu and %lx (unsigned long, 64 bits), %%. Anything else is printed as it stands.
 */
void log_line(struct log *log, enum log_level level, const char *subject, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/** Copies text from a position on (see struct bulkhead_log); returns the position after it. */
uint64_t log_read(struct log *log, uint64_t position, struct bulkhead_log *answer);

#endif
