/* SPDX-License-Identifier: MIT */
/*
 * What a guest will measure as; see launch.h. The chain of records is the hypervisor's (hypervisor/core/measure.c), and
 * a unit test holds the two together.
 */
#include "launch.h"

#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define PAGE_BYTES BULKHEAD_PAGE_BYTES

void launch_state_reset(struct bulkhead_vcpu_state *state)
{
	static const struct bulkhead_segment data = { 0, 0x93, 0xffff, 0 };

	*state = (struct bulkhead_vcpu_state){
		.rip = 0xfff0,
		.rflags = 2,
		.es = data,
		.ss = data,
		.ds = data,
		.fs = data,
		.gs = data,
		.cs = { 0xf000, 0x9b, 0xffff, 0xffff0000 },
		.ldtr = { 0, 0x82, 0xffff, 0 },
		.tr = { 0, 0x8b, 0xffff, 0 },
		.gdtr = { .limit = 0xffff },
		.idtr = { .limit = 0xffff },
		.cr0 = 0x60000010,
		.pat = 0x0007040600070406ull,
	};
}

static bool holds_something(const uint8_t *page)
{
	for (unsigned int i = 0; i < PAGE_BYTES; i += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, page + i, sizeof(word));
		if (word)
			return true;
	}
	return false;
}

/** The next stretch from @from on that may hold something; without a sparse file that is all the rest. */
static bool next_stretch(const struct launch_range *range, uint64_t from, uint64_t *start, uint64_t *end)
{
	off_t data, hole;

	*start = from;
	*end = range->size_bytes;
	if (from >= range->size_bytes)
		return false;
	if (range->fd < 0)
		return true;
	data = lseek(range->fd, (off_t)(range->fd_offset + from), SEEK_DATA);
	if (data < 0 || (uint64_t)data >= range->fd_offset + range->size_bytes)
		return false;
	hole = lseek(range->fd, data, SEEK_HOLE);
	*start = ((uint64_t)data - range->fd_offset) & ~(uint64_t)(PAGE_BYTES - 1);
	if (hole > 0 && (uint64_t)hole < range->fd_offset + range->size_bytes)
		*end = (uint64_t)hole - range->fd_offset;
	return true;
}

int launch_each_run(const struct launch *launch,
		    int (*visit)(void *context, uint64_t address, const uint8_t *bytes, uint64_t size_bytes),
		    void *context)
{
	for (unsigned int i = 0; i < launch->range_count; i++) {
		const struct launch_range *range = &launch->ranges[i];
		uint64_t at = 0, end, run;

		while (next_stretch(range, at, &at, &end)) {
			while (at < end) {
				int status;

				for (run = at; run < end && holds_something(range->bytes + run); run += PAGE_BYTES)
					;
				if (run == at) {
					at += PAGE_BYTES;
					continue;
				}
				status = visit(context, range->address + at, range->bytes + at, run - at);
				if (status)
					return status;
				at = run;
			}
		}
	}
	return 0;
}

/** The first 32 bytes of SHA-512. */
static void hash(uint8_t digest[32], const void *bytes, size_t size_bytes)
{
	uint8_t whole[crypto_hash_sha512_BYTES];

	crypto_hash_sha512(whole, bytes, size_bytes);
	memcpy(digest, whole, 32);
}

static void add_record(uint8_t digest[32], uint64_t kind, uint64_t where, const void *content, size_t size_bytes)
{
	uint8_t record[32 + 8 + 8 + 32];

	memcpy(record, digest, 32);
	for (unsigned int i = 0; i < 8; i++) {
		record[32 + i] = (uint8_t)(kind >> 8 * i);
		record[40 + i] = (uint8_t)(where >> 8 * i);
	}
	hash(record + 48, content, size_bytes);
	hash(digest, record, sizeof(record));
}

static void add_number(uint8_t digest[32], uint64_t kind, uint64_t where, uint64_t number)
{
	uint8_t bytes[8];

	for (unsigned int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(number >> 8 * i);
	add_record(digest, kind, where, bytes, sizeof(bytes));
}

static int add_pages(void *context, uint64_t address, const uint8_t *bytes, uint64_t size_bytes)
{
	for (uint64_t at = 0; at < size_bytes; at += PAGE_BYTES)
		add_record(context, BULKHEAD_RECORD_PAGE, address + at, bytes + at, PAGE_BYTES);
	return 0;
}

int launch_measure(const struct launch *launch, uint8_t digest[BULKHEAD_MEASUREMENT_BYTES])
{
	int status;

	if (sodium_init() < 0)
		return -EIO;
	memset(digest, 0, BULKHEAD_MEASUREMENT_BYTES);
	add_record(digest, BULKHEAD_RECORD_GUEST, launch->flags, "", 0);
	add_record(digest, BULKHEAD_RECORD_PLATFORM, 0, "", 0);
	for (unsigned int i = 0; i < launch->range_count; i++)
		add_number(digest, BULKHEAD_RECORD_RANGE, launch->ranges[i].address,
			   launch->ranges[i].size_bytes / PAGE_BYTES);
	status = launch->flags & BULKHEAD_GUEST_PROTECTED ? launch_each_run(launch, add_pages, digest) : 0;
	if (status)
		return status;
	if (launch->blob_bytes)
		add_number(digest, BULKHEAD_RECORD_BLOB, launch->blob_address, launch->blob_bytes);
	for (unsigned int i = 0; i < launch->device_count; i++)
		add_record(digest, BULKHEAD_RECORD_DEVICE, launch->devices[i].slot, &launch->devices[i].description,
			   sizeof(launch->devices[i].description));
	for (unsigned int i = 0; i < launch->processors; i++) {
		uint8_t page[PAGE_BYTES] = { 0 };
		struct bulkhead_vcpu_state state;

		launch_state_reset(&state);
		memcpy(page, i == 0 ? &launch->first : &state, sizeof(state));
		add_record(digest, BULKHEAD_RECORD_VCPU, i, page, sizeof(page));
	}
	return 0;
}
