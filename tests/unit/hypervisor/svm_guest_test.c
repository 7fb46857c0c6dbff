/* SPDX-License-Identifier: MIT */
/* Exits of a guest with a platform, one by one: what is answered inside, what ends a run, and what ends the guest. */
#include "svm_guest_fixture.h"

static void a_machine_check_is_the_service_domains(void **state)
{
	(void)state;
	blocks[0].interrupt_shadow = 1;
	assert_false(leave(0, EXIT_EXCEPTION + VECTOR_MC, 0, 0));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_INTERRUPT);
	assert_int_equal(processors[0].is_machine_check_pending, 1);
	/* The guest sees nothing of it and goes on where it was. */
	assert_int_equal(blocks[0].event, 0);
	assert_int_equal(blocks[0].rip, CODE_AT);
	assert_int_equal(blocks[0].interrupt_shadow, 1);
}

static void faults_of_the_walk_and_of_fetches_are_no_accesses(void **state)
{
	(void)state;
	CODE(0xc7, 0x05, 0x80, 0x00, 0xe0, 0xfe, 0x40, 0, 0, 0);
	assert_false(leave(0, EXIT_NESTED_FAULT, NESTED_FAULT_WRITE | 1ull << 33, APIC + 0x80));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_FAULT);
	assert_int_equal(local(0)->task_priority, 0);
	assert_false(leave(0, EXIT_NESTED_FAULT, NESTED_FAULT_FINAL | NESTED_FAULT_FETCH, APIC + 0x80));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_FAULT);
	/* The same access in its own right. */
	assert_true(leave(0, EXIT_NESTED_FAULT, NESTED_FAULT_FINAL | NESTED_FAULT_WRITE, APIC + 0x80));
	assert_int_equal(local(0)->task_priority, 0x40);
}

static void an_instruction_that_is_not_known_ends_the_guest(void **state)
{
	(void)state;
	CODE(0x0f, 0x11, 0x05, 0x80, 0x00, 0xe0, 0xfe); /* movups */
	assert_false(leave(0, EXIT_NESTED_FAULT, NESTED_FAULT_FINAL | NESTED_FAULT_WRITE, APIC + 0x80));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_FAULT);
	assert_int_equal(states[0].is_over, BULKHEAD_RUN_FAULT);
	assert_int_equal(blocks[0].rip, CODE_AT);
}

static void empty_declared_memory_is_asked_for(void **state)
{
	(void)state;
	assert_false(leave(0, EXIT_NESTED_FAULT, NESTED_FAULT_FINAL, 0x20123));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_MEMORY);
	assert_int_equal(run_page(0)->address, 0x20000);
	assert_false(states[0].is_over);
}

static void the_clock_is_written_to_filled_memory_only(void **state)
{
	struct guest_clock_time { uint32_t version, pad; uint64_t tsc, ns; uint32_t multiplier; } time;

	(void)state;
	assert_true(msr_write(0, 0x4b564d01, 0x3001));
	assert_int_equal(blocks[0].rip, CODE_AT + 2);
	assert_true(memory_read(&guest->platform->memory, 0x3000, &time, sizeof(time)));
	assert_int_equal(time.version, 2);
	assert_true(time.multiplier != 0);
	assert_int_equal(msr_read(0, 0x4b564d01), 0x3001);
	blocks[0].rip = CODE_AT;
	/* Not there yet: asked for, and the instruction comes again. */
	assert_false(msr_write(0, 0x4b564d01, 0x20001));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_MEMORY);
	assert_int_equal(blocks[0].rip, CODE_AT);
	/* Not memory, or across a page: #GP. */
	assert_true(msr_write(0, 0x4b564d01, APIC + 1));
	assert_int_equal(blocks[0].event & 0xff, VECTOR_GP);
	assert_true(msr_write(0, 0x4b564d01, 0x3ff1));
	assert_int_equal(blocks[0].event & 0xff, VECTOR_GP);
	assert_true(msr_write(0, 0x4b564d00, 0x4000));
	assert_int_equal(blocks[0].event, 0);
}

static void cr8_is_the_task_priority(void **state)
{
	(void)state;
	blocks[0].efer = EFER_SVME | EFER_LME | EFER_LMA;
	blocks[0].cs.attributes = 0xa9b;
	blocks[0].cr0 = CR0_PE; /* fetches without page tables */
	processors[0].gpr[GPR_RBX] = 5;
	CODE(0x44, 0x0f, 0x22, 0xc3); /* mov %rbx, %cr8 */
	assert_true(leave(0, EXIT_WRITE_CR8, 0, 0));
	assert_int_equal(local(0)->task_priority, 0x50);
	(void)local_apic_post(local(0), 0x51, false);
	assert_true(prepare(0));
	assert_int_equal(blocks[0].event, 0);
	CODE(0x45, 0x0f, 0x20, 0xc1); /* mov %cr8, %r9 */
	assert_true(leave(0, EXIT_READ_CR8, 0, 0));
	assert_int_equal(processors[0].gpr[9], 5);
	processors[0].gpr[GPR_RBX] = 16;
	blocks[0].rip = CODE_AT;
	CODE(0x44, 0x0f, 0x22, 0xc3);
	assert_true(leave(0, EXIT_WRITE_CR8, 0, 0));
	assert_int_equal(blocks[0].event & 0xff, VECTOR_GP);
	assert_int_equal(local(0)->task_priority, 0x50);
	/* Another of its processors has changed the instruction. */
	CODE(0x90, 0x90, 0x90);
	assert_true(leave(0, EXIT_WRITE_CR8, 0, 0));
	assert_int_equal(blocks[0].event & 0xff, VECTOR_UD);
	assert_int_equal(blocks[0].rip, CODE_AT);
}

static void other_registers_are_refused(void **state)
{
	static const uint32_t refused[] = { 0x48, 0x49, 0x174 + 0x10, 0x831, 0xc0010114, 0xc0010117, 0x40000000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
		assert_true(msr_write(0, refused[i], 1));
		assert_int_equal(blocks[0].event & 0xff, VECTOR_GP);
		assert_int_equal(blocks[0].rip, CODE_AT);
	}
}

/* Which parts this host has does not matter: every processor has x87 and SSE. */
static void extended_state_is_the_kernels_to_switch(void **state)
{
	(void)state;
	xcr0 = 0;
	blocks[0].rax = 3;
	assert_true(leave(0, EXIT_XSETBV, 0, 0));
	assert_int_equal(blocks[0].event & 0xff, VECTOR_UD);
	blocks[0].cr4 = CR4_OSXSAVE;
	assert_true(leave(0, EXIT_XSETBV, 0, 0));
	assert_int_equal(xcr0, 3);
	assert_int_equal(blocks[0].rip, CODE_AT + 3);
	blocks[0].cpl = 3;
	assert_true(leave(0, EXIT_XSETBV, 0, 0));
	assert_int_equal(blocks[0].event & 0xff, VECTOR_GP);
	blocks[0].cpl = 0;
	processors[0].gpr[GPR_RCX] = 1;
	assert_true(leave(0, EXIT_XSETBV, 0, 0));
	assert_int_equal(blocks[0].event & 0xff, VECTOR_GP);
	processors[0].gpr[GPR_RCX] = 0;
	processors[0].gpr[GPR_RDX] = 1;
	assert_true(leave(0, EXIT_XSETBV, 0, 0));
	assert_int_equal(blocks[0].event & 0xff, VECTOR_GP);
	assert_int_equal(xcr0, 3);
	assert_int_equal(blocks[0].rip, CODE_AT + 3);
}

static void the_power_management_timer_is_answered_inside(void **state)
{
	(void)state;
	blocks[0].rax = 0x1234567890ull;
	assert_true(leave(0, EXIT_IO, 0x6080000 | 4 << 4 | IO_IN, CODE_AT + 1));
	assert_int_equal(blocks[0].rip, CODE_AT + 1);
	assert_int_equal(blocks[0].rax >> 32, 0);
	/* The serial port is the monitor's. */
	assert_false(leave(0, EXIT_IO, 0x3f80000 | 1 << 4 | IO_IN, CODE_AT + 2));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_PORT);
}

#define STRING_TO(port)	  ((uint64_t)(port) << 16 | 1 << 4 | IO_STRING)
#define STRING_FROM(port) (STRING_TO(port) | IO_IN)

static void a_string_reaches_the_platform_and_the_monitor(void **state)
{
	uint8_t byte = 'x';

	(void)state;
	CODE(0xf3, 0x6e); /* REP OUTSB */
	assert_true(memory_write(&guest->platform->memory, 0x2000, "hi", 2));
	processors[0].gpr[GPR_RSI] = 0x2000;
	processors[0].gpr[GPR_RCX] = 2;
	assert_false(leave(0, EXIT_IO, STRING_TO(0x3f8) | IO_REPEATED, CODE_AT + 2));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_PORT);
	assert_int_equal(run_page(0)->value, 'h');
	assert_int_equal(run_page(0)->is_read, 0);
	assert_int_equal(blocks[0].rip, CODE_AT);
	assert_false(leave(0, EXIT_IO, STRING_TO(0x3f8) | IO_REPEATED, CODE_AT + 2));
	assert_int_equal(run_page(0)->value, 'i');
	assert_int_equal(blocks[0].rip, CODE_AT + 2);
	/* A port that nobody has reads as ones. */
	blocks[0].rip = CODE_AT;
	CODE(0x6c); /* INSB */
	processors[0].gpr[GPR_RDI] = 0x2000;
	assert_true(leave(0, EXIT_IO, STRING_FROM(0x60), CODE_AT + 1));
	assert_true(memory_read(&guest->platform->memory, 0x2000, &byte, 1));
	assert_int_equal(byte, 0xff);
	assert_int_equal(blocks[0].event, 0);
	assert_int_equal(blocks[0].rip, CODE_AT + 1);
}

static void a_string_that_cannot_be_moved_is_refused(void **state)
{
	(void)state;
	CODE(0x6c);
	processors[0].gpr[GPR_RDI] = 0x2000;
	assert_true(leave(0, EXIT_IO, STRING_FROM(0x3f8), CODE_AT + 1)); /* the monitor writes no memory */
	assert_int_equal(blocks[0].event & 0xff, VECTOR_GP);
	assert_true(leave(0, EXIT_IO, STRING_TO(0x60), CODE_AT + 1)); /* changed under our eyes */
	assert_int_equal(blocks[0].event & 0xff, VECTOR_GP);
	processors[0].gpr[GPR_RDI] = 0x70000000; /* no memory */
	assert_true(leave(0, EXIT_IO, STRING_FROM(0x60), CODE_AT + 1));
	assert_int_equal(blocks[0].event & 0xff, VECTOR_GP);
	assert_int_equal(blocks[0].rip, CODE_AT);
}

static void firmware_finds_the_size_of_memory_inside(void **state)
{
	(void)state;
	/* 8 MiB are declared: nothing above 16. The index goes to the monitor as well: the time is its. */
	blocks[0].rax = 0x34;
	assert_false(leave(0, EXIT_IO, 0x700000 | 1 << 4, CODE_AT + 1));
	assert_true(leave(0, EXIT_IO, 0x710000 | 1 << 4 | IO_IN, CODE_AT + 1));
	assert_int_equal(blocks[0].rax, 0);
	blocks[0].rax = 0;
	assert_false(leave(0, EXIT_IO, 0x700000 | 1 << 4, CODE_AT + 1));
	assert_false(leave(0, EXIT_IO, 0x710000 | 1 << 4 | IO_IN, CODE_AT + 1));
}

#define TABLE_AT 0x8000u
#define OTHER_AT 0x5000u
#define P_W	 3ull

static void put_entry(uint64_t at, uint64_t value)
{
	assert_true(memory_write(&guest->platform->memory, at, &value, sizeof(value)));
}

/* Both processors run 64-bit code through tables that map the first 2 MiB as they are, by 4 KiB. */
static void page_the_guest(void)
{
	for (unsigned int level = 0; level < 3; level++)
		put_entry(TABLE_AT + level * PAGE_BYTES, (TABLE_AT + (level + 1) * PAGE_BYTES) | P_W);
	for (uint64_t page = 0; page < TABLE_ENTRIES; page++)
		put_entry(TABLE_AT + 3 * PAGE_BYTES + 8 * page, page * PAGE_BYTES | P_W);
	for (unsigned int i = 0; i < 2; i++) {
		blocks[i].cr0 = CR0_PE | CR0_PG;
		blocks[i].cr3 = TABLE_AT;
		blocks[i].cr4 = CR4_PAE;
		blocks[i].efer = EFER_SVME | EFER_LMA;
		blocks[i].cs.attributes = 0xa9b;
		blocks[i].rip = CODE_AT;
	}
}

/* The instruction at CODE_AT writes a register of the local APIC. Returns the task priority, or -1: the guest ended. */
static int write_priority(unsigned int i)
{
	blocks[i].rip = CODE_AT;
	if (!leave(i, EXIT_NESTED_FAULT, NESTED_FAULT_FINAL | NESTED_FAULT_WRITE, APIC + 0x80))
		return -1;
	return (int)local(i)->task_priority;
}

static void a_remembered_instruction_is_the_one_that_is_there(void **state)
{
	static const uint8_t store_20[] = { 0xc7, 0x07, 0x20, 0, 0, 0 }, store_30[] = { 0xc7, 0x07, 0x30, 0, 0, 0 };

	(void)state;
	page_the_guest();
	put_code(store_20, sizeof(store_20));
	assert_int_equal(write_priority(0), 0x20);
	assert_int_equal(write_priority(0), 0x20);
	assert_int_equal(write_priority(1), 0x20);
	/* The other processor changes the page table under both. */
	assert_true(memory_write(&guest->platform->memory, OTHER_AT, store_30, sizeof(store_30)));
	put_entry(TABLE_AT + 3 * PAGE_BYTES + 8 * (CODE_AT / PAGE_BYTES), OTHER_AT | P_W);
	assert_int_equal(write_priority(0), 0x30);
	assert_int_equal(write_priority(1), 0x30);
	/* It changes the code. */
	assert_true(memory_write(&guest->platform->memory, OTHER_AT, store_20, sizeof(store_20)));
	assert_int_equal(write_priority(1), 0x20);
	assert_int_equal(write_priority(0), 0x20);
}

/* Whoever gets a page next may put there what it likes: the guest's processors do not look. */
static void a_page_that_was_given_up_is_not_looked_at(void **state)
{
	static const uint8_t store_20[] = { 0xc7, 0x07, 0x20, 0, 0, 0 };
	const uint64_t given[] = { CODE_AT, TABLE_AT + 3 * PAGE_BYTES, TABLE_AT };

	for (unsigned int i = 0; i < ARRAY_COUNT(given); i++) {
		struct mapping before;
		uint8_t content[PAGE_BYTES];

		(void)setup(state);
		call(BULKHEAD_CALL_GUEST_PAY, guest->handle, PAGE(140), 0, 0);
		page_the_guest();
		put_code(store_20, sizeof(store_20));
		assert_int_equal(write_priority(0), 0x20);
		before = address_space_lookup(&guest->space, (struct input_address){ given[i] });
		memcpy(content, arch_page(before.page), PAGE_BYTES);
		assert_int_equal(memory_give_up(&guest->platform->memory, given[i]), MEMORY_GIVEN);
		/* The next owner writes what the guest had there. */
		memcpy(arch_page(before.page), content, PAGE_BYTES);
		assert_int_equal(write_priority(0), -1);
		assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_FAULT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_machine_check_is_the_service_domains, setup),
		cmocka_unit_test_setup(faults_of_the_walk_and_of_fetches_are_no_accesses, setup),
		cmocka_unit_test_setup(an_instruction_that_is_not_known_ends_the_guest, setup),
		cmocka_unit_test_setup(empty_declared_memory_is_asked_for, setup),
		cmocka_unit_test_setup(the_clock_is_written_to_filled_memory_only, setup),
		cmocka_unit_test_setup(cr8_is_the_task_priority, setup),
		cmocka_unit_test_setup(other_registers_are_refused, setup),
		cmocka_unit_test_setup(extended_state_is_the_kernels_to_switch, setup),
		cmocka_unit_test_setup(the_power_management_timer_is_answered_inside, setup),
		cmocka_unit_test_setup(a_string_reaches_the_platform_and_the_monitor, setup),
		cmocka_unit_test_setup(a_string_that_cannot_be_moved_is_refused, setup),
		cmocka_unit_test_setup(a_remembered_instruction_is_the_one_that_is_there, setup),
		cmocka_unit_test_setup(a_page_that_was_given_up_is_not_looked_at, setup),
		cmocka_unit_test_setup(firmware_finds_the_size_of_memory_inside, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
