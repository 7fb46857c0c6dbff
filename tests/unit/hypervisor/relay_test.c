/* SPDX-License-Identifier: MIT */
/*
 * The virtio relay and the virtqueue under it: what passes, what breaks whose queue, and that nothing else breaks.
 * A small driver fills a guest's ring; a small backend serves the relay area; both can lie.
 */
#include "fake_memory.h"
#include "relay_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GUEST_START 0x100000u
#define GUEST_BYTES (4u << 20)
#define QUEUE_SIZE  128u
#define DESC	    GUEST_START
#define AVAIL	    (GUEST_START + 0x1000)
#define USED	    (GUEST_START + 0x2000)
#define DATA	    (GUEST_START + 0x10000)

struct descriptor {
	uint64_t address;
	uint32_t size;
	uint16_t flags, next;
};

static uint8_t guest_bytes[GUEST_BYTES], area_bytes[RELAY_AREA_BYTES + 8192];
static struct memory guest = { guest_bytes, GUEST_START, sizeof(guest_bytes) };
static struct memory area = { area_bytes, 0, sizeof(area_bytes) };
static struct relay_queue relay;
static struct relay_effects effects;
static uint16_t backend_seen;
static bool is_disk; /* what the relay is told */

static struct descriptor *desc(unsigned int i)
{
	return (struct descriptor *)(guest_bytes + (DESC - GUEST_START)) + i;
}

static uint16_t *guest16(uint64_t address)
{
	return (uint16_t *)(guest_bytes + (address - GUEST_START));
}

static uint16_t *area16(uint32_t offset)
{
	return (uint16_t *)(area_bytes + 8192 + offset);
}

static uint32_t *used_entry(uint16_t index)
{
	return (uint32_t *)(guest_bytes + (USED - GUEST_START) + 4 + 8 * (index % QUEUE_SIZE));
}

static void offer(uint16_t head)
{
	uint16_t index = *guest16(AVAIL + 2);

	*guest16(AVAIL + 4 + 2 * (index % QUEUE_SIZE)) = head;
	*guest16(AVAIL + 2) = (uint16_t)(index + 1);
}

static void set_up(bool event_index)
{
	struct virtqueue queue;

	memset(guest_bytes, 0, sizeof(guest_bytes));
	memset(area_bytes, 0xee, sizeof(area_bytes));
	memset(&effects, 0, sizeof(effects));
	backend_seen = 0;
	assert_true(virtqueue_start(&queue, &guest, QUEUE_SIZE, DESC, AVAIL, USED, event_index));
	/* The queue's area lies at 8192, so that a write before it would be seen. */
	assert_true(relay_start(&relay, &queue, is_disk, &area, 8192));
}

static int set_up_plain(void **state)
{
	(void)state;
	set_up(false);
	return 0;
}

static void complete(uint32_t head, uint32_t size)
{
	uint16_t index = *area16(RELAY_USED_RING + 2);
	uint32_t *entry = (uint32_t *)(area_bytes + 8192 + RELAY_USED_RING + 4 + 8 * (index % RELAY_DESCRIPTORS));

	entry[0] = head;
	entry[1] = size;
	*area16(RELAY_USED_RING + 2) = (uint16_t)(index + 1);
}

/** Serves one request: writes into its writable part the complement of its readable part, repeated. */
static bool serve(void)
{
	uint8_t key[65536];
	uint32_t key_size = 0, written = 0;
	uint16_t head;

	if (backend_seen == *area16(RELAY_AVAILABLE_RING + 2))
		return false;
	head = *area16(RELAY_AVAILABLE_RING + 4 + 2 * (backend_seen++ % RELAY_DESCRIPTORS));
	for (uint16_t at = head;;) {
		struct descriptor d;

		memcpy(&d, area_bytes + 8192 + 16 * at, sizeof(d));
		assert_true(d.address >= 8192 + RELAY_PAYLOAD);
		assert_true(d.address + d.size <= 8192 + RELAY_AREA_BYTES);
		for (uint32_t i = 0; i < d.size; i++) {
			if (d.flags & 2)
				area_bytes[d.address + i] = (uint8_t)~key[written++ % (key_size ? key_size : 1)];
			else
				key[key_size++] = area_bytes[d.address + i];
		}
		if (!(d.flags & 1))
			break;
		at = d.next;
	}
	complete(head, written);
	return true;
}

static void forward(void)
{
	do {
		effects.more = false;
		relay_forward(&relay, 65536, &effects);
	} while (effects.more);
}

static void give_back(void)
{
	do {
		effects.more = false;
		relay_return(&relay, 65536, &effects);
	} while (effects.more);
}

static void payload_passes_both_ways(void **state)
{
	(void)state;
	*desc(0) = (struct descriptor){ DATA + 5, 16, 1, 7 };
	*desc(7) = (struct descriptor){ DATA + 0x1ff0, 10000, 1, 3 };
	*desc(3) = (struct descriptor){ DATA + 0x8001, 9000, 3, 9 };
	*desc(9) = (struct descriptor){ DATA + 0xc000, 1, 2, 0 };
	for (int i = 0; i < 16; i++)
		guest_bytes[DATA + 5 - GUEST_START + i] = (uint8_t)(i + 1);
	for (int i = 0; i < 10000; i++)
		guest_bytes[DATA + 0x1ff0 - GUEST_START + i] = (uint8_t)(i * 7);
	offer(0);
	forward();
	assert_true(effects.notify_backend);
	assert_int_equal(relay_in_flight(&relay), 1);
	assert_true(serve());
	give_back();
	assert_true(effects.interrupt_guest);
	assert_int_equal(*guest16(USED + 2), 1);
	assert_int_equal(used_entry(0)[0], 0);
	assert_int_equal(used_entry(0)[1], 9001);
	for (int i = 0; i < 9000; i++) {
		uint8_t key = i < 16 ? (uint8_t)(i + 1) : (uint8_t)((i - 16) * 7);

		assert_int_equal(guest_bytes[DATA + 0x8001 - GUEST_START + i], (uint8_t)~key);
	}
	assert_int_equal(guest_bytes[DATA + 0x8001 - GUEST_START + 9000], 0);
	assert_int_equal(relay_in_flight(&relay), 0);
	for (int i = 0; i < 8192; i++)
		assert_int_equal(area_bytes[i], 0xee);
}

static void indirect_tables_are_followed(void **state)
{
	struct descriptor *table = (struct descriptor *)(guest_bytes + (DATA - GUEST_START));

	(void)state;
	table[0] = (struct descriptor){ DATA + 0x1000, 4, 1, 2 };
	table[2] = (struct descriptor){ DATA + 0x2000, 4, 2, 0 };
	memcpy(guest_bytes + DATA + 0x1000 - GUEST_START, "abcd", 4);
	*desc(5) = (struct descriptor){ DATA, 48, 4, 0 };
	offer(5);
	forward();
	assert_true(serve());
	give_back();
	assert_int_equal(guest_bytes[DATA + 0x2000 - GUEST_START + 3], (uint8_t)~'d');
}

static void requests_wait_while_the_area_is_full(void **state)
{
	unsigned int served = 0;

	(void)state;
	/* Each takes 1 + 32 pages: seven fit, the eighth waits. */
	for (unsigned int i = 0; i < 20; i++) {
		*desc(2 * i) = (struct descriptor){ DATA + 64 * i, 8, 1, (uint16_t)(2 * i + 1) };
		*desc(2 * i + 1) = (struct descriptor){ DATA + 0x10000 + i * 0x20000, 0x20000, 2, 0 };
		memset(guest_bytes + DATA + 64 * i - GUEST_START, (int)i, 8);
		offer((uint16_t)(2 * i));
	}
	forward();
	assert_int_equal(relay_in_flight(&relay), 7);
	while (serve()) {
		served++;
		give_back();
		forward();
	}
	assert_int_equal(served, 20);
	assert_int_equal(*guest16(USED + 2), 20);
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(guest_bytes[DATA + 0x10000 - GUEST_START + i * 0x20000 + 0x1ffff], (uint8_t)~i);
	assert_false(effects.guest_broken || effects.backend_broken);
}

static void no_call_copies_more_than_its_budget(void **state)
{
	(void)state;
	*desc(0) = (struct descriptor){ DATA, 100000, 1, 1 };
	*desc(1) = (struct descriptor){ DATA + 0x40000, 100000, 2, 0 };
	offer(0);
	do {
		effects.more = false;
		fake_memory_copied = 0;
		relay_forward(&relay, 8192, &effects);
		assert_true(fake_memory_copied <= 8192);
	} while (effects.more);
	assert_int_equal(relay_in_flight(&relay), 1);
	complete(*area16(RELAY_AVAILABLE_RING + 4), 100000);
	do {
		effects.more = false;
		fake_memory_copied = 0;
		relay_return(&relay, 4096, &effects);
		assert_true(fake_memory_copied <= 4096);
	} while (effects.more);
	assert_int_equal(used_entry(0)[1], 100000);
}

static void a_driver_with_event_index_is_asked_to_notify_again(void **state)
{
	(void)state;
	set_up(true);
	for (uint16_t i = 0; i < 5; i++) {
		*desc(i) = (struct descriptor){ DATA + i * 0x1000, 512, 0, 0 };
		offer(i);
		forward();
		/* The available event, behind the used ring, names the entry that comes next. */
		assert_int_equal(*guest16(USED + 4 + 8 * QUEUE_SIZE), i + 1);
		assert_int_equal(relay_in_flight(&relay), i + 1);
	}
}

static void broken_guest_rings_stop_the_queue(void **state)
{
	static const struct {
		struct descriptor first, second;
	} bad[] = {
		{ { DATA, 8, 1, 1 }, { DATA, 8, 1, 0 } },		  /* a loop */
		{ { DATA, 8, 1, 200 }, { 0 } },				  /* next outside the ring */
		{ { 0, 8, 0, 0 }, { 0 } },				  /* outside memory */
		{ { GUEST_START + GUEST_BYTES - 4, 8, 0, 0 }, { 0 } },	  /* across its end */
		{ { UINT64_MAX - 3, 8, 0, 0 }, { 0 } },			  /* wraps */
		{ { DATA, 8, 3, 1 }, { DATA, 8, 0, 0 } },		  /* read after write */
		{ { DATA, 0xffffffff, 1, 1 }, { DATA, 0xffffffff, 0, 0 } }, /* sum wraps */
		{ { DATA, RELAY_DESCRIPTORS * 4096 + 1, 0, 0 }, { 0 } },  /* larger than the area */
		{ { DATA, 0, 0, 0 }, { 0 } },				  /* no memory at all */
		{ { DATA, 24, 4, 0 }, { 0 } },				  /* indirect: no multiple of 16 */
		{ { DATA, 0, 4, 0 }, { 0 } },				  /* indirect: empty */
		{ { DATA, 16 * 129, 4, 0 }, { 0 } },			  /* indirect: too long */
		{ { 1ull << 60, 16, 4, 0 }, { 0 } },			  /* indirect: nowhere */
		{ { DATA, 16, 5, 1 }, { 0 } },				  /* indirect with next */
		{ { DESC + 16, 16, 4, 0 }, { DATA, 16, 4, 0 } },	  /* indirect in indirect */
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set_up(false);
		*desc(0) = bad[i].first;
		*desc(1) = bad[i].second;
		offer(0);
		forward();
		assert_true(effects.guest_broken);
		assert_false(effects.backend_broken);
		assert_int_equal(relay_in_flight(&relay), 0);
		assert_int_equal(*guest16(USED + 2), 0);
	}
	set_up(false);
	*guest16(AVAIL + 2) = QUEUE_SIZE + 1;
	forward();
	assert_true(effects.guest_broken);
	set_up(false);
	offer(QUEUE_SIZE);
	forward();
	assert_true(effects.guest_broken);
}

/* A chain of @count descriptors from the ring's last to its first; all but the chain's last are empty. */
static void make_backward_chain(unsigned int count, uint32_t size_bytes, uint16_t flags)
{
	for (unsigned int i = 0; i < count; i++)
		*desc(count - 1 - i) = (struct descriptor){ DATA, i + 1 == count ? size_bytes : 0,
							    i + 1 == count ? flags : 1, (uint16_t)(count - 2 - i) };
}

static void chains_may_jump_about(void **state)
{
	(void)state;
	set_up(false);
	make_backward_chain(QUEUE_SIZE, 8, 0);
	offer(QUEUE_SIZE - 1);
	forward();
	assert_false(effects.guest_broken);
	assert_int_equal(relay_in_flight(&relay), 1);
}

static void descriptors_without_memory_are_work_too(void **state)
{
	(void)state;
	set_up(false);
	make_backward_chain(QUEUE_SIZE, 8, 0);
	for (unsigned int i = 0; i < 10; i++)
		offer(QUEUE_SIZE - 1);
	memset(&effects, 0, sizeof(effects));
	relay_forward(&relay, 65536, &effects);
	assert_true(effects.more);
	assert_in_range(relay_in_flight(&relay), 1, 2);
	forward();
	assert_int_equal(relay_in_flight(&relay), 10);
}

static void a_chain_is_no_longer_than_a_queue_wherever_it_lies(void **state)
{
	struct descriptor *table = (struct descriptor *)(guest_bytes + (DATA - GUEST_START));

	(void)state;
	for (unsigned int inner = 63; inner <= 66; inner++) {
		set_up(false);
		make_backward_chain(64, 16 * inner, 4);
		for (unsigned int i = 0; i < inner; i++)
			table[i] = (struct descriptor){ DATA + 0x1000, 8, i + 1 < inner, (uint16_t)(i + 1) };
		offer(63);
		forward();
		assert_int_equal(effects.guest_broken, inner == 66);
	}
}

static void put_one_in_flight(void)
{
	set_up(false);
	*desc(0) = (struct descriptor){ DATA, 8, 1, 1 };
	*desc(1) = (struct descriptor){ DATA + 64, 8, 2, 0 };
	offer(0);
	forward();
	assert_int_equal(relay_in_flight(&relay), 1);
}

static void lying_backends_break_only_their_queue(void **state)
{
	uint16_t head;

	(void)state;
	put_one_in_flight();
	head = *area16(RELAY_AVAILABLE_RING + 4);
	complete((uint32_t)head + 1, 0); /* a descriptor within a chain, not its head */
	give_back();
	assert_true(effects.backend_broken);

	put_one_in_flight();
	complete(0x10000u + head, 0); /* right in the low bits only */
	give_back();
	assert_true(effects.backend_broken);

	put_one_in_flight();
	complete(head, 9); /* more than the guest can take */
	give_back();
	assert_true(effects.backend_broken);
	assert_int_equal(*guest16(USED + 2), 0);

	put_one_in_flight();
	complete(head, 8);
	complete(head, 8); /* twice */
	give_back();
	assert_true(effects.backend_broken);
	assert_int_equal(*guest16(USED + 2), 1);
	assert_false(effects.guest_broken);
}

static void what_a_backend_writes_into_the_tables_is_not_believed(void **state)
{
	(void)state;
	put_one_in_flight();
	/* Points every descriptor at the guest's secret, with a huge length, and moves the available index. */
	for (unsigned int i = 0; i < RELAY_DESCRIPTORS; i++)
		memcpy(area_bytes + 8192 + 16 * i, &(struct descriptor){ DATA + 0x5000, 0x10000, 3, 1 }, 16);
	*area16(RELAY_AVAILABLE_RING + 2) = 77;
	memset(area_bytes + 8192 + RELAY_PAYLOAD + RELAY_PAGE_BYTES, 0x42, 8);
	complete(0, 8);
	give_back();
	assert_false(effects.backend_broken);
	assert_int_equal(guest_bytes[DATA + 64 - GUEST_START + 7], 0x42);
	assert_int_equal(guest_bytes[DATA + 64 - GUEST_START + 8], 0);
	*desc(2) = (struct descriptor){ DATA, 8, 0, 0 };
	offer(2);
	forward();
	assert_int_equal(*area16(RELAY_AVAILABLE_RING + 2), 2);
}

static void interrupts_follow_the_drivers_wish(void **state)
{
	(void)state;
	put_one_in_flight();
	*guest16(AVAIL) = 1; /* no interrupt */
	complete(0, 0);
	give_back();
	assert_false(effects.interrupt_guest);

	set_up(true);
	*desc(0) = (struct descriptor){ DATA, 8, 0, 0 };
	*guest16(AVAIL + 4 + 2 * QUEUE_SIZE) = 1; /* used_event: tell me when entry 1 is used */
	offer(0);
	offer(0);
	forward();
	complete(*area16(RELAY_AVAILABLE_RING + 4), 0);
	give_back();
	assert_false(effects.interrupt_guest);
	complete(*area16(RELAY_AVAILABLE_RING + 6), 0);
	give_back();
	assert_true(effects.interrupt_guest);
}

static void notifications_can_be_refused_without_losing_one(void **state)
{
	(void)state;
	assert_false(virtqueue_want_notify(&relay.guest, false));
	assert_int_equal(*guest16(USED), 1);
	*desc(0) = (struct descriptor){ DATA, 8, 0, 0 };
	offer(0);
	assert_true(virtqueue_want_notify(&relay.guest, true));
	assert_int_equal(*guest16(USED), 0);
	set_up(true);
	assert_false(virtqueue_want_notify(&relay.guest, true));
	assert_int_equal(*guest16(USED + 4 + 8 * QUEUE_SIZE), 0);
	assert_false(virtqueue_want_notify(&relay.guest, false));
	assert_int_equal(*guest16(USED + 4 + 8 * QUEUE_SIZE), 0xffff);
}

static void queues_with_bad_addresses_do_not_start(void **state)
{
	struct virtqueue queue;

	(void)state;
	assert_false(virtqueue_start(&queue, &guest, 0, DESC, AVAIL, USED, false));
	assert_false(virtqueue_start(&queue, &guest, 100, DESC, AVAIL, USED, false));
	assert_false(virtqueue_start(&queue, &guest, 256, DESC, AVAIL, USED, false));
	assert_false(virtqueue_start(&queue, &guest, 16, DESC + 8, AVAIL, USED, false));
	assert_false(virtqueue_start(&queue, &guest, 16, DESC, AVAIL + 1, USED, false));
	assert_false(virtqueue_start(&queue, &guest, 16, DESC, AVAIL, USED + 2, false));
	assert_false(virtqueue_start(&queue, &guest, 16, 1ull << 52, AVAIL, USED, false));
	assert_false(virtqueue_start(&queue, &guest, 16, DESC, 1ull << 52, USED, false));
	assert_false(virtqueue_start(&queue, &guest, 16, DESC, AVAIL, 1ull << 52, false));
	/* Rings outside memory start, and break at the first look. */
	assert_true(virtqueue_start(&queue, &guest, 16, DESC, 0, USED, false));
	assert_int_equal(virtqueue_take(&queue, &relay.chain), VIRTQUEUE_BROKEN);
	assert_false(virtqueue_complete(&queue, 0, 0, &effects.interrupt_guest));
	queue = (struct virtqueue){ 0 }; /* as a device's reset leaves it */
	assert_int_equal(virtqueue_take(&queue, &relay.chain), VIRTQUEUE_EMPTY);
	assert_false(virtqueue_want_notify(&queue, true));
	/* An area that is not all there is refused. */
	area.size_bytes -= 8192 + 1;
	assert_true(virtqueue_start(&queue, &guest, 16, DESC, AVAIL, USED, false));
	assert_false(relay_start(&relay, &queue, false, &area, 8192));
	area.size_bytes += 8192 + 1;
	relay_stop(&relay);
	forward();
	give_back();
}

/** A thousand random requests, served in random order with random budgets, against a copy of the expected result. */
static void random_traffic_arrives_unchanged(void **state)
{
	uint16_t waiting[QUEUE_SIZE];
	unsigned int waiting_count = 0, offered = 0, done = 0;
	uint16_t used = 0;
	bool slot_used[QUEUE_SIZE / 2] = { false };

	(void)state;
	srand(1);
	while (done < 1000) {
		unsigned int slot = (unsigned int)rand() % (QUEUE_SIZE / 2);

		if (offered < 1000 && !slot_used[slot]) {
			uint32_t size = 1 + (uint32_t)rand() % 12000;

			*desc(2 * slot) = (struct descriptor){ DATA + slot * 0x8000, size, 1,
							       (uint16_t)(2 * slot + 1) };
			*desc(2 * slot + 1) = (struct descriptor){ DATA + slot * 0x8000 + 0x4000, size, 2, 0 };
			for (uint32_t i = 0; i < size; i++)
				guest_bytes[DATA - GUEST_START + slot * 0x8000 + i] = (uint8_t)rand();
			slot_used[slot] = true;
			offer((uint16_t)(2 * slot));
			offered++;
		}
		relay_forward(&relay, 4096 + (uint32_t)rand() % 20000, &effects);
		while (backend_seen != *area16(RELAY_AVAILABLE_RING + 2))
			waiting[waiting_count++] = *area16(RELAY_AVAILABLE_RING + 4 +
							   2 * (backend_seen++ % RELAY_DESCRIPTORS));
		if (waiting_count && rand() % 2) {
			unsigned int pick = (unsigned int)rand() % waiting_count;
			uint16_t head = waiting[pick];

			waiting[pick] = waiting[--waiting_count];
			*area16(RELAY_AVAILABLE_RING + 4 + 2 * ((uint16_t)(backend_seen - 1) %
								RELAY_DESCRIPTORS)) = head;
			backend_seen--;
			assert_true(serve());
		}
		relay_return(&relay, 4096 + (uint32_t)rand() % 20000, &effects);
		for (; used != *guest16(USED + 2); used++, done++) {
			uint32_t head = used_entry(used)[0], size = desc(head)->size;
			const uint8_t *sent = guest_bytes + (desc(head)->address - GUEST_START);

			assert_int_equal(used_entry(used)[1], size);
			for (uint32_t i = 0; i < size; i++)
				assert_int_equal(sent[0x4000 + i], (uint8_t)~sent[i]);
			slot_used[head / 2] = false;
		}
		assert_false(effects.guest_broken || effects.backend_broken);
	}
	assert_int_equal(relay_in_flight(&relay), 0);
	assert_int_equal(relay.free_count, RELAY_DESCRIPTORS);
}

/* A disk behind the relay, of so many sectors that one request can ask for more than the area holds. */
#define LARGE	     (3u << 20)
#define FIRST_SECTOR 100u

static uint8_t disk[LARGE + (FIRST_SECTOR + 1) * 512];
static unsigned int parts, failing_part;
static uint32_t short_by;

static int set_up_disk(void **state)
{
	(void)state;
	is_disk = true;
	set_up(false);
	is_disk = false;
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
		memcpy(&d, area_bytes + 8192 + 16 * next, sizeof(d));
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
	set_up(false);
	offer_large(0, 1);
	forward();
	assert_true(effects.guest_broken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(payload_passes_both_ways, set_up_plain),
		cmocka_unit_test_setup(indirect_tables_are_followed, set_up_plain),
		cmocka_unit_test_setup(requests_wait_while_the_area_is_full, set_up_plain),
		cmocka_unit_test(a_driver_with_event_index_is_asked_to_notify_again),
		cmocka_unit_test_setup(no_call_copies_more_than_its_budget, set_up_plain),
		cmocka_unit_test(broken_guest_rings_stop_the_queue),
		cmocka_unit_test(chains_may_jump_about),
		cmocka_unit_test(descriptors_without_memory_are_work_too),
		cmocka_unit_test(a_chain_is_no_longer_than_a_queue_wherever_it_lies),
		cmocka_unit_test(lying_backends_break_only_their_queue),
		cmocka_unit_test(what_a_backend_writes_into_the_tables_is_not_believed),
		cmocka_unit_test(interrupts_follow_the_drivers_wish),
		cmocka_unit_test_setup(notifications_can_be_refused_without_losing_one, set_up_plain),
		cmocka_unit_test_setup(queues_with_bad_addresses_do_not_start, set_up_plain),
		cmocka_unit_test_setup(random_traffic_arrives_unchanged, set_up_plain),
		cmocka_unit_test_setup(a_large_read_comes_in_parts_and_is_one_to_the_guest, set_up_disk),
		cmocka_unit_test_setup(a_large_write_goes_out_in_parts, set_up_disk),
		cmocka_unit_test_setup(a_part_that_fails_ends_the_request, set_up_disk),
		cmocka_unit_test_setup(a_part_that_is_not_filled_is_an_error_to_the_guest, set_up_disk),
		cmocka_unit_test_setup(requests_behind_a_large_one_wait_for_it, set_up_disk),
		cmocka_unit_test(only_a_disks_whole_reads_and_writes_are_split),
	};

	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
