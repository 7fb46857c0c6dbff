/* SPDX-License-Identifier: MIT */
/*
 * Exits of a guest with a platform, one by one, as the processor would report them: what is injected when, what ends a
 * run, and what a vCPU does to another. The processor is played by hand: a test sets the control block as an exit leaves
 * it, and looks at what stands there before the next entry.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "guest_platform.h"
#include "hypercall.h"
#include "x86/clock.h"
#include "x86/svm/guest.h"

/* Of fake_arch.h, whose struct view is not the one of the x86 code. */
void fake_start(unsigned int spare_pages);

#define PAGE(n)	   (0x2800000ull + (n) * PAGE_BYTES)
#define LARGE(n)   (0x2c00000ull + (n) * (2ull << 20))
#define CODE_AT	   0x1000u
#define APIC	   0xfee00000ull
#define NEVER	   (~0ull >> 1)
#define MSR_X2	   0x800u

static struct processor processors[2];
static struct svm_vcpu states[2];
static struct vmcb blocks[2];
static struct guest *guest;
static unsigned int rings;
static uint64_t xcr0;

/* The processor's side. */

void vendor_skip(struct processor *processor, unsigned int size_bytes)
{
	struct vmcb *vmcb = &blocks[processor - processors];

	vmcb->rip += size_bytes;
	vmcb->interrupt_shadow = 0;
}

void vendor_inject(struct processor *processor, enum vector vector, uint32_t error)
{
	(void)error;
	blocks[processor - processors].event = (uint64_t)vector | EVENT_EXCEPTION | EVENT_VALID;
}

void vendor_take_pending(void)
{
}

void nmi_account(struct processor *processor)
{
	processor->doorbell = 0;
}

struct processor *processor_at(unsigned int index)
{
	return &processors[index];
}

void processor_request(struct processor *processor, uint32_t requests)
{
	assert_int_equal(requests, 0);
	processor->doorbell = 1;
	rings++;
}

void svm_set_xcr0(uint64_t value)
{
	xcr0 = value;
}

uint64_t clock_date_at(uint64_t tsc)
{
	return 1800000000 + tsc;
}

/* The guest. */

static uint64_t call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct hypercall hypercall;

	do {
		hypercall = (struct hypercall){ .number = number, .arguments = { a, b, c, d } };
		hypercall_dispatch(&hypercall);
	} while (hypercall.status == BULKHEAD_AGAIN);
	assert_int_equal(hypercall.status, BULKHEAD_OK);
	return hypercall.value;
}

static int setup(void **state)
{
	uint64_t handle;

	(void)state;
	fake_start(64);
	memset(states, 0, sizeof(states));
	memset(blocks, 0, sizeof(blocks));
	memset(processors, 0, sizeof(processors));
	rings = 0;
	handle = call(BULKHEAD_CALL_GUEST_CREATE, PAGE(100), 1, 0, 0);
	for (unsigned int i = 0; i < 12; i++)
		call(BULKHEAD_CALL_GUEST_PAY, handle, PAGE(101 + i), 0, 0);
	call(BULKHEAD_CALL_GUEST_RANGE, handle, 0, 2048, 0);
	call(BULKHEAD_CALL_PLATFORM_CREATE, handle, LARGE(3), 0, 0);
	call(BULKHEAD_CALL_GUEST_DONATE, handle, LARGE(1), 0, 16);
	guest = &core.guests[handle % BULKHEAD_MAX_GUESTS];
	for (unsigned int i = 0; i < 2; i++) {
		call(BULKHEAD_CALL_VCPU_CREATE, handle, i, PAGE(120 + 4 * i), PAGE(130 + i));
		call(BULKHEAD_CALL_VCPU_SET, handle, i, PAGE(132), 0);
		guest->vcpus[i].arch = &states[i];
		guest->vcpus[i].processor = i;
		states[i].vmcb = &blocks[i];
		states[i].is_waiting = i != 0;
		blocks[i].rip = CODE_AT;
		blocks[i].cs.attributes = 0xc9b;
		blocks[i].rflags = RFLAGS_FIXED | RFLAGS_IF;
		blocks[i].efer = EFER_SVME;
		blocks[i].cr0 = CR0_PE;
		(void)apic_bus_write(&guest->platform->platform.apics, i, 0xf0, 0x1ff, 0);
	}
	call(BULKHEAD_CALL_GUEST_SEAL, handle, 0, 0, 0);
	return 0;
}

static struct bulkhead_run *run_page(unsigned int i)
{
	return arch_page(guest->vcpus[i].run_page);
}

static struct local_apic *local(unsigned int i)
{
	return &guest->platform->platform.apics.local[i];
}

static bool prepare(unsigned int i)
{
	return svm_guest_prepare(&processors[i], &guest->vcpus[i], run_page(i));
}

/* The vector of the virtual interrupt that the guest may take, or 0. */
static unsigned int offered(unsigned int i)
{
	return blocks[i].intercept1 & INTERCEPT1_VINTR ? 0 : blocks[i].virtual_interrupt >> VIRTUAL_VECTOR_SHIFT & 0xff;
}

/* The guest's stay ends, and an interrupt that it was offered is taken or is not. */
static void stay(unsigned int i, bool takes)
{
	blocks[i].event = 0;
	if (takes)
		blocks[i].virtual_interrupt &= ~VIRTUAL_REQUEST;
	svm_guest_account_interrupt(&guest->vcpus[i]);
}

/* The processor delivers what was injected or offered and later exits. */
static bool leave(unsigned int i, uint64_t code, uint64_t info1, uint64_t info2)
{
	stay(i, true);
	blocks[i].exit_code = code;
	blocks[i].exit_info1 = info1;
	blocks[i].exit_info2 = info2;
	return svm_guest_exit(&processors[i], &guest->vcpus[i], run_page(i));
}

static void put_code(const void *bytes, size_t size_bytes)
{
	assert_true(memory_write(&guest->platform->memory, blocks[0].rip, bytes, (uint32_t)size_bytes));
}
#define CODE(...) put_code((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static bool msr_write(unsigned int i, uint32_t msr, uint64_t value)
{
	processors[i].gpr[GPR_RCX] = msr;
	blocks[i].rax = (uint32_t)value;
	processors[i].gpr[GPR_RDX] = value >> 32;
	return leave(i, EXIT_MSR, 1, 0);
}

static uint64_t msr_read(unsigned int i, uint32_t msr)
{
	processors[i].gpr[GPR_RCX] = msr;
	assert_true(leave(i, EXIT_MSR, 0, 0));
	return blocks[i].rax | processors[i].gpr[GPR_RDX] << 32;
}

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
