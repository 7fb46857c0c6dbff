/* SPDX-License-Identifier: MIT */
/*
 * The balloon: pages that a driver names are given up in bounded steps, what cannot be is kept, and nothing that a driver
 * writes does more than break its own queue.
 */
#include "balloon.h"
#include "fake_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PAGE	     4096u
#define MEMORY_PAGES 256u
/* Rings of queue n, and where requests' numbers lie. */
#define RING(n)	     ((n) * 3 * PAGE)
#define NUMBERS	     (6 * PAGE)
#define FIRST_PAGE   64u /* of those that are given up */

struct descriptor {
	uint64_t address;
	uint32_t size_bytes;
	uint16_t flags, next;
};

static uint8_t bytes[MEMORY_PAGES * PAGE];
static struct memory memory = { bytes, 0, sizeof(bytes), 0 };
static struct balloon balloon;
static struct balloon_step step;
static unsigned int given;
static enum memory_given answer;

static enum memory_given count_given(uint64_t address)
{
	(void)address;
	given += answer == MEMORY_GIVEN;
	return answer;
}

static int set_up(void **state)
{
	(void)state;
	memset(bytes, 0, sizeof(bytes));
	balloon_reset(&balloon);
	given = 0;
	answer = MEMORY_GIVEN;
	fake_memory_is_empty = NULL;
	fake_memory_give_up = count_given;
	for (unsigned int i = 0; i < BALLOON_QUEUES; i++)
		if (!virtqueue_start(&balloon.queues[i], &memory, 8, RING(i), RING(i) + PAGE, RING(i) + 2 * PAGE, false))
			return -1;
	return 0;
}

static uint16_t *available(unsigned int queue)
{
	return (uint16_t *)(bytes + RING(queue) + PAGE);
}

static uint16_t completed(unsigned int queue)
{
	return ((uint16_t *)(bytes + RING(queue) + 2 * PAGE))[1];
}

/* A request of @count numbers from @first on. */
static void ask(unsigned int queue, uint32_t first, unsigned int count)
{
	struct descriptor *table = (struct descriptor *)(bytes + RING(queue));
	uint16_t at = available(queue)[1] % 8;
	uint32_t *numbers = (uint32_t *)(bytes + NUMBERS + at * PAGE);

	for (unsigned int i = 0; i < count; i++)
		numbers[i] = first + i;
	table[at] = (struct descriptor){ NUMBERS + at * PAGE, 4 * count, 0, 0 };
	available(queue)[2 + at] = at;
	available(queue)[1]++;
}

static void named_pages_are_given_up_in_steps(void **state)
{
	unsigned int steps = 0;

	(void)state;
	memset(bytes + FIRST_PAGE * PAGE, 0xaa, 64 * PAGE);
	ask(0, FIRST_PAGE, 40);
	do {
		balloon_serve(&balloon, &step);
		assert_true(step.given_up_count <= BALLOON_STEP_PAGES);
		for (unsigned int i = 0; i < step.given_up_count; i++)
			assert_int_equal(step.given_up[i] % PAGE, 0);
		steps++;
	} while (step.more);
	assert_int_equal(given, 40);
	assert_true(steps >= 3);
	assert_int_equal(completed(0), 1);
	assert_int_equal(bytes[FIRST_PAGE * PAGE], 0);
	assert_int_equal(bytes[(FIRST_PAGE + 40) * PAGE - 1], 0);
	assert_int_equal(bytes[(FIRST_PAGE + 40) * PAGE], 0xaa);
}

static void pages_that_cannot_go_are_kept(void **state)
{
	(void)state;
	answer = MEMORY_KEPT;
	ask(0, FIRST_PAGE, 3);
	ask(0, UINT32_MAX - 2, 2);
	balloon_serve(&balloon, &step);
	assert_int_equal(step.given_up_count, 0);
	assert_int_equal(completed(0), 2);
	assert_true(step.interrupt[0]);
	assert_false(step.guest_broken);
}

static void a_missing_table_is_waited_for(void **state)
{
	(void)state;
	answer = MEMORY_NEEDS_TABLE;
	ask(0, FIRST_PAGE, 2);
	balloon_serve(&balloon, &step);
	assert_true(step.needs_table && step.more);
	assert_int_equal(completed(0), 0);
	answer = MEMORY_GIVEN;
	balloon_serve(&balloon, &step);
	assert_false(step.needs_table);
	assert_int_equal(step.given_up_count, 2);
	assert_true(step.given_up[0] == FIRST_PAGE * PAGE);
	assert_int_equal(completed(0), 1);
}

static void many_requests_are_bounded_too(void **state)
{
	(void)state;
	/* A driver that adds as fast as it is served, with nothing in its requests and with pages that stay. */
	answer = MEMORY_KEPT;
	for (int round = 0; round < 3; round++) {
		while ((uint16_t)(available(0)[1] - completed(0)) < 8)
			ask(0, FIRST_PAGE, 3);
		balloon_serve(&balloon, &step);
		assert_true(step.more);
		assert_true(completed(0) <= 5 * (round + 1));
	}
}

static bool from_two_on(uint64_t address)
{
	return address >= (FIRST_PAGE + 2) * PAGE;
}

static void what_is_taken_out_is_filled_first(void **state)
{
	(void)state;
	ask(1, FIRST_PAGE, 4);
	fake_memory_is_empty = from_two_on;
	balloon_serve(&balloon, &step);
	assert_int_equal(step.wanted_count, 2);
	assert_true(step.wanted[0] == (FIRST_PAGE + 2) * PAGE && step.wanted[1] == (FIRST_PAGE + 3) * PAGE);
	assert_true(step.more);
	assert_int_equal(completed(1), 0);
	/* Asked for until it is there; what the driver puts in meanwhile waits its turn. */
	ask(0, FIRST_PAGE, 1);
	balloon_serve(&balloon, &step);
	assert_int_equal(step.wanted_count, 2);
	assert_int_equal(given, 0);
	fake_memory_is_empty = NULL;
	balloon_serve(&balloon, &step);
	assert_int_equal(completed(1), 1);
	assert_true(step.interrupt[1]);
	assert_int_equal(given, 1);
	assert_false(step.more);
}

static void much_that_is_taken_out_is_wanted_in_steps(void **state)
{
	(void)state;
	ask(1, FIRST_PAGE, 40);
	fake_memory_is_empty = from_two_on;
	balloon_serve(&balloon, &step);
	assert_in_range(step.wanted_count, 10, BALLOON_STEP_PAGES);
	assert_true(step.more);
	fake_memory_is_empty = NULL;
	for (int i = 0; i < 8 && step.more; i++)
		balloon_serve(&balloon, &step);
	assert_int_equal(completed(1), 1);
}

static void odd_requests_hurt_nobody(void **state)
{
	struct descriptor *table = (struct descriptor *)(bytes + RING(0));

	(void)state;
	/* Two whole numbers and a piece of one: the piece is nothing. */
	ask(0, FIRST_PAGE, 2);
	table[0].size_bytes = 11;
	balloon_serve(&balloon, &step);
	assert_int_equal(step.given_up_count, 2);
	/* A number that lies in two segments, or outside memory, breaks the queue. */
	ask(0, FIRST_PAGE, 2);
	table[1] = (struct descriptor){ NUMBERS, 6, 1, 2 };
	table[2] = (struct descriptor){ NUMBERS + 8, 2, 0, 0 };
	balloon_serve(&balloon, &step);
	assert_true(step.guest_broken);
	assert_false(step.more);
	(void)set_up(NULL);
	ask(0, FIRST_PAGE, 2);
	table[0].address = sizeof(bytes) - 4;
	balloon_serve(&balloon, &step);
	assert_true(step.guest_broken);
	assert_int_equal(step.given_up_count, 1); /* the number that does lie in memory */
	/* A ring that makes no sense. */
	(void)set_up(NULL);
	available(0)[1] = 9;
	balloon_serve(&balloon, &step);
	assert_true(step.guest_broken);
}

static void a_driver_with_the_event_index_is_asked_for_the_next(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < BALLOON_QUEUES; i++)
		balloon.queues[i].event_index = true;
	ask(0, FIRST_PAGE, 1);
	balloon_serve(&balloon, &step);
	assert_int_equal(completed(0), 1);
	/* Behind the used ring: the entry that the driver is to notify next. */
	assert_int_equal(((uint16_t *)(bytes + RING(0) + 2 * PAGE + 4 + 8 * 8))[0], 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(named_pages_are_given_up_in_steps, set_up),
		cmocka_unit_test_setup(pages_that_cannot_go_are_kept, set_up),
		cmocka_unit_test_setup(a_missing_table_is_waited_for, set_up),
		cmocka_unit_test_setup(many_requests_are_bounded_too, set_up),
		cmocka_unit_test_setup(what_is_taken_out_is_filled_first, set_up),
		cmocka_unit_test_setup(much_that_is_taken_out_is_wanted_in_steps, set_up),
		cmocka_unit_test_setup(odd_requests_hurt_nobody, set_up),
		cmocka_unit_test_setup(a_driver_with_the_event_index_is_asked_for_the_next, set_up),
	};

	return cmocka_run_group_tests_name("balloon", tests, NULL, NULL);
}
