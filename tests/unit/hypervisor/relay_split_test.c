/* SPDX-License-Identifier: MIT */
/*
 * A disk's request that asks for more than the relay area holds: it goes out in parts and is one to the guest.
 */
#include "relay_fixture.h"

/* A disk behind the relay, of so many sectors that one request can ask for more than the area holds. */
#define LARGE	     (3u << 20)
#define FIRST_SECTOR 100u

static uint8_t disk[LARGE + (FIRST_SECTOR + 1) * 512];
static unsigned int parts, failing_part;
static uint32_t short_by;

static int set_up_disk(void **state)
{
	(void)state;
	set_up(false, true);
	parts = failing_part = short_by = 0;
	for (uint32_t i = 0; i < sizeof(disk); i++)
		disk[i] = (uint8_t)(i * 31 + (i >> 9));
	return 0;
}

/** Serves one request as a disk does. */
static bool serve_disk(void)
{
	struct relay_disk_header header;
	uint32_t at = 0, written = 0;
	struct descriptor d;
	uint16_t head, next;

	if (backend_seen == *area16(RELAY_AVAILABLE_RING + 2))
		return false;
	head = next = *area16(RELAY_AVAILABLE_RING + 4 + 2 * (backend_seen++ % RELAY_DESCRIPTORS));
	parts++;
	for (bool first = true;; first = false) {
		memcpy(&d, area_bytes + AREA + 16 * next, sizeof(d));
		if (first) {
			assert_int_equal(d.size, sizeof(header));
			memcpy(&header, area_bytes + d.address, sizeof(header));
		} else if (!(d.flags & 1)) {
			break;
		} else if (header.type == 0) {
			assert_true(d.flags & 2);
			memcpy(area_bytes + d.address, disk + header.sector * 512 + at, d.size);
			written += d.size;
		} else {
			memcpy(disk + header.sector * 512 + at, area_bytes + d.address, d.size);
		}
		at += first ? 0 : d.size;
		next = d.next;
	}
	area_bytes[d.address] = parts == failing_part;
	complete(head, written + 1 - short_by);
	return true;
}

/** Makes a request of LARGE bytes at DATA in `segments` pieces, with its header and status before them. */
static void offer_large(uint32_t type, unsigned int segments)
{
	const struct relay_disk_header header = { type, 0, FIRST_SECTOR };
	uint32_t piece = LARGE / segments;

	memcpy(guest_bytes + DATA - 64 - GUEST_START, &header, sizeof(header));
	guest_bytes[DATA - 32 - GUEST_START] = 0xff;
	*desc(0) = (struct descriptor){ DATA - 64, 16, 1, 1 };
	for (unsigned int i = 0; i < segments; i++)
		*desc(1 + i) = (struct descriptor){ DATA + i * piece, i + 1 < segments ? piece : LARGE - i * piece,
						    (uint16_t)(type ? 1 : 3), (uint16_t)(2 + i) };
	*desc(1 + segments) = (struct descriptor){ DATA - 32, 1, 2, 0 };
	offer(0);
}

static void work_to_the_end(void)
{
	forward();
	while (serve_disk()) {
		assert_int_equal(*guest16(USED + 2), 0);
		give_back();
		forward();
	}
}

static void a_large_read_comes_in_parts_and_is_one_to_the_guest(void **state)
{
	(void)state;
	offer_large(0, 1);
	work_to_the_end();
	assert_int_equal(parts, LARGE / RELAY_SPLIT_BYTES);
	assert_int_equal(*guest16(USED + 2), 1);
	assert_int_equal(used_entry(0)[0], 0);
	assert_int_equal(used_entry(0)[1], LARGE + 1);
	assert_int_equal(guest_bytes[DATA - 32 - GUEST_START], 0);
	assert_memory_equal(guest_bytes + DATA - GUEST_START, disk + FIRST_SECTOR * 512, LARGE);
	assert_true(effects.interrupt_guest);
	assert_false(effects.guest_broken || effects.backend_broken);
	assert_int_equal(relay.free_count, RELAY_DESCRIPTORS);
}

static void a_large_write_goes_out_in_parts(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < LARGE; i++)
		guest_bytes[DATA - GUEST_START + i] = (uint8_t)(i * 13 + (i >> 11));
	offer_large(1, 100); /* segments that end anywhere */
	work_to_the_end();
	assert_int_equal(*guest16(USED + 2), 1);
	assert_int_equal(used_entry(0)[1], 1);
	assert_int_equal(guest_bytes[DATA - 32 - GUEST_START], 0);
	assert_memory_equal(guest_bytes + DATA - GUEST_START, disk + FIRST_SECTOR * 512, LARGE);
}

static void a_part_that_fails_ends_the_request(void **state)
{
	(void)state;
	failing_part = 2;
	offer_large(0, 1);
	work_to_the_end();
	assert_int_equal(parts, 2);
	assert_int_equal(*guest16(USED + 2), 1);
	assert_int_equal(guest_bytes[DATA - 32 - GUEST_START], 1);
	/* The next one is served again. */
	*guest16(USED + 2) = relay.guest.used_written = 0;
	offer_large(0, 1);
	work_to_the_end();
	assert_int_equal(guest_bytes[DATA - 32 - GUEST_START], 0);
}

static void a_part_that_is_not_filled_is_an_error_to_the_guest(void **state)
{
	(void)state;
	short_by = 1; /* the status, for one, did not come */
	offer_large(0, 1);
	work_to_the_end();
	assert_int_equal(parts, 1);
	assert_int_equal(guest_bytes[DATA - 32 - GUEST_START], 1);
}

static void requests_behind_a_large_one_wait_for_it(void **state)
{
	const struct relay_disk_header header = { 0, 0, 3 };

	(void)state;
	offer_large(0, 1);
	memcpy(guest_bytes + DATA - 128 - GUEST_START, &header, sizeof(header));
	*desc(10) = (struct descriptor){ DATA - 128, 16, 1, 11 };
	*desc(11) = (struct descriptor){ DATA + LARGE, 512, 3, 12 };
	*desc(12) = (struct descriptor){ DATA - 96, 1, 2, 0 };
	offer(10);
	forward();
	for (unsigned int i = 0; i < LARGE / RELAY_SPLIT_BYTES; i++) {
		assert_int_equal(relay_in_flight(&relay), 1);
		assert_true(serve_disk());
		give_back();
		forward();
	}
	assert_int_equal(*guest16(USED + 2), 1);
	assert_true(serve_disk());
	give_back();
	assert_int_equal(used_entry(1)[0], 10);
	assert_memory_equal(guest_bytes + DATA + LARGE - GUEST_START, disk + 3 * 512, 512);
}

static void only_a_disks_whole_reads_and_writes_are_split(void **state)
{
	/* type, header bytes, data bytes, bytes of the status */
	static const uint32_t wrong[][4] = {
		{ 4, 16, LARGE, 1 }, { 0, 15, LARGE, 1 }, { 0, 16, LARGE + 1, 1 }, { 0, 16, LARGE, 2 },
	};

	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		set_up_disk(state);
		offer_large(wrong[i][0], 1);
		desc(0)->size = wrong[i][1];
		desc(1)->size = wrong[i][2];
		desc(1)->flags = 3;
		desc(2)->size = wrong[i][3];
		forward();
		assert_true(effects.guest_broken);
		assert_int_equal(relay_in_flight(&relay), 0);
	}
	/* The device of another kind splits nothing. */
	set_up(false, false);
	offer_large(0, 1);
	forward();
	assert_true(effects.guest_broken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_large_read_comes_in_parts_and_is_one_to_the_guest, set_up_disk),
		cmocka_unit_test_setup(a_large_write_goes_out_in_parts, set_up_disk),
		cmocka_unit_test_setup(a_part_that_fails_ends_the_request, set_up_disk),
		cmocka_unit_test_setup(a_part_that_is_not_filled_is_an_error_to_the_guest, set_up_disk),
		cmocka_unit_test_setup(requests_behind_a_large_one_wait_for_it, set_up_disk),
		cmocka_unit_test(only_a_disks_whole_reads_and_writes_are_split),
	};

	return cmocka_run_group_tests_name("relay-split", tests, NULL, NULL);
}
