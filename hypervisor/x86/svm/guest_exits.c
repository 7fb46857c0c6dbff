/* SPDX-License-Identifier: MIT */
/*
 * Exits of a guest. What the hypervisor answers itself lets it run on; for the rest the run page tells
 * the driver, and of a protected guest it tells no more than that: the port and the value written, or
 * the page that is missing.
 */
#include "../guest_policy.h"
#include "guest.h"

uint8_t svm_guest_port_map[3 * 4096] __attribute__((aligned(4096)));
uint8_t svm_guest_msr_map[2 * 4096] __attribute__((aligned(4096)));

#define PAGE_OFFSET_MASK 0xfffull
#define APIC_DEFAULT	 0xfee00000ull

/* Registers in the control block (15.5.1, VMSAVE): each domain has its own without an exit. */
static const uint32_t own_msrs[] = {
	0x174, 0x175, 0x176,			    /* SYSENTER */
	0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, /* SYSCALL */
	MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS,
};

void svm_guest_build_maps(void)
{
	__builtin_memset(svm_guest_port_map, 0xff, sizeof(svm_guest_port_map));
	__builtin_memset(svm_guest_msr_map, 0xff, sizeof(svm_guest_msr_map));
	for (size_t i = 0; i < ARRAY_COUNT(own_msrs); i++) {
		uint32_t base = own_msrs[i] < 0x2000 ? 0 : 0x800;
		uint32_t bit = (own_msrs[i] & 0x1fff) * 2;

		svm_guest_msr_map[base + bit / 8] &= (uint8_t)~(3u << bit % 8);
	}
}

/* Puts a port's answer into RAX as the access's width says. */
static void set_port_value(struct vmcb *vmcb, unsigned int size_bytes, uint32_t value)
{
	uint64_t keep = size_bytes == 4 ? 0 : ~0ull << (8 * size_bytes);

	vmcb->rax = (vmcb->rax & keep) | (value & (uint32_t)~keep);
}

void svm_guest_complete(struct svm_vcpu *guest, const struct bulkhead_run *run)
{
	if (guest->pending_read == 0)
		return;
	set_port_value(guest->vmcb, guest->pending_read, READ_ONCE(run->value));
	guest->pending_read = 0;
}

static bool tell(struct bulkhead_run *run, enum bulkhead_run_exit exit)
{
	WRITE_ONCE(run->exit, exit);
	return false;
}

static bool end(struct svm_vcpu *guest, struct bulkhead_run *run, enum bulkhead_run_exit exit)
{
	guest->is_over = exit;
	return tell(run, exit);
}

/* Past the instruction; the length is the instruction's own where the processor does not tell. */
static bool advance(struct processor *processor, const struct vmcb *vmcb, unsigned int size_bytes)
{
	if (vmcb->next_rip > vmcb->rip && vmcb->next_rip - vmcb->rip <= 15)
		size_bytes = (unsigned int)(vmcb->next_rip - vmcb->rip);
	vendor_skip(processor, size_bytes);
	return true;
}

static bool refuse(struct processor *processor, enum vector vector)
{
	vendor_inject(processor, vector, 0);
	return true;
}

static bool exit_cpuid(struct processor *processor, const struct vcpu *vcpu, struct vmcb *vmcb)
{
	uint64_t *gpr = processor->gpr;
	uint32_t leaf = (uint32_t)vmcb->rax;
	struct cpuid answer = guest_policy_cpuid(leaf, vcpu->index,
						 cpuid(leaf, (uint32_t)gpr[GPR_RCX]));

	vmcb->rax = answer.eax;
	gpr[GPR_RBX] = answer.ebx;
	gpr[GPR_RCX] = answer.ecx;
	gpr[GPR_RDX] = answer.edx;
	return advance(processor, vmcb, 2);
}

static bool read_msr(const struct vcpu *vcpu, const struct vmcb *vmcb, uint32_t msr, uint64_t *value)
{
	switch (msr) {
	case MSR_TSC:
		*value = rdtsc();
		return true;
	case MSR_APIC_BASE:
		*value = APIC_DEFAULT | (vcpu->index == 0 ? APIC_BASE_BSP : 0);
		return true;
	case MSR_EFER:
		*value = vmcb->efer & ~EFER_SVME;
		return true;
	case MSR_PAT:
		*value = vmcb->pat;
		return true;
	default:
		return false;
	}
}

static bool write_msr(struct vmcb *vmcb, uint32_t msr, uint64_t value)
{
	if (msr != MSR_EFER || !guest_policy_efer(value & ~EFER_LMA, vmcb->efer, vmcb->cr0))
		return false;
	/* LMA is the processor's to set: it follows LME when paging goes on (14.6). */
	vmcb->efer = (value & ~EFER_LMA) | (vmcb->efer & EFER_LMA) | EFER_SVME;
	vmcb->tlb_control = TLB_FLUSH_ALL;
	return true;
}

static bool exit_msr(struct processor *processor, const struct vcpu *vcpu, struct vmcb *vmcb)
{
	uint64_t *gpr = processor->gpr;
	uint32_t msr = (uint32_t)gpr[GPR_RCX];
	uint64_t value = (uint32_t)vmcb->rax | gpr[GPR_RDX] << 32;

	if (vmcb->exit_info1 & 1) {
		if (!write_msr(vmcb, msr, value))
			return refuse(processor, VECTOR_GP);
		return advance(processor, vmcb, 2);
	}
	if (!read_msr(vcpu, vmcb, msr, &value))
		return refuse(processor, VECTOR_GP);
	vmcb->rax = (uint32_t)value;
	gpr[GPR_RDX] = value >> 32;
	return advance(processor, vmcb, 2);
}

static bool exit_port(struct processor *processor, struct svm_vcpu *guest, struct bulkhead_run *run)
{
	struct vmcb *vmcb = guest->vmcb;
	uint64_t info = vmcb->exit_info1;
	uint16_t port = (uint16_t)(info >> 16);
	unsigned int size_bytes = info >> 4 & 7;
	bool is_read = info & IO_IN;

	if (info & (IO_STRING | IO_REPEATED))
		return refuse(processor, VECTOR_GP);
	vmcb->rip = vmcb->exit_info2; /* always the next instruction's (15.10.2) */
	vmcb->interrupt_shadow = 0;
	if (!guest_policy_port(port, size_bytes)) {
		if (is_read)
			set_port_value(vmcb, size_bytes, 0xffffffff);
		return true;
	}
	guest->pending_read = is_read ? size_bytes : 0;
	*run = (struct bulkhead_run){
		.exit = BULKHEAD_RUN_PORT,
		.port = port,
		.size_bytes = (uint8_t)size_bytes,
		.is_read = is_read,
		.value = is_read ? 0 : (uint32_t)vmcb->rax & (uint32_t)(~0ull >> (64 - 8 * size_bytes)),
	};
	return false;
}

/* Empty declared memory is the driver's to fill; anything else ends the guest. */
static bool exit_memory(struct svm_vcpu *guest, const struct vcpu *vcpu, struct bulkhead_run *run)
{
	struct guest_phys page = guest_phys_at(guest->vmcb->exit_info2 & ~PAGE_OFFSET_MASK);

	if (!guest_declares(vcpu->guest, page, 1))
		return end(guest, run, BULKHEAD_RUN_FAULT);
	WRITE_ONCE(run->address, page.value);
	return tell(run, BULKHEAD_RUN_MEMORY);
}

/* An NMI nobody rang for is the service domain's; it gets it when it runs next (15.21.2). */
static bool exit_nmi(struct processor *processor, struct bulkhead_run *run)
{
	nmi_arrived(processor);
	vendor_take_pending();
	return tell(run, BULKHEAD_RUN_INTERRUPT);
}

static enum bulkhead_exit reason_of(uint32_t code)
{
	switch (code) {
	case EXIT_INTR:
		return BULKHEAD_EXIT_INTERRUPT;
	case EXIT_NMI:
		return BULKHEAD_EXIT_NMI;
	case EXIT_CPUID:
		return BULKHEAD_EXIT_CPUID;
	case EXIT_MSR:
		return BULKHEAD_EXIT_MSR;
	case EXIT_IO:
		return BULKHEAD_EXIT_PORT;
	case EXIT_HLT:
		return BULKHEAD_EXIT_HALT;
	case EXIT_NESTED_FAULT:
		return BULKHEAD_EXIT_MEMORY;
	case EXIT_SHUTDOWN:
		return BULKHEAD_EXIT_SHUTDOWN;
	default:
		return BULKHEAD_EXIT_OTHER;
	}
}

bool svm_guest_exit(struct processor *processor, struct vcpu *vcpu, struct bulkhead_run *run)
{
	struct svm_vcpu *guest = svm_vcpu_of(vcpu);
	struct vmcb *vmcb = guest->vmcb;
	uint32_t code = (uint32_t)vmcb->exit_code;

	core_count_exit(reason_of(code));
	switch (code) {
	case EXIT_INTR:
		return tell(run, BULKHEAD_RUN_INTERRUPT);
	case EXIT_NMI:
		return exit_nmi(processor, run);
	case EXIT_SMI:
		vendor_take_pending();
		return true;
	case EXIT_CPUID:
		return exit_cpuid(processor, vcpu, vmcb);
	case EXIT_MSR:
		return exit_msr(processor, vcpu, vmcb);
	case EXIT_IO:
		return exit_port(processor, guest, run);
	case EXIT_HLT:
		advance(processor, vmcb, 1);
		return tell(run, BULKHEAD_RUN_HALT);
	case EXIT_INVD:
	case EXIT_WBINVD:
		/* Caches are coherent, and emptying them would be felt by everybody else. */
		return advance(processor, vmcb, 2);
	case EXIT_NESTED_FAULT:
		return exit_memory(guest, vcpu, run);
	case EXIT_RDPMC:
	case EXIT_XSETBV:
		return refuse(processor, VECTOR_GP);
	case EXIT_EXCEPTION + VECTOR_DB:
		return refuse(processor, VECTOR_DB);
	case EXIT_EXCEPTION + VECTOR_AC:
		return refuse(processor, VECTOR_AC);
	case EXIT_SHUTDOWN:
		return end(guest, run, BULKHEAD_RUN_SHUTDOWN);
	case (uint32_t)EXIT_INVALID:
		return end(guest, run, BULKHEAD_RUN_REFUSED);
	default:
		return refuse(processor, VECTOR_UD);
	}
}
