/* SPDX-License-Identifier: MIT */
/* Interrupts of a guest with a platform: what it is offered when, what wakes it, and what a vCPU does to another. */
#include "svm_guest_fixture.h"

static void an_interrupt_is_offered_when_the_guest_accepts_it(void **state)
{
	(void)state;
	(void)local_apic_post(local(0), 0x40, false);
	assert_true(prepare(0));
	assert_int_equal(offered(0), 0x40);
	assert_true(blocks[0].virtual_interrupt & VIRTUAL_REQUEST);
	/* A second one of the vector, while the guest is inside, is not lost. */
	(void)local_apic_post(local(0), 0x40, false);
	stay(0, true);
	assert_int_equal(local(0)->in_service[2] & 1, 1);
	assert_int_equal(local(0)->request[2] & 1, 1);
	assert_true(msr_write(0, 0x1b, msr_read(0, 0x1b) | 0xc00));
	assert_true(msr_write(0, MSR_X2 + 0xb, 0));
	assert_true(prepare(0));
	assert_int_equal(offered(0), 0x40);
	/* The same priority waits for the end of the first, without a window. */
	(void)local_apic_post(local(0), 0x41, false);
	assert_true(leave(0, EXIT_CPUID, 0, 0));
	assert_int_equal(local_apic_pending(local(0)), -1);
	assert_true(prepare(0));
	assert_int_equal(offered(0), 0);
	assert_int_equal(blocks[0].virtual_interrupt, VIRTUAL_MASKING);
	assert_false(blocks[0].intercept1 & INTERCEPT1_VINTR);
}

static void an_interrupt_that_was_not_taken_is_offered_again(void **state)
{
	(void)state;
	(void)local_apic_post(local(0), 0x40, false);
	assert_true(prepare(0));
	stay(0, false);
	assert_int_equal(local_apic_pending(local(0)), 0x40);
	(void)local_apic_post(local(0), 0x50, false);
	assert_true(prepare(0));
	assert_int_equal(offered(0), 0x50);
	stay(0, true);
	assert_int_equal(local_apic_pending(local(0)), -1);
	/* What was accounted for is not a second time. */
	stay(0, true);
	assert_int_equal(local(0)->in_service[0x50 / 32] >> 0x50 % 32 & 1, 1);
	assert_int_equal(local(0)->in_service[0x40 / 32] >> 0x40 % 32 & 1, 0);
}

static void an_interrupt_whose_delivery_faults_is_no_event(void **state)
{
	(void)state;
	(void)local_apic_post(local(0), 0x40, false);
	assert_true(prepare(0));
	/* As QEMU says it: the vector, of an exception, with the request still there. */
	blocks[0].event = 0x40 | EVENT_EXCEPTION | EVENT_VALID;
	svm_guest_account_interrupt(&guest->vcpus[0]);
	assert_int_equal(blocks[0].event, 0);
	assert_int_equal(local_apic_pending(local(0)), 0x40);
	/* As the manual says it: an interrupt that was taken, and is delivered again. */
	assert_true(prepare(0));
	blocks[0].event = 0x40 | EVENT_INTERRUPT | EVENT_VALID;
	blocks[0].virtual_interrupt &= ~VIRTUAL_REQUEST;
	svm_guest_account_interrupt(&guest->vcpus[0]);
	assert_int_equal(blocks[0].event & 0xff, 0x40);
	assert_int_equal(local_apic_pending(local(0)), -1);
}

static void a_software_interrupt_of_the_offered_vector_is_kept(void **state)
{
	(void)state;
	(void)local_apic_post(local(0), 0x40, false);
	assert_true(prepare(0));
	blocks[0].event = 0x40 | EVENT_SOFTWARE | EVENT_VALID;
	svm_guest_account_interrupt(&guest->vcpus[0]);
	assert_int_equal(blocks[0].event, 0x40 | EVENT_SOFTWARE | EVENT_VALID);
	assert_int_equal(local_apic_pending(local(0)), 0x40);
}

static void a_closed_guest_gets_a_window_first(void **state)
{
	(void)state;
	blocks[0].rflags &= ~RFLAGS_IF;
	(void)local_apic_post(local(0), 0x40, false);
	assert_true(prepare(0));
	assert_int_equal(blocks[0].event, 0);
	assert_true(blocks[0].intercept1 & INTERCEPT1_VINTR);
	assert_true(blocks[0].virtual_interrupt & VIRTUAL_REQUEST);
	blocks[0].rflags |= RFLAGS_IF;
	assert_true(leave(0, EXIT_VINTR, 0, 0));
	assert_int_equal(local_apic_pending(local(0)), 0x40);
	assert_true(prepare(0));
	assert_int_equal(offered(0), 0x40);
	assert_false(blocks[0].intercept1 & INTERCEPT1_VINTR);
}

static void what_was_being_delivered_comes_before_a_new_interrupt(void **state)
{
	(void)state;
	blocks[0].event = 14 | EVENT_EXCEPTION | EVENT_VALID;
	(void)local_apic_post(local(0), 0x40, false);
	assert_true(prepare(0));
	assert_int_equal(blocks[0].event & 0xff, 14);
	assert_true(blocks[0].intercept1 & INTERCEPT1_VINTR);
	assert_int_equal(local_apic_pending(local(0)), 0x40);
}

static void hlt_ends_the_run_and_an_interrupt_ends_hlt(void **state)
{
	(void)state;
	assert_true(leave(0, EXIT_HLT, 0, 0));
	assert_int_equal(blocks[0].rip, CODE_AT + 1);
	assert_false(prepare(0));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_HALT);
	assert_true(svm_guest_sleeps(&guest->vcpus[0]));
	/* Running it again does not make it go on. */
	assert_false(prepare(0));
	(void)local_apic_post(local(0), 0x40, false);
	assert_false(svm_guest_sleeps(&guest->vcpus[0]));
	assert_true(prepare(0));
	assert_int_equal(offered(0), 0x40);
}

static void hlt_with_interrupts_off_sleeps_on(void **state)
{
	(void)state;
	blocks[0].rflags &= ~RFLAGS_IF;
	(void)local_apic_post(local(0), 0x40, false);
	assert_true(leave(0, EXIT_HLT, 0, 0));
	assert_false(prepare(0));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_HALT);
	local_apic_signal(local(0), LOCAL_APIC_NMI);
	assert_true(prepare(0));
	assert_int_equal(blocks[0].event, 2 | EVENT_NMI | EVENT_VALID);
}

static void an_exit_between_sti_and_hlt_does_not_lose_the_wake_up(void **state)
{
	(void)state;
	CODE(0xf4);
	blocks[0].interrupt_shadow = 1;
	assert_false(leave(0, EXIT_INTR, 0, 0));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_INTERRUPT);
	(void)local_apic_post(local(0), 0x40, false);
	assert_true(prepare(0));
	/* The interrupt returns behind HLT, as if it had been executed. */
	assert_int_equal(blocks[0].rip, CODE_AT + 1);
	assert_int_equal(offered(0), 0x40);
	/* Another instruction in the shadow is left alone. */
	CODE(0x90);
	blocks[0].interrupt_shadow = 1;
	assert_false(leave(0, EXIT_INTR, 0, 0));
	assert_int_equal(blocks[0].rip, CODE_AT + 1);
}

static void a_second_nmi_waits_for_the_first_handlers_end(void **state)
{
	(void)state;
	local_apic_signal(local(0), LOCAL_APIC_NMI);
	assert_true(prepare(0));
	assert_int_equal(blocks[0].event & 0xff, 2);
	assert_true(leave(0, EXIT_CPUID, 0, 0));
	local_apic_signal(local(0), LOCAL_APIC_NMI);
	assert_true(prepare(0));
	assert_int_equal(blocks[0].event, 0);
	assert_true(leave(0, EXIT_IRET, 0, 0));
	assert_false(blocks[0].intercept1 & INTERCEPT1_IRET);
	assert_true(prepare(0));
	assert_int_equal(blocks[0].event & 0xff, 2);
}

static void a_deadline_is_told_once_unless_it_moves_earlier(void **state)
{
	(void)state;
	assert_true(msr_write(0, 0x1b, msr_read(0, 0x1b) | 0xc00));
	assert_true(msr_write(0, MSR_X2 + 0x32, 2u << 17 | 0xec));
	assert_true(msr_write(0, 0x6e0, NEVER));
	assert_false(prepare(0));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_TIMER);
	svm_guest_leave(&guest->vcpus[0]);
	assert_int_equal(guest->vcpus[0].deadline, NEVER);
	assert_true(prepare(0));
	assert_true(msr_write(0, 0x6e0, NEVER - 1));
	assert_false(prepare(0));
	svm_guest_leave(&guest->vcpus[0]);
	assert_true(msr_write(0, 0x6e0, NEVER));
	assert_true(prepare(0));
	/* One that has passed interrupts at the next entry. */
	assert_true(msr_write(0, 0x6e0, 1));
	assert_true(prepare(0));
	assert_int_equal(offered(0), 0xec);
}

static void a_second_processor_waits_and_starts_where_it_is_told(void **state)
{
	(void)state;
	assert_true(svm_guest_sleeps(&guest->vcpus[1]));
	assert_false(prepare(1));
	assert_int_equal(run_page(1)->exit, BULKHEAD_RUN_HALT);
	assert_true(msr_write(0, 0x1b, msr_read(0, 0x1b) | 0xc00));
	assert_true(msr_write(0, MSR_X2 + 0x30, 1ull << 32 | 0xc500));
	/* It does not run: the driver is to wake it. */
	assert_false(prepare(0));
	assert_int_equal(run_page(0)->exit, BULKHEAD_RUN_KICK);
	svm_guest_leave(&guest->vcpus[0]);
	assert_int_equal(guest->vcpus[0].effects.vcpus, 1u << 1);
	guest->vcpus[0].effects.vcpus = 0;
	assert_false(prepare(1));
	assert_true(msr_write(0, MSR_X2 + 0x30, 1ull << 32 | 0x4609));
	assert_false(prepare(0));
	assert_true(prepare(1));
	assert_int_equal(blocks[1].cs.base, 0x9000);
	assert_int_equal(blocks[1].cs.selector, 0x900);
	assert_int_equal(blocks[1].rip, 0);
	assert_false(blocks[1].cr0 & CR0_PE);
	/* A start-up message to one that runs is ignored; the boot processor's INIT begins at the reset vector. */
	local_apic_signal(local(1), LOCAL_APIC_STARTUP | 5);
	assert_true(prepare(1));
	assert_int_equal(blocks[1].cs.base, 0x9000);
	local_apic_signal(local(0), LOCAL_APIC_INIT);
	guest->vcpus[0].effects.vcpus = 0;
	assert_true(prepare(0));
	assert_int_equal(blocks[0].cs.base + blocks[0].rip, 0xfffffff0);
}

static void a_running_vcpu_is_rung_and_not_named(void **state)
{
	(void)state;
	states[1].is_waiting = 0;
	states[1].is_inside = 1;
	CODE(0xc7, 0x05, 0x10, 0x03, 0xe0, 0xfe, 0, 0, 0, 1); /* movl $1000000h, APIC + 310h */
	assert_true(leave(0, EXIT_NESTED_FAULT, NESTED_FAULT_FINAL | NESTED_FAULT_WRITE, APIC + 0x310));
	assert_int_equal(blocks[0].rip, CODE_AT + 10);
	CODE(0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x40, 0x40, 0, 0); /* movl $4040h, APIC + 300h */
	assert_true(leave(0, EXIT_NESTED_FAULT, NESTED_FAULT_FINAL | NESTED_FAULT_WRITE, APIC + 0x300));
	assert_true(prepare(0));
	assert_int_equal(rings, 1);
	assert_int_equal(guest->vcpus[0].effects.vcpus, 0);
	/* Its processor exits by the NMI and goes on with the interrupt; nothing is the service domain's. */
	assert_true(leave(1, EXIT_NMI, 0, 0));
	assert_true(prepare(1));
	assert_int_equal(offered(1), 0x40);
	/* With something for the service domain it leaves. */
	processors[1].requests = REQUEST_NMI;
	assert_false(leave(1, EXIT_NMI, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_interrupt_is_offered_when_the_guest_accepts_it, setup),
		cmocka_unit_test_setup(an_interrupt_that_was_not_taken_is_offered_again, setup),
		cmocka_unit_test_setup(a_software_interrupt_of_the_offered_vector_is_kept, setup),
		cmocka_unit_test_setup(an_interrupt_whose_delivery_faults_is_no_event, setup),
		cmocka_unit_test_setup(a_closed_guest_gets_a_window_first, setup),
		cmocka_unit_test_setup(what_was_being_delivered_comes_before_a_new_interrupt, setup),
		cmocka_unit_test_setup(hlt_ends_the_run_and_an_interrupt_ends_hlt, setup),
		cmocka_unit_test_setup(hlt_with_interrupts_off_sleeps_on, setup),
		cmocka_unit_test_setup(an_exit_between_sti_and_hlt_does_not_lose_the_wake_up, setup),
		cmocka_unit_test_setup(a_second_nmi_waits_for_the_first_handlers_end, setup),
		cmocka_unit_test_setup(a_deadline_is_told_once_unless_it_moves_earlier, setup),
		cmocka_unit_test_setup(a_second_processor_waits_and_starts_where_it_is_told, setup),
		cmocka_unit_test_setup(a_running_vcpu_is_rung_and_not_named, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
