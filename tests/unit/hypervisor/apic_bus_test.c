/* SPDX-License-Identifier: MIT */
/*
 * A guest's interrupt system, driven as its processors, devices and the monitor drive it.
 */
#include "apic_bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define KHZ	   2000000u /* two time-stamp ticks a timer tick */
#define TPR	   0x080
#define EOI	   0x0b0
#define LOGICAL_ID 0x0d0
#define FORMAT	   0x0e0
#define SPURIOUS   0x0f0
#define ERROR	   0x280
#define COMMAND	   0x300
#define COMMAND_TO 0x310
#define LVT_TIMER  0x320
#define INITIAL	   0x380
#define CURRENT	   0x390
#define DIVIDE	   0x3e0

#define MSR_BASE     0x1b
#define MSR_DEADLINE 0x6e0

static struct apic_bus bus;

static void put(uint32_t index, uint32_t offset, uint32_t value)
{
	(void)apic_bus_write(&bus, index, offset, value, 0);
}

static uint32_t command(uint32_t index, uint32_t to, uint32_t what)
{
	put(index, COMMAND_TO, to << 24);
	return apic_bus_write(&bus, index, COMMAND, what, 0);
}

static int setup(void **state)
{
	(void)state;
	apic_bus_init(&bus);
	for (uint32_t i = 0; i < 4; i++) {
		apic_bus_add(&bus, i, KHZ);
		put(i, SPURIOUS, 0x1ff);
	}
	return 0;
}

static int pending(uint32_t index)
{
	return local_apic_pending(&bus.local[index]);
}

static void take(uint32_t index, int vector)
{
	assert_int_equal(pending(index), vector);
	local_apic_accept(&bus.local[index], (uint8_t)vector);
}

static void write_entry(unsigned int input, uint64_t entry)
{
	(void)apic_bus_io_write(&bus, 0, 0x10 + 2 * input + 1);
	(void)apic_bus_io_write(&bus, 0x10, (uint32_t)(entry >> 32));
	(void)apic_bus_io_write(&bus, 0, 0x10 + 2 * input);
	(void)apic_bus_io_write(&bus, 0x10, (uint32_t)entry);
}

static uint32_t entry_low(unsigned int input)
{
	(void)apic_bus_io_write(&bus, 0, 0x10 + 2 * input);
	return apic_bus_io_read(&bus, 0x10);
}

static void a_disabled_apic_takes_no_interrupt(void **state)
{
	(void)state;
	put(0, SPURIOUS, 0xff);
	assert_int_equal(apic_bus_message(&bus, 0xfee00000, 0x40), 0);
	assert_int_equal(pending(0), -1);
}

static void the_highest_vector_above_the_priority_comes_first(void **state)
{
	(void)state;
	assert_int_equal(apic_bus_message(&bus, 0xfee00000, 0x31), 1);
	assert_int_equal(apic_bus_message(&bus, 0xfee00000, 0x42), 1);
	take(0, 0x42);
	assert_int_equal(pending(0), -1);
	put(0, EOI, 0);
	put(0, TPR, 0x30);
	assert_int_equal(pending(0), -1);
	put(0, TPR, 0x20);
	take(0, 0x31);
	put(0, EOI, 0);
	assert_int_equal(pending(0), -1);
}

static void messages_go_where_they_are_addressed(void **state)
{
	(void)state;
	assert_int_equal(apic_bus_message(&bus, 0xfee02000, 0x40), 1u << 2);
	assert_int_equal(apic_bus_message(&bus, 0xfeeff000, 0x41), 0xf);
	for (uint32_t i = 0; i < 4; i++)
		put(i, LOGICAL_ID, 1u << (24 + i));
	assert_int_equal(apic_bus_message(&bus, 0xfee06004, 0x42), 0x6);
	/* Lowest priority: one of them. */
	assert_int_equal(__builtin_popcount(apic_bus_message(&bus, 0xfee06004, 0x143)), 1);
	for (uint32_t i = 0; i < 4; i++) {
		put(i, FORMAT, 0);
		put(i, LOGICAL_ID, (i / 2) << 28 | 1u << (24 + i % 2));
	}
	assert_int_equal(apic_bus_message(&bus, 0xfee12004, 0x44), 1u << 3);
	assert_int_equal(apic_bus_message(&bus, 0xfee09000, 0x44), 0);
	assert_int_equal(apic_bus_message(&bus, 0xfed00000, 0x44), 0);
}

static void devices_cannot_send_nmi_init_or_startup(void **state)
{
	(void)state;
	for (uint32_t mode = 2; mode < 8; mode++)
		assert_int_equal(apic_bus_message(&bus, 0xfeeff000, mode << 8 | 0x40), 0);
	for (uint32_t mode = 2; mode < 8; mode++) {
		write_entry(4, mode << 8 | 0x40 | 0xffull << 56);
		assert_int_equal(apic_bus_set_input(&bus, 4, true), 0);
		assert_int_equal(apic_bus_set_input(&bus, 4, false), 0);
	}
	for (uint32_t i = 0; i < 4; i++)
		assert_false(local_apic_has_work(&bus.local[i], true));
}

static void a_vector_below_16_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(apic_bus_message(&bus, 0xfee00000, 0x0f), 0);
	put(0, ERROR, 0);
	assert_int_equal(apic_bus_read(&bus, 0, ERROR, 0), 1u << 6);
	assert_int_equal(command(1, 0, 0x0f), 0);
	put(1, ERROR, 0);
	assert_int_equal(apic_bus_read(&bus, 1, ERROR, 0), 1u << 5);
}

static void commands_reach_by_number_and_by_shorthand(void **state)
{
	(void)state;
	assert_int_equal(command(0, 3, 0x4040), 1u << 3);
	assert_int_equal(command(1, 0, 1u << 18 | 0x41), 1u << 1);
	assert_int_equal(command(1, 0, 2u << 18 | 0x42), 0xf);
	assert_int_equal(command(1, 0, 3u << 18 | 0x43), 0xd);
	assert_int_equal(command(1, 2, 0x400), 1u << 2);
	assert_int_equal(local_apic_take_signals(&bus.local[2]), LOCAL_APIC_NMI);
	assert_int_equal(command(1, 2, 0x200), 0);
}

static void a_startup_message_follows_init(void **state)
{
	(void)state;
	assert_int_equal(command(0, 1, 0xc500), 2);
	assert_int_equal(command(0, 1, 0x8500), 0); /* de-assert */
	assert_int_equal(command(0, 1, 0x4609), 2);
	assert_int_equal(command(0, 1, 0x460a), 2);
	assert_true(local_apic_has_work(&bus.local[1], false));
	assert_int_equal(local_apic_take_signals(&bus.local[1]), LOCAL_APIC_INIT | LOCAL_APIC_STARTUP | 9);
	/* INIT forgets what came before it. */
	(void)command(0, 1, 0x4609);
	(void)command(0, 1, 0x400);
	(void)command(0, 1, 0xc500);
	assert_int_equal(local_apic_take_signals(&bus.local[1]), LOCAL_APIC_INIT);
}

static void an_edge_is_one_message(void **state)
{
	(void)state;
	write_entry(4, 0x34);
	assert_int_equal(apic_bus_set_input(&bus, 4, true), 1);
	take(0, 0x34);
	assert_int_equal(apic_bus_set_input(&bus, 4, true), 0);
	put(0, EOI, 0);
	assert_int_equal(pending(0), -1);
	assert_int_equal(apic_bus_set_input(&bus, 4, false), 0);
	assert_int_equal(apic_bus_set_input(&bus, 4, true), 1);
}

static void a_level_is_sent_again_until_it_falls(void **state)
{
	(void)state;
	write_entry(9, 1u << 15 | 0x39 | 1ull << 56);
	assert_int_equal(apic_bus_set_input(&bus, 9, true), 2);
	assert_int_equal(apic_bus_set_input(&bus, 9, true), 0);
	assert_true(entry_low(9) & 1u << 14);
	take(1, 0x39);
	assert_int_equal(apic_bus_write(&bus, 1, EOI, 0, 0), 2);
	take(1, 0x39);
	assert_int_equal(apic_bus_set_input(&bus, 9, false), 0);
	assert_int_equal(apic_bus_write(&bus, 1, EOI, 0, 0), 0);
	assert_int_equal(pending(1), -1);
	assert_false(entry_low(9) & 1u << 14);
}

static void a_masked_level_is_sent_when_it_is_unmasked(void **state)
{
	(void)state;
	write_entry(9, 1u << 16 | 1u << 15 | 0x39);
	assert_int_equal(apic_bus_set_input(&bus, 9, true), 0);
	(void)apic_bus_io_write(&bus, 0, 0x10 + 18);
	assert_int_equal(apic_bus_io_write(&bus, 0x10, 1u << 15 | 0x39), 1);
}

static void a_level_that_nobody_took_is_not_stuck(void **state)
{
	(void)state;
	write_entry(9, 1u << 15 | 0x39 | 9ull << 56);
	assert_int_equal(apic_bus_set_input(&bus, 9, true), 0);
	assert_false(entry_low(9) & 1u << 14);
	(void)apic_bus_io_write(&bus, 0, 0x10 + 19);
	assert_int_equal(apic_bus_io_write(&bus, 0x10, 2u << 24), 4);
}

static void registers_out_of_range_change_nothing(void **state)
{
	struct apic_bus before;

	(void)state;
	for (uint32_t number = 0; number < 256; number++) {
		if (number >= 0x10 && number < 0x40)
			continue;
		(void)apic_bus_io_write(&bus, 0, number);
		before = bus;
		assert_int_equal(apic_bus_io_write(&bus, 0x10, 0xffffffff), 0);
		assert_memory_equal(&before, &bus, sizeof(bus));
		(void)apic_bus_io_read(&bus, 0x10);
	}
	for (uint32_t offset = 0; offset < 0x1000; offset++) {
		before = bus;
		if (offset & 0xf) {
			assert_int_equal(apic_bus_write(&bus, 0, offset, 0xffffffff, 0), 0);
			assert_memory_equal(&before, &bus, sizeof(bus));
		}
		(void)apic_bus_read(&bus, 0, offset, 0);
	}
}

static void the_one_shot_timer_fires_once(void **state)
{
	struct local_apic *apic = &bus.local[0];

	(void)state;
	put(0, LVT_TIMER, 0xec);
	put(0, DIVIDE, 0xb); /* by 1 */
	(void)apic_bus_write(&bus, 0, INITIAL, 1000, 50);
	assert_int_equal(apic->deadline, 2050);
	assert_int_equal(apic_bus_read(&bus, 0, CURRENT, 1050), 500);
	local_apic_tick(apic, 2049);
	assert_int_equal(pending(0), -1);
	local_apic_tick(apic, 2050);
	take(0, 0xec);
	assert_int_equal(apic->deadline, 0);
	assert_int_equal(apic_bus_read(&bus, 0, CURRENT, 3000), 0);
}

static void the_periodic_timer_goes_on_and_skips_what_it_missed(void **state)
{
	struct local_apic *apic = &bus.local[0];

	(void)state;
	put(0, LVT_TIMER, 1u << 17 | 0xec);
	put(0, DIVIDE, 0); /* by 2 */
	(void)apic_bus_write(&bus, 0, INITIAL, 1000, 0);
	assert_int_equal(apic->deadline, 4000);
	local_apic_tick(apic, 4100);
	assert_int_equal(apic->deadline, 8000);
	local_apic_tick(apic, 100000);
	assert_int_equal(apic->deadline, 104000);
	put(0, INITIAL, 0);
	assert_int_equal(apic->deadline, 0);
}

static void the_deadline_timer_needs_its_mode(void **state)
{
	struct local_apic *apic = &bus.local[0];
	uint64_t value;
	uint32_t vcpus;

	(void)state;
	assert_true(apic_bus_write_msr(&bus, 0, MSR_DEADLINE, 500, 0, &vcpus));
	assert_int_equal(apic->deadline, 0);
	put(0, LVT_TIMER, 2u << 17 | 0xec);
	assert_true(apic_bus_write_msr(&bus, 0, MSR_DEADLINE, 500, 0, &vcpus));
	assert_true(apic_bus_read_msr(&bus, 0, MSR_DEADLINE, 0, &value));
	assert_int_equal(value, 500);
	local_apic_tick(apic, 500);
	take(0, 0xec);
	assert_true(apic_bus_read_msr(&bus, 0, MSR_DEADLINE, 0, &value));
	assert_int_equal(value, 0);
	assert_true(apic_bus_write_msr(&bus, 0, MSR_DEADLINE, 900, 0, &vcpus));
	put(0, LVT_TIMER, 0xec);
	assert_int_equal(apic->deadline, 0);
}

static void a_masked_timer_is_silent(void **state)
{
	(void)state;
	put(0, LVT_TIMER, 1u << 16 | 0xec);
	(void)apic_bus_write(&bus, 0, INITIAL, 10, 0);
	local_apic_tick(&bus.local[0], 1000);
	assert_int_equal(pending(0), -1);
}

static void the_timer_never_overflows(void **state)
{
	struct local_apic *apic = &bus.local[0];

	(void)state;
	apic->tsc_khz = (1u << 25) - 1;
	put(0, DIVIDE, 0xa); /* by 128 */
	(void)apic_bus_write(&bus, 0, INITIAL, 0xffffffff, 0);
	assert_true(apic->deadline > 0xffffffffull * 128 * 33);
	assert_in_range(apic_bus_read(&bus, 0, CURRENT, 0), 0xfffffff0, 0xffffffff);
}

static void x2apic_registers_answer_only_in_x2apic_mode(void **state)
{
	uint64_t value;
	uint32_t vcpus;

	(void)state;
	assert_false(apic_bus_read_msr(&bus, 1, 0x802, 0, &value));
	assert_true(apic_bus_read_msr(&bus, 1, MSR_BASE, 0, &value));
	assert_int_equal(value, 0xfee00800);
	assert_true(apic_bus_write_msr(&bus, 1, MSR_BASE, 0xfee00c00, 0, &vcpus));
	assert_true(apic_bus_read_msr(&bus, 1, 0x802, 0, &value));
	assert_int_equal(value, 1);
	assert_true(apic_bus_read_msr(&bus, 1, 0x80d, 0, &value));
	assert_int_equal(value, 2);
	assert_false(apic_bus_write_msr(&bus, 1, 0x80d, 2, 0, &vcpus));
	assert_false(apic_bus_write_msr(&bus, 1, 0x80b, 1, 0, &vcpus));
	assert_false(apic_bus_read_msr(&bus, 1, 0x831, 0, &value));
	assert_true(apic_bus_write_msr(&bus, 1, 0x830, 2ull << 32 | 0x55, 0, &vcpus));
	assert_int_equal(vcpus, 4);
	assert_true(apic_bus_write_msr(&bus, 1, 0x83f, 0x56, 0, &vcpus));
	assert_int_equal(vcpus, 2);
	take(1, 0x56);
	/* Only by way of off back to xAPIC; the page does not move; the boot flag is fixed. */
	assert_false(apic_bus_write_msr(&bus, 1, MSR_BASE, 0xfee00800, 0, &vcpus));
	assert_false(apic_bus_write_msr(&bus, 1, MSR_BASE, 0xfed00c00, 0, &vcpus));
	assert_false(apic_bus_write_msr(&bus, 1, MSR_BASE, 0xfee00d00, 0, &vcpus));
	assert_true(apic_bus_write_msr(&bus, 1, MSR_BASE, 0xfee00000, 0, &vcpus));
	assert_false(apic_bus_write_msr(&bus, 1, MSR_BASE, 0xfee00c00, 0, &vcpus));
	assert_true(apic_bus_write_msr(&bus, 1, MSR_BASE, 0xfee00800, 0, &vcpus));
}

static void any_sequence_keeps_the_promises(void **state)
{
	uint64_t seed = 1, value;
	uint32_t vcpus;

	(void)state;
	for (int i = 0; i < 400000; i++) {
		uint32_t index, a, b;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		index = seed >> 60 & 3;
		a = (uint32_t)(seed >> 20) & 0xffff;
		b = (uint32_t)(seed >> 28);
		switch (seed >> 56 & 7) {
		case 0:
			vcpus = apic_bus_message(&bus, 0xfee00000 | (a << 2 & 0xffffc), b);
			break;
		case 1:
			vcpus = apic_bus_set_input(&bus, a % IO_APIC_INPUTS, b & 1);
			break;
		case 2:
			vcpus = apic_bus_io_write(&bus, a & 1 ? 0x10 : 0, b);
			break;
		case 3:
			vcpus = apic_bus_write(&bus, index, a & 0xff0, b, seed);
			break;
		case 4:
			vcpus = 0;
			(void)apic_bus_write_msr(&bus, index, 0x800 + a % 0x40, b, seed, &vcpus);
			break;
		case 5:
			vcpus = 0;
			(void)apic_bus_write_msr(&bus, index, MSR_BASE,
						 0xfee00000 | (a & 0xc00) | (index == 0) << 8, 0, &vcpus);
			break;
		case 6:
			vcpus = 0;
			local_apic_tick(&bus.local[index], seed);
			if (pending(index) >= 0) {
				assert_true(pending(index) >= 16);
				local_apic_accept(&bus.local[index], (uint8_t)pending(index));
			}
			(void)local_apic_take_signals(&bus.local[index]);
			break;
		default:
			vcpus = 0;
			(void)apic_bus_read_msr(&bus, index, 0x800 + a % 0x40, seed, &value);
		}
		assert_false(vcpus & ~0xfu);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_disabled_apic_takes_no_interrupt, setup),
		cmocka_unit_test_setup(the_highest_vector_above_the_priority_comes_first, setup),
		cmocka_unit_test_setup(messages_go_where_they_are_addressed, setup),
		cmocka_unit_test_setup(devices_cannot_send_nmi_init_or_startup, setup),
		cmocka_unit_test_setup(a_vector_below_16_is_an_error, setup),
		cmocka_unit_test_setup(commands_reach_by_number_and_by_shorthand, setup),
		cmocka_unit_test_setup(a_startup_message_follows_init, setup),
		cmocka_unit_test_setup(an_edge_is_one_message, setup),
		cmocka_unit_test_setup(a_level_is_sent_again_until_it_falls, setup),
		cmocka_unit_test_setup(a_masked_level_is_sent_when_it_is_unmasked, setup),
		cmocka_unit_test_setup(a_level_that_nobody_took_is_not_stuck, setup),
		cmocka_unit_test_setup(registers_out_of_range_change_nothing, setup),
		cmocka_unit_test_setup(the_one_shot_timer_fires_once, setup),
		cmocka_unit_test_setup(the_periodic_timer_goes_on_and_skips_what_it_missed, setup),
		cmocka_unit_test_setup(the_deadline_timer_needs_its_mode, setup),
		cmocka_unit_test_setup(a_masked_timer_is_silent, setup),
		cmocka_unit_test_setup(the_timer_never_overflows, setup),
		cmocka_unit_test_setup(x2apic_registers_answer_only_in_x2apic_mode, setup),
		cmocka_unit_test_setup(any_sequence_keeps_the_promises, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
