/* SPDX-License-Identifier: MIT */
/*
 * The virtio relay and the virtqueue under it: what passes, what breaks whose queue, and that nothing else breaks. Driver
 * and backend can both lie. Requests of a disk that go out in parts: relay_split_test.c.
 */
#include "relay_fixture.h"

static int set_up_plain(void **state)
{
	(void)state;
	set_up(false, false);
	return 0;
}

/** How many descriptors the next request has for the backend. */
static unsigned int descriptors_of_next(void)
{
	uint16_t at = *area16(RELAY_AVAILABLE_RING + 4 + 2 * (backend_seen % RELAY_DESCRIPTORS));
	unsigned int count = 1;
	struct descriptor d;

	for (;; count++) {
		memcpy(&d, area_bytes + AREA + 16 * at, sizeof(d));
		if (!(d.flags & 1))
			return count;
		at = d.next;
	}
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

		memcpy(&d, area_bytes + AREA + 16 * at, sizeof(d));
		assert_true(d.address >= AREA + RELAY_PAYLOAD);
		assert_true(d.address + d.size <= AREA + RELAY_AREA_BYTES);
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
	for (unsigned int i = 0; i < AREA; i++)
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

/* The status of a disk's request stays one of its own, whatever lies before it. */
static void whole_pages_in_a_row_go_out_as_one_descriptor(void **state)
{
	(void)state;
	*desc(0) = (struct descriptor){ DATA, 16, 1, 1 };
	*desc(1) = (struct descriptor){ DATA + 0x1000, 0x6000, 1, 2 };
	*desc(2) = (struct descriptor){ DATA + 0x9000, 0x3000, 3, 3 };
	*desc(3) = (struct descriptor){ DATA + 0x20000, 0x4000, 3, 4 };
	*desc(4) = (struct descriptor){ DATA + 0x30000, 1, 2, 0 };
	for (unsigned int round = 0; round < 40; round++) {
		memset(guest_bytes + DATA - GUEST_START, (int)round, 0x7000);
		offer(0);
		forward();
		assert_int_equal(descriptors_of_next(), 4);
		assert_true(serve());
		give_back();
		assert_int_equal(used_entry((uint16_t)round)[1], 0x7001);
		assert_int_equal(guest_bytes[DATA + 0xbfff - GUEST_START], (uint8_t)~round);
		assert_int_equal(guest_bytes[DATA + 0x20000 - GUEST_START], (uint8_t)~round);
		assert_int_equal(guest_bytes[DATA + 0x23fff - GUEST_START], (uint8_t)~round);
		assert_int_equal(guest_bytes[DATA + 0x30000 - GUEST_START], (uint8_t)~round);
	}
}

/* A piece that is no whole page ends a row, and so does the other direction. */
static void what_is_no_whole_page_goes_out_alone(void **state)
{
	(void)state;
	*desc(0) = (struct descriptor){ DATA, 0x2800, 1, 1 };	     /* two pages and a half */
	*desc(1) = (struct descriptor){ DATA + 0x4000, 0x1000, 1, 2 }; /* whole, behind half a page */
	*desc(2) = (struct descriptor){ DATA + 0x5000, 0x1000, 3, 3 }; /* the other direction */
	*desc(3) = (struct descriptor){ DATA + 0x6000, 0x1800, 2, 0 };
	offer(0);
	forward();
	assert_int_equal(descriptors_of_next(), 5);
	assert_true(serve());
	give_back();
	assert_int_equal(used_entry(0)[1], 0x2800);
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
	set_up(true, false);
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
		set_up(false, false);
		*desc(0) = bad[i].first;
		*desc(1) = bad[i].second;
		offer(0);
		forward();
		assert_true(effects.guest_broken);
		assert_false(effects.backend_broken);
		assert_int_equal(relay_in_flight(&relay), 0);
		assert_int_equal(*guest16(USED + 2), 0);
	}
	set_up(false, false);
	*guest16(AVAIL + 2) = QUEUE_SIZE + 1;
	forward();
	assert_true(effects.guest_broken);
	set_up(false, false);
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
	set_up(false, false);
	make_backward_chain(QUEUE_SIZE, 8, 0);
	offer(QUEUE_SIZE - 1);
	forward();
	assert_false(effects.guest_broken);
	assert_int_equal(relay_in_flight(&relay), 1);
}

static void descriptors_without_memory_are_work_too(void **state)
{
	(void)state;
	set_up(false, false);
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
		set_up(false, false);
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
	set_up(false, false);
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
		memcpy(area_bytes + AREA + 16 * i, &(struct descriptor){ DATA + 0x5000, 0x10000, 3, 1 }, 16);
	*area16(RELAY_AVAILABLE_RING + 2) = 77;
	memset(area_bytes + AREA + RELAY_PAYLOAD + RELAY_PAGE_BYTES, 0x42, 8);
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

	set_up(true, false);
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
	set_up(true, false);
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
	area.size_bytes -= AREA + 1;
	assert_true(virtqueue_start(&queue, &guest, 16, DESC, AVAIL, USED, false));
	assert_false(relay_start(&relay, &queue, false, &area, AREA));
	area.size_bytes += AREA + 1;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(payload_passes_both_ways, set_up_plain),
		cmocka_unit_test_setup(indirect_tables_are_followed, set_up_plain),
		cmocka_unit_test_setup(requests_wait_while_the_area_is_full, set_up_plain),
		cmocka_unit_test(a_driver_with_event_index_is_asked_to_notify_again),
		cmocka_unit_test_setup(whole_pages_in_a_row_go_out_as_one_descriptor, set_up_plain),
		cmocka_unit_test_setup(what_is_no_whole_page_goes_out_alone, set_up_plain),
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
	};

	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
