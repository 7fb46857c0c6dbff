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

/* digest = SHA-256(digest || kind || where || SHA-256(content)). */
static void add_record(struct measurement *measurement, enum bulkhead_record kind, uint64_t where,
		       const uint8_t *content_digest)
{
	uint8_t record[SHA256_BYTES + 8 + 8 + SHA256_BYTES];
	struct sha256 hash;

	for (unsigned int i = 0; i < SHA256_BYTES; i++) {
		record[i] = measurement->digest[i];
		record[SHA256_BYTES + 16 + i] = content_digest[i];
	}
	put_number(record + SHA256_BYTES, kind);
	put_number(record + SHA256_BYTES + 8, where);
	sha256_start(&hash);
	sha256_blocks(&hash, record, 1);
	sha256_end(&hash, record + SHA256_BLOCK_BYTES, sizeof(record) - SHA256_BLOCK_BYTES,
		   measurement->digest);
	measurement->record_count++;
}

void measure_small(struct measurement *measurement, enum bulkhead_record kind, uint64_t where,
		   const void *content, size_t size_bytes)
{
	uint8_t digest[SHA256_BYTES];
	struct sha256 hash;

	sha256_start(&hash);
	sha256_end(&hash, content, size_bytes, digest);
	add_record(measurement, kind, where, digest);
}

enum bulkhead_error measure_page(struct measurement *measurement, enum bulkhead_record kind,
				 uint64_t where, const void *page)
{
	uint32_t left = (BULKHEAD_PAGE_BYTES - measurement->hashed_bytes) / SHA256_BLOCK_BYTES;
	uint32_t block_count = left < MEASURE_STEP_BLOCKS ? left : MEASURE_STEP_BLOCKS;
	uint8_t digest[SHA256_BYTES];

	if (measurement->hashed_bytes == 0)
		sha256_start(&measurement->content);
	if (block_count > 0) {
		sha256_blocks(&measurement->content, (const uint8_t *)page + measurement->hashed_bytes, block_count);
		measurement->hashed_bytes += block_count * SHA256_BLOCK_BYTES;
		return BULKHEAD_AGAIN;
	}
	sha256_end(&measurement->content, NULL, 0, digest);
	measurement->hashed_bytes = 0;
	add_record(measurement, kind, where, digest);
	return BULKHEAD_OK;
}
