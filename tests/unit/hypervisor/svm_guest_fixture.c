/* SPDX-License-Identifier: MIT */
/* A guest whose processors a test plays; see svm_guest_fixture.h. */
#include "svm_guest_fixture.h"

#include "hypercall.h"
#include "x86/clock.h"

/* Of fake_arch.h, whose struct view is not the one of the x86 code. */
void fake_start(unsigned int spare_pages);

struct processor processors[2];
struct svm_vcpu states[2];
struct vmcb blocks[2];
struct guest *guest;
unsigned int rings;
uint64_t xcr0;

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

uint64_t call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct hypercall hypercall;

	do {
		hypercall = (struct hypercall){ .number = number, .arguments = { a, b, c, d } };
		hypercall_dispatch(&hypercall);
	} while (hypercall.status == BULKHEAD_AGAIN);
	assert_int_equal(hypercall.status, BULKHEAD_OK);
	return hypercall.value;
}

int setup(void **state)
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

struct bulkhead_run *run_page(unsigned int i)
{
	return arch_page(guest->vcpus[i].run_page);
}

struct local_apic *local(unsigned int i)
{
	return &guest->platform->platform.apics.local[i];
}

bool prepare(unsigned int i)
{
	return svm_guest_prepare(&processors[i], &guest->vcpus[i], run_page(i));
}

unsigned int offered(unsigned int i)
{
	return blocks[i].intercept1 & INTERCEPT1_VINTR ? 0 : blocks[i].virtual_interrupt >> VIRTUAL_VECTOR_SHIFT & 0xff;
}

void stay(unsigned int i, bool takes)
{
	blocks[i].event = 0;
	if (takes)
		blocks[i].virtual_interrupt &= ~VIRTUAL_REQUEST;
	svm_guest_account_interrupt(&guest->vcpus[i]);
}

bool leave(unsigned int i, uint64_t code, uint64_t info1, uint64_t info2)
{
	stay(i, true);
	blocks[i].exit_code = code;
	blocks[i].exit_info1 = info1;
	blocks[i].exit_info2 = info2;
	return svm_guest_exit(&processors[i], &guest->vcpus[i], run_page(i));
}

void put_code(const void *bytes, size_t size_bytes)
{
	assert_true(memory_write(&guest->platform->memory, blocks[0].rip, bytes, (uint32_t)size_bytes));
}

bool msr_write(unsigned int i, uint32_t msr, uint64_t value)
{
	processors[i].gpr[GPR_RCX] = msr;
	blocks[i].rax = (uint32_t)value;
	processors[i].gpr[GPR_RDX] = value >> 32;
	return leave(i, EXIT_MSR, 1, 0);
}

uint64_t msr_read(unsigned int i, uint32_t msr)
{
	processors[i].gpr[GPR_RCX] = msr;
	assert_true(leave(i, EXIT_MSR, 0, 0));
	return blocks[i].rax | processors[i].gpr[GPR_RDX] << 32;
}
