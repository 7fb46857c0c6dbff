/* SPDX-License-Identifier: MIT */
/*
 * A guest's measurement: a chain of records (bulkhead/hypercall.h, struct bulkhead_measurement).
 * A page is hashed over several hypercalls; while that lasts nothing else is recorded.
 */
#ifndef BULKHEAD_CORE_MEASURE_H
#define BULKHEAD_CORE_MEASURE_H

#include "sha512.h"

struct measurement {
	uint8_t digest[BULKHEAD_MEASUREMENT_BYTES];
	uint64_t record_count;
	struct sha512 content; /* of the page being hashed */
	uint32_t hashed_bytes; /* of that page; 0: none */
};

/** Blocks that one hypercall hashes. */
#define MEASURE_STEP_BLOCKS 5u

void measure_start(struct measurement *measurement);

/** Records something small. @size_bytes: less than a block */
void measure_small(struct measurement *measurement, enum bulkhead_record kind, uint64_t where,
		   const void *content, size_t size_bytes);

/**
 * Hashes the next part of a page, and records it when all is hashed.
 * @page: the page as the hypervisor sees it; nobody else may write it until this has ended
 * Returns BULKHEAD_AGAIN until the record is made.
 */
MUST_USE enum bulkhead_error measure_page(struct measurement *measurement,
					  enum bulkhead_record kind, uint64_t where,
					  const void *page);

#endif
