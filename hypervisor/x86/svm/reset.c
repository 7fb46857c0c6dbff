/* SPDX-License-Identifier: MIT */
/*
 * State after INIT and start-up messages (14.1.3, 15.30), of the service domain's processors and of guests'.
 */
#include "../hypervisor.h"
#include "svm.h"

#define RESET_VECTOR  0xfff0u
#define RESET_BASE    0xffff0000ull
#define RESET_SEGMENT 0xf000u

void svm_reset(struct processor *processor, struct vmcb *vmcb)
{
	struct vmcb_segment data = { 0, 0x93, 0xffff, 0 };

	vmcb->cs = (struct vmcb_segment){ RESET_SEGMENT, 0x9b, 0xffff, RESET_BASE };
	vmcb->ss = vmcb->ds = vmcb->es = vmcb->fs = vmcb->gs = data;
	vmcb->gdtr = vmcb->idtr = (struct vmcb_segment){ 0, 0, 0xffff, 0 };
	vmcb->ldtr = (struct vmcb_segment){ 0, 0x82, 0xffff, 0 };
	vmcb->tr = (struct vmcb_segment){ 0, 0x8b, 0xffff, 0 };
	vmcb->cpl = 0;
	vmcb->efer = EFER_SVME;
	vmcb->cr0 = CR0_ET | (vmcb->cr0 & (CR0_CD | CR0_NW));
	vmcb->cr2 = vmcb->cr3 = vmcb->cr4 = 0;
	vmcb->dr6 = 0xffff0ff0;
	vmcb->dr7 = 0x400;
	vmcb->rflags = RFLAGS_FIXED;
	vmcb->rip = RESET_VECTOR;
	vmcb->rsp = vmcb->rax = 0;
	vmcb->event = 0;
	vmcb->interrupt_shadow = 0;
	vmcb->intercept1 &= ~INTERCEPT1_IRET;
	vmcb->tlb_control = TLB_FLUSH_ALL;
	for (unsigned int i = 0; i < GPR_COUNT; i++)
		processor->gpr[i] = 0;
	processor->gpr[GPR_RDX] = cpuid(1, 0).eax; /* family, model, stepping */
}

void svm_start_up(struct vmcb *vmcb, uint8_t vector)
{
	vmcb->cs.selector = (uint16_t)(vector << 8);
	vmcb->cs.base = (uint64_t)vector << 12;
	vmcb->rip = 0;
}
