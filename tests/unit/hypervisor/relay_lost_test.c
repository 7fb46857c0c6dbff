/* SPDX-License-Identifier: MIT */
/*
 * A queue whose backend is gone: what its driver only gave comes back, once; what it asked for does not.
 */
#include "relay_fixture.h"

static int set_up_plain(void **state)
{
	(void)state;
	set_up(false, false);
	return 0;
}

/** Requests of one buffer each, of which the odd ones are the device's to write. */
static void offer_mixed(uint16_t first, uint16_t count, uint32_t size)
{
	for (uint16_t i = first; i < first + count; i++) {
		*desc(i) = (struct descriptor){ DATA + i * 0x1000, size, i % 2 ? 2 : 0, 0 };
		offer(i);
	}
}

/** Whether the used ring holds the even ones of a hundred requests, each once, and nothing else. */
static bool are_given_back(unsigned int count)
{
	bool seen[QUEUE_SIZE] = { false };

	if (*guest16(USED + 2) != count)
		return false;
	for (uint16_t i = 0; i < count; i++) {
		uint32_t head = used_entry(i)[0];

		if (head >= QUEUE_SIZE || head % 2 || seen[head] || used_entry(i)[1])
			return false;
		seen[head] = true;
	}
	return true;
}

static void a_lost_queue_gives_back_what_it_was_only_given(void **state)
{
	(void)state;
	offer_mixed(0, 40, 2000);
	forward();
	relay_lose(&relay);
	assert_int_equal(*guest16(USED + 2), 0);
	/* What the backend still does reaches nobody. */
	complete(*area16(RELAY_AVAILABLE_RING + 4), 0);
	give_back();
	assert_int_equal(*guest16(USED + 2), 0);
	memset(area_bytes, 0x55, sizeof(area_bytes));
	forward();
	assert_true(are_given_back(20));
	assert_true(effects.interrupt_guest);
	relay_lose(&relay); /* already is */
	offer_mixed(40, 60, 2000);
	forward();
	assert_true(are_given_back(50));
	for (unsigned int i = 0; i < sizeof(area_bytes); i++)
		assert_int_equal(area_bytes[i], 0x55);
}

/** One being copied, one that waits for room: the guest gave both. */
static void a_lost_queue_gives_back_what_the_backend_never_saw(void **state)
{
	(void)state;
	*desc(0) = (struct descriptor){ DATA, 20000, 0, 0 };
	offer(0);
	relay_forward(&relay, 8192, &effects);
	assert_true(effects.more);
	assert_int_equal(relay_in_flight(&relay), 0);
	relay_lose(&relay);
	forward();
	assert_true(are_given_back(1));

	set_up(false, false);
	for (uint16_t i = 0; i < 12; i += 2) {
		*desc(i) = (struct descriptor){ DATA, 50 * 4096, 0, 0 };
		offer(i);
	}
	forward();
	assert_int_equal(relay_in_flight(&relay), 5);
	assert_true(relay.chain_waits);
	relay_lose(&relay);
	forward();
	assert_true(are_given_back(6));
}

static void a_lost_queue_is_told_of_the_next_request(void **state)
{
	(void)state;
	set_up(true, false);
	offer_mixed(0, 3, 100);
	relay_lose(&relay);
	forward();
	assert_true(are_given_back(2));
	assert_int_equal(*guest16(USED + 4 + 8 * QUEUE_SIZE), 3);
}

/** Each step ends, however much there is, and a ring that breaks ends it all. */
static void a_lost_queue_gives_back_in_steps(void **state)
{
	unsigned int steps = 0;

	(void)state;
	offer_mixed(0, 100, 100);
	forward();
	relay_lose(&relay);
	do {
		effects.more = false;
		relay_forward(&relay, 8192, &effects);
		steps++;
	} while (effects.more);
	assert_true(steps > 10);
	assert_true(are_given_back(50));
	*guest16(AVAIL + 2) = 5000;
	forward();
	assert_true(effects.guest_broken);
	forward();
	assert_true(are_given_back(50));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_lost_queue_gives_back_what_it_was_only_given, set_up_plain),
		cmocka_unit_test_setup(a_lost_queue_gives_back_what_the_backend_never_saw, set_up_plain),
		cmocka_unit_test_setup(a_lost_queue_is_told_of_the_next_request, set_up_plain),
		cmocka_unit_test_setup(a_lost_queue_gives_back_in_steps, set_up_plain),
	};

	return cmocka_run_group_tests_name("relay-lost", tests, NULL, NULL);
}
