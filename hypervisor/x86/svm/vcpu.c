/* SPDX-License-Identifier: MIT */
/*
 * Guests' processors: their control block, and the switch between the service domain and a guest on one
 * processor. VMRUN, VMLOAD and VMSAVE exchange most registers; the general ones, DR0 to DR3 and the
 * extended state are exchanged here, as a whole, so that nothing of one domain is left for another.
 */
#include "../guest_policy.h"
#include "guest.h"

#define CPUID_XSAVE	 (1u << 26) /* 1, ECX */
#define CPUID_IBPB	 (1u << 12) /* 80000008h, EBX */
#define MSR_PRED_CMD	 0x49u
#define PRED_CMD_IBPB	 1u
#define XCR0_X87	 1u
#define MXCSR_OFFSET	 24u /* in an XSAVE area */
#define MXCSR_DEFAULT	 0x1f80u

static bool has_xsave(void)
{
	return cpuid(1, 0).ecx & CPUID_XSAVE;
}

/* Every part of the extended state this processor has. */
static uint64_t extended_mask(void)
{
	struct cpuid parts = cpuid(0xd, 0);

	return parts.eax | (uint64_t)parts.edx << 32;
}

static unsigned int extended_pages(void)
{
	return has_xsave() ? (cpuid(0xd, 0).ecx + 4095u) / 4096u : 1;
}

unsigned int arch_vcpu_pages(void)
{
	return SVM_GUEST_EXTENDED - 1 + 2 * extended_pages();
}

static void *page_of(const struct vcpu *vcpu, unsigned int number)
{
	return arch_page(phys_plus_pages(vcpu->pages, number));
}

static void set_controls(struct vmcb *vmcb, const struct vcpu *vcpu)
{
	vmcb->intercept_exceptions = 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC;
	vmcb->intercept1 = INTERCEPT1_INTR | INTERCEPT1_NMI | INTERCEPT1_SMI | INTERCEPT1_INIT |
			   INTERCEPT1_RDPMC | INTERCEPT1_CPUID | INTERCEPT1_INVD | INTERCEPT1_HLT |
			   INTERCEPT1_INVLPGA | INTERCEPT1_IO | INTERCEPT1_MSR |
			   INTERCEPT1_SHUTDOWN;
	vmcb->intercept2 = INTERCEPT2_VMRUN | INTERCEPT2_VMMCALL | INTERCEPT2_VMLOAD |
			   INTERCEPT2_VMSAVE | INTERCEPT2_STGI | INTERCEPT2_CLGI |
			   INTERCEPT2_SKINIT | INTERCEPT2_RDTSCP | INTERCEPT2_WBINVD |
			   INTERCEPT2_MONITOR | INTERCEPT2_MWAIT | INTERCEPT2_MWAIT_ARMED |
			   INTERCEPT2_XSETBV | INTERCEPT2_RDPRU;
	vmcb->iopm = (uint64_t)svm_guest_port_map;
	vmcb->msrpm = (uint64_t)svm_guest_msr_map;
	vmcb->asid = SVM_ASID_GUEST;
	vmcb->virtual_interrupt = VIRTUAL_MASKING;
	vmcb->nested_control = 1;
	vmcb->nested_root = vcpu->guest->space.root.value;
}

void arch_vcpu_init(struct vcpu *vcpu)
{
	struct svm_vcpu *guest = page_of(vcpu, SVM_GUEST_STATE);

	vcpu->arch = guest;
	guest->vmcb = page_of(vcpu, SVM_GUEST_VMCB);
	guest->vmcb_page = phys_plus_pages(vcpu->pages, SVM_GUEST_VMCB);
	guest->guest.xcr0 = XCR0_X87;
	guest->guest.extended = page_of(vcpu, SVM_GUEST_EXTENDED);
	guest->service.extended = page_of(vcpu, SVM_GUEST_EXTENDED + extended_pages());
	*(uint32_t *)((uint8_t *)guest->guest.extended + MXCSR_OFFSET) = MXCSR_DEFAULT;
	set_controls(guest->vmcb, vcpu);
	/* The task priority is the local APIC's. So V_IRQ never stands while CR8 changes, which emulators die of. */
	if (vcpu->guest->platform)
		guest->vmcb->intercept_cr = INTERCEPT_CR8;
}

enum bulkhead_error arch_vcpu_check_state(const void *state)
{
	return has_xsave() && guest_policy_state(state) ? BULKHEAD_OK : BULKHEAD_INVALID;
}

static struct vmcb_segment to_vmcb(const struct bulkhead_segment *segment)
{
	return (struct vmcb_segment){ segment->selector, segment->attributes & 0xfff,
				      segment->limit, segment->base };
}

static struct bulkhead_segment from_vmcb(const struct vmcb_segment *segment)
{
	return (struct bulkhead_segment){ segment->selector, segment->attributes, segment->limit,
					  segment->base };
}

void arch_vcpu_set_state(struct vcpu *vcpu, const void *state)
{
	const struct bulkhead_vcpu_state *from = state;
	struct svm_vcpu *guest = svm_vcpu_of(vcpu);
	struct vmcb *vmcb = guest->vmcb;

	for (unsigned int i = 0; i < GPR_COUNT; i++)
		guest->guest.gpr[i] = from->gpr[i];
	vmcb->rax = from->gpr[GPR_RAX];
	vmcb->rsp = from->gpr[GPR_RSP];
	vmcb->rip = from->rip;
	vmcb->rflags = from->rflags;
	vmcb->es = to_vmcb(&from->es);
	vmcb->cs = to_vmcb(&from->cs);
	vmcb->ss = to_vmcb(&from->ss);
	vmcb->ds = to_vmcb(&from->ds);
	vmcb->fs = to_vmcb(&from->fs);
	vmcb->gs = to_vmcb(&from->gs);
	vmcb->ldtr = to_vmcb(&from->ldtr);
	vmcb->tr = to_vmcb(&from->tr);
	vmcb->gdtr = to_vmcb(&from->gdtr);
	vmcb->idtr = to_vmcb(&from->idtr);
	vmcb->cpl = from->ss.attributes >> 5 & 3;
	vmcb->cr0 = from->cr0;
	vmcb->cr2 = from->cr2;
	vmcb->cr3 = from->cr3;
	vmcb->cr4 = from->cr4;
	vmcb->efer = from->efer | EFER_SVME;
	vmcb->pat = from->pat;
	vmcb->dr6 = 0xffff0ff0;
	vmcb->dr7 = 0x400;
	vmcb->event = 0;
	vmcb->interrupt_shadow = 0;
	guest->pending_read = 0;
	guest->is_over = 0;
	guest->is_halted = 0;
	guest->is_waiting = vcpu->guest->platform && vcpu->index != 0;
}

void arch_vcpu_get_state(const struct vcpu *vcpu, void *state)
{
	const struct svm_vcpu *guest = svm_vcpu_of(vcpu);
	const struct vmcb *vmcb = guest->vmcb;
	struct bulkhead_vcpu_state *to = state;

	for (unsigned int i = 0; i < GPR_COUNT; i++)
		to->gpr[i] = guest->guest.gpr[i];
	to->gpr[GPR_RAX] = vmcb->rax;
	to->gpr[GPR_RSP] = vmcb->rsp;
	to->rip = vmcb->rip;
	to->rflags = vmcb->rflags;
	to->es = from_vmcb(&vmcb->es);
	to->cs = from_vmcb(&vmcb->cs);
	to->ss = from_vmcb(&vmcb->ss);
	to->ds = from_vmcb(&vmcb->ds);
	to->fs = from_vmcb(&vmcb->fs);
	to->gs = from_vmcb(&vmcb->gs);
	to->ldtr = from_vmcb(&vmcb->ldtr);
	to->tr = from_vmcb(&vmcb->tr);
	to->gdtr = from_vmcb(&vmcb->gdtr);
	to->idtr = from_vmcb(&vmcb->idtr);
	to->cr0 = vmcb->cr0;
	to->cr2 = vmcb->cr2;
	to->cr3 = vmcb->cr3;
	to->cr4 = vmcb->cr4;
	to->efer = vmcb->efer & ~EFER_SVME;
	to->pat = vmcb->pat;
}

static uint64_t read_xcr0(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low | (uint64_t)high << 32;
}

static void write_xcr0(uint64_t value)
{
	__asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

void svm_set_xcr0(uint64_t value)
{
	uint64_t cr4 = read_cr4();

	write_cr4(cr4 | CR4_OSXSAVE);
	write_xcr0(value);
	write_cr4(cr4);
}

#define MOVE_DEBUG(n)                                                                              \
	do {                                                                                       \
		__asm__ volatile("mov %%dr" #n ", %0" : "=r"(from->debug[n]));                     \
		__asm__ volatile("mov %0, %%dr" #n : : "r"(to->debug[n]));                         \
	} while (0)

/* Puts one domain's registers away and loads another's. */
static void exchange(struct svm_registers *from, const struct svm_registers *to, uint64_t *gpr)
{
	uint64_t mask = extended_mask(), cr4 = read_cr4();

	__builtin_memcpy(from->gpr, gpr, sizeof(from->gpr));
	__builtin_memcpy(gpr, to->gpr, sizeof(to->gpr));
	MOVE_DEBUG(0);
	MOVE_DEBUG(1);
	MOVE_DEBUG(2);
	MOVE_DEBUG(3);
	/* All parts, whatever either domain has enabled: a part that is off still holds its data. */
	write_cr4(cr4 | CR4_OSXSAVE);
	from->xcr0 = read_xcr0();
	write_xcr0(mask);
	__asm__ volatile("xsave64 (%0)" : : "r"(from->extended), "a"((uint32_t)mask),
			 "d"((uint32_t)(mask >> 32)) : "memory");
	__asm__ volatile("xrstor64 (%0)" : : "r"(to->extended), "a"((uint32_t)mask),
			 "d"((uint32_t)(mask >> 32)) : "memory");
	write_xcr0(to->xcr0);
	write_cr4(cr4);
}

/* What one domain taught the branch predictors must not steer another (APM vol. 2, 3.2.9). */
static void forget_branches(void)
{
	if (cpuid(0x80000008, 0).ebx & CPUID_IBPB)
		wrmsr(MSR_PRED_CMD, PRED_CMD_IBPB);
}

/* One stay in the guest. With GIF clear, IF only says that a pending interrupt ends it (15.21.1). */
static void enter(struct processor *processor, struct vcpu *vcpu, struct vmcb *vmcb)
{
	processor_poll_flush();
	core.stats[processor->index].guest_flushes += vmcb->tlb_control != 0;
	__asm__ volatile("sti");
	svm_switch(processor);
	__asm__ volatile("cli");
	vmcb->tlb_control = 0;
	vmcb->event = vmcb->exit_interrupt & EVENT_VALID ? vmcb->exit_interrupt : 0;
	svm_guest_account_interrupt(vcpu);
}

/*
 * Stays in the guest until the service domain is needed. A vCPU that is about to sleep says first that it is gone and then
 * looks again: whoever posts looks the other way round, so one of the two sees the other.
 */
static void stay(struct processor *processor, struct vcpu *vcpu, struct bulkhead_run *run)
{
	struct svm_vcpu *guest = svm_vcpu_of(vcpu);

	do {
		__atomic_store_n(&guest->is_inside, 1, __ATOMIC_SEQ_CST);
		while (svm_guest_prepare(processor, vcpu, run)) {
			enter(processor, vcpu, guest->vmcb);
			if (!svm_guest_exit(processor, vcpu, run))
				break;
		}
		__atomic_store_n(&guest->is_inside, 0, __ATOMIC_SEQ_CST);
	} while (guest->exit == BULKHEAD_RUN_HALT && vcpu->guest->platform && !svm_guest_sleeps(vcpu));
}

void arch_vcpu_run(struct vcpu *vcpu)
{
	struct processor *processor = this_processor();
	struct svm_vcpu *guest = svm_vcpu_of(vcpu);
	struct bulkhead_run *run = arch_page(vcpu->run_page);
	uint64_t service_state = processor->run_state;

	if (guest->is_over) {
		WRITE_ONCE(run->exit, guest->is_over);
		return;
	}
	if (svm_guest_sleeps(vcpu)) {
		svm_guest_tell(guest, run, BULKHEAD_RUN_HALT);
		svm_guest_leave(vcpu);
		return;
	}
	svm_guest_complete(guest, run);
	exchange(&guest->service, &guest->guest, processor->gpr);
	forget_branches();
	processor->run_state = guest->vmcb_page.value;
	/* All guests share one identifier: translations of whoever ran here before must go. */
	guest->vmcb->tlb_control = TLB_FLUSH_ALL;
	core.stats[processor->index].world_switches++;
	stay(processor, vcpu, run);
	processor->run_state = service_state;
	forget_branches();
	exchange(&guest->guest, &guest->service, processor->gpr);
	svm_guest_leave(vcpu);
}
