/* SPDX-License-Identifier: MIT */
/*
 * The chain of records that is a guest's measurement.
 */
#include "measure.h"

void measure_start(struct measurement *measurement)
{
	*measurement = (struct measurement){ 0 };
}

static void put_number(uint8_t *bytes, uint64_t number)
{
	for (unsigned int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(number >> (8 * i));
}

/* digest = H(digest || kind || where || H(content)), H being the first 32 bytes of SHA-512. */
static void add_record(struct measurement *measurement, enum bulkhead_record kind, uint64_t where,
		       const uint8_t *content_digest)
{
	uint8_t record[BULKHEAD_MEASUREMENT_BYTES + 8 + 8 + BULKHEAD_MEASUREMENT_BYTES];
	struct sha512 hash;

	static_assert(sizeof(record) < SHA512_BLOCK_BYTES, "hashed as what is left");
	for (unsigned int i = 0; i < BULKHEAD_MEASUREMENT_BYTES; i++) {
		record[i] = measurement->digest[i];
		record[BULKHEAD_MEASUREMENT_BYTES + 16 + i] = content_digest[i];
	}
	put_number(record + BULKHEAD_MEASUREMENT_BYTES, kind);
	put_number(record + BULKHEAD_MEASUREMENT_BYTES + 8, where);
	sha512_start(&hash);
	sha512_end(&hash, record, sizeof(record), measurement->digest, BULKHEAD_MEASUREMENT_BYTES);
	measurement->record_count++;
}

void measure_small(struct measurement *measurement, enum bulkhead_record kind, uint64_t where,
		   const void *content, size_t size_bytes)
{
	uint8_t digest[BULKHEAD_MEASUREMENT_BYTES];
	struct sha512 hash;

	sha512_start(&hash);
	sha512_end(&hash, content, size_bytes, digest, sizeof(digest));
	add_record(measurement, kind, where, digest);
}

#define LAST_STEP_BLOCKS (BULKHEAD_PAGE_BYTES / SHA512_BLOCK_BYTES % MEASURE_STEP_BLOCKS)
static_assert(LAST_STEP_BLOCKS > 0 && LAST_STEP_BLOCKS + 2 <= MEASURE_STEP_BLOCKS,
	      "a page's last step has room for the blocks that end its hash and its record");

enum bulkhead_error measure_page(struct measurement *measurement, enum bulkhead_record kind,
				 uint64_t where, const void *page)
{
	const uint8_t *rest = (const uint8_t *)page + measurement->hashed_bytes;
	uint32_t left = (BULKHEAD_PAGE_BYTES - measurement->hashed_bytes) / SHA512_BLOCK_BYTES;
	uint8_t digest[BULKHEAD_MEASUREMENT_BYTES];

	if (measurement->hashed_bytes == 0)
		sha512_start(&measurement->content);
	if (left > MEASURE_STEP_BLOCKS) {
		sha512_blocks(&measurement->content, rest, MEASURE_STEP_BLOCKS);
		measurement->hashed_bytes += MEASURE_STEP_BLOCKS * SHA512_BLOCK_BYTES;
		return BULKHEAD_AGAIN;
	}
	sha512_blocks(&measurement->content, rest, left);
	sha512_end(&measurement->content, NULL, 0, digest, sizeof(digest));
	measurement->hashed_bytes = 0;
	add_record(measurement, kind, where, digest);
	return BULKHEAD_OK;
}
