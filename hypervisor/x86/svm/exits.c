/* SPDX-License-Identifier: MIT */
/*
 * Exits of the service domain: from SVM's codes to the shared handlers.
 *
 * An instruction's length is known by the instruction where the processor does not save the next RIP.
 * Prefixes make that wrong; whoever writes them gets the rest of their own instruction executed.
 */
#include "../apic.h"
#include "../cpuid_policy.h"
#include "../hypervisor.h"
#include "../memory_fault.h"
#include "../msr_policy.h"
#include "../port_policy.h"
#include "../power.h"
#include "../../core/hypercall.h"
#include "svm.h"

/* What counter an exit belongs to; what has no row is BULKHEAD_EXIT_OTHER. */
static enum bulkhead_exit reason_of(uint32_t code)
{
	static const uint8_t reasons[] = {
		[EXIT_EXCEPTION + VECTOR_DB] = BULKHEAD_EXIT_EXCEPTION + 1,
		[EXIT_EXCEPTION + VECTOR_AC] = BULKHEAD_EXIT_EXCEPTION + 1,
		[EXIT_NMI] = BULKHEAD_EXIT_NMI + 1,
		[EXIT_SMI] = BULKHEAD_EXIT_SMI + 1,
		[EXIT_INIT] = BULKHEAD_EXIT_INIT + 1,
		[EXIT_CPUID] = BULKHEAD_EXIT_CPUID + 1,
		[EXIT_IRET] = BULKHEAD_EXIT_NMI + 1,
		[EXIT_INVD] = BULKHEAD_EXIT_CONTROL + 1,
		[EXIT_WBINVD] = BULKHEAD_EXIT_CONTROL + 1,
		[EXIT_INVLPGA] = BULKHEAD_EXIT_SVM + 1,
		[EXIT_IO] = BULKHEAD_EXIT_PORT + 1,
		[EXIT_MSR] = BULKHEAD_EXIT_MSR + 1,
		[EXIT_SHUTDOWN] = BULKHEAD_EXIT_SHUTDOWN + 1,
		[EXIT_VMRUN] = BULKHEAD_EXIT_SVM + 1,
		[EXIT_VMMCALL] = BULKHEAD_EXIT_HYPERCALL + 1,
		[EXIT_VMLOAD] = BULKHEAD_EXIT_SVM + 1,
		[EXIT_VMSAVE] = BULKHEAD_EXIT_SVM + 1,
		[EXIT_STGI] = BULKHEAD_EXIT_SVM + 1,
		[EXIT_CLGI] = BULKHEAD_EXIT_SVM + 1,
		[EXIT_SKINIT] = BULKHEAD_EXIT_SVM + 1,
	};

	if (code == EXIT_NESTED_FAULT)
		return BULKHEAD_EXIT_MEMORY;
	if (code >= ARRAY_COUNT(reasons) || reasons[code] == 0)
		return BULKHEAD_EXIT_OTHER;
	return reasons[code] - 1;
}

/* Past the instruction; @size_bytes is its length where the processor does not tell. */
static void advance(struct processor *processor, const struct vmcb *vmcb, unsigned int size_bytes)
{
	if (vmcb->next_rip > vmcb->rip && vmcb->next_rip - vmcb->rip <= 15)
		size_bytes = (unsigned int)(vmcb->next_rip - vmcb->rip);
	vendor_skip(processor, size_bytes);
}

static void exit_cpuid(struct processor *processor, struct vmcb *vmcb)
{
	uint64_t *gpr = processor->gpr;
	struct cpuid answer = cpuid_policy_answer((uint32_t)vmcb->rax, (uint32_t)gpr[GPR_RCX],
						  vmcb->cr4);

	vmcb->rax = answer.eax;
	gpr[GPR_RBX] = answer.ebx;
	gpr[GPR_RCX] = answer.ecx;
	gpr[GPR_RDX] = answer.edx;
	advance(processor, vmcb, 2);
}

static void exit_msr(struct processor *processor, struct vmcb *vmcb)
{
	uint64_t *gpr = processor->gpr;
	uint32_t msr = (uint32_t)gpr[GPR_RCX];
	uint64_t value = (uint32_t)vmcb->rax | gpr[GPR_RDX] << 32;
	bool is_write = vmcb->exit_info1 & 1;
	bool done;

	if (msr == MSR_EFER) {
		/* EFER.SVME is ours: VMRUN demands it set, the service domain sees it clear. */
		done = !is_write || msr_efer_is_valid(value, vmcb->efer, vmcb->cr0);
		if (done && is_write) {
			vmcb->efer = msr_efer_merge(value, vmcb->efer);
			vmcb->tlb_control = TLB_FLUSH_ALL;
		}
		value = vmcb->efer & ~EFER_SVME;
	} else {
		done = is_write ? msr_write(msr, value) : msr_read(msr, &value);
	}
	if (!done) {
		vendor_inject(processor, VECTOR_GP, 0);
		return;
	}
	if (!is_write) {
		vmcb->rax = (uint32_t)value;
		gpr[GPR_RDX] = value >> 32;
	}
	advance(processor, vmcb, 2);
}

static void exit_port(struct processor *processor, struct vmcb *vmcb)
{
	uint64_t info = vmcb->exit_info1;
	unsigned int size_bytes = info >> 4 & 7;
	uint32_t value = (uint32_t)vmcb->rax;

	if (info & (IO_STRING | IO_REPEATED)) {
		vendor_inject(processor, VECTOR_GP, 0);
		return;
	}
	if (info & IO_IN) {
		value = port_read((uint16_t)(info >> 16), size_bytes);
		vmcb->rax = size_bytes == 4 ? value :
			    size_bytes == 2 ? (vmcb->rax & ~0xffffull) | (value & 0xffff) :
					      (vmcb->rax & ~0xffull) | (value & 0xff);
	} else {
		port_write((uint16_t)(info >> 16), size_bytes, value);
	}
	vmcb->rip = vmcb->exit_info2; /* always the next instruction's (15.10.2) */
	vmcb->interrupt_shadow = 0;
}

static void exit_hypercall(struct processor *processor, struct vmcb *vmcb)
{
	uint64_t *gpr = processor->gpr;
	struct hypercall call = {
		.number = vmcb->rax,
		.arguments = { gpr[GPR_RDI], gpr[GPR_RSI], gpr[GPR_RDX], gpr[GPR_RCX],
			       gpr[GPR_R8] },
	};

	if (vmcb->cpl != 0 || !svm_is_64bit(vmcb)) {
		vendor_inject(processor, VECTOR_UD, 0);
		return;
	}
	advance(processor, vmcb, 3);
	hypercall_dispatch(&call);
	vmcb->rax = call.status;
	gpr[GPR_RDX] = call.value;
}

void svm_exit(struct processor *processor, struct vmcb *vmcb)
{
	uint32_t code = (uint32_t)vmcb->exit_code;

	core_count_exit(reason_of(code));
	switch (code) {
	case EXIT_NESTED_FAULT:
		memory_fault(processor, vmcb->exit_info2, vmcb->exit_info1 & NESTED_FAULT_WRITE,
			     vmcb->exit_info1 & NESTED_FAULT_FINAL);
		break;
	case EXIT_CPUID:
		exit_cpuid(processor, vmcb);
		break;
	case EXIT_MSR:
		exit_msr(processor, vmcb);
		break;
	case EXIT_IO:
		exit_port(processor, vmcb);
		break;
	case EXIT_VMMCALL:
		exit_hypercall(processor, vmcb);
		break;
	case EXIT_NMI:
	case EXIT_SMI:
		/* Still pending now (15.21.2). */
		vendor_take_pending();
		break;
	case EXIT_IRET:
		/* The NMI's handler ends here; another one may come before IRET has run. */
		processor->is_nmi_blocked = 0;
		vmcb->intercept1 &= ~INTERCEPT1_IRET;
		break;
	case EXIT_INVD:
	case EXIT_WBINVD:
		__asm__ volatile("wbinvd" : : : "memory");
		advance(processor, vmcb, 2);
		break;
	case EXIT_EXCEPTION + VECTOR_DB:
		vendor_inject(processor, VECTOR_DB, 0);
		break;
	case EXIT_EXCEPTION + VECTOR_AC:
		vendor_inject(processor, VECTOR_AC, (uint32_t)vmcb->exit_info1);
		break;
	case EXIT_SHUTDOWN:
		power_reset("triple fault");
	case EXIT_INIT:
		power_reset("INIT from a device");
	case (uint32_t)EXIT_INVALID:
		panic("the processor refuses the service domain's state");
	default:
		vendor_inject(processor, VECTOR_UD, 0);
		break;
	}
}

/* Sleeps as a processor does that waits for a start-up message. */
static void wait_for_requests(struct processor *processor)
{
	uint8_t vector;

	for (;;) {
		nmi_account(processor);
		processor_poll_flush();
		if (__atomic_load_n(&processor->requests, __ATOMIC_ACQUIRE) & REQUEST_STOP)
			power_park();
		if (apic_take_messages(processor, &vector))
			vendor_reset(processor, vector);
		if (!processor->is_waiting)
			return;
		vendor_wait();
	}
}

/* One that came while a guest ran. */
static void hand_on_machine_check(struct processor *processor, struct vmcb *vmcb)
{
	if (!processor->is_machine_check_pending || (vmcb->event & EVENT_VALID))
		return;
	processor->is_machine_check_pending = 0;
	vmcb->event = VECTOR_MC | EVENT_EXCEPTION | EVENT_VALID;
}

static void hand_on_nmi(struct processor *processor, struct vmcb *vmcb)
{
	if (!processor->is_nmi_pending || processor->is_nmi_blocked || (vmcb->event & EVENT_VALID))
		return;
	processor->is_nmi_pending = 0;
	processor->is_nmi_blocked = 1;
	vmcb->event = VECTOR_NMI | EVENT_NMI | EVENT_VALID;
	vmcb->intercept1 |= INTERCEPT1_IRET;
}

void svm_run_once(struct processor *processor)
{
	struct vmcb *vmcb = svm_service(processor);

	wait_for_requests(processor);
	hand_on_machine_check(processor, vmcb);
	hand_on_nmi(processor, vmcb);
	svm_switch(processor);
	vmcb->tlb_control = 0;
	/* What was being delivered when the exit came is delivered again (15.7.2). */
	vmcb->event = vmcb->exit_interrupt & EVENT_VALID ? vmcb->exit_interrupt : 0;
	svm_exit(processor, vmcb);
}
