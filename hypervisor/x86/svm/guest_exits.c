/* SPDX-License-Identifier: MIT */
/*
 * Exits of a guest. What the hypervisor answers itself lets it run on; for the rest the run page tells
 * the driver, and of a protected guest it tells no more than that: the port and the value written, or
 * the page that is missing.
 */
#include "../../core/guest_platform.h"
#include "../../platform/guest_clock.h"
#include "../clock.h"
#include "../guest_policy.h"
#include "guest.h"

uint8_t svm_guest_port_map[3 * 4096] __attribute__((aligned(4096)));
uint8_t svm_guest_msr_map[2 * 4096] __attribute__((aligned(4096)));

#define PAGE_OFFSET_MASK 0xfffull
#define APIC_DEFAULT	 0xfee00000ull
#define MSR_CLOCK_DATE	 0x4b564d00u
#define MSR_CLOCK_TIME	 0x4b564d01u
#define CLOCK_ENABLED	 1ull

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

bool svm_guest_tell(struct svm_vcpu *guest, struct bulkhead_run *run, enum bulkhead_run_exit exit)
{
	guest->exit = exit;
	WRITE_ONCE(run->exit, exit);
	return false;
}

bool svm_guest_end(struct svm_vcpu *guest, struct bulkhead_run *run, enum bulkhead_run_exit exit)
{
	guest->is_over = exit;
	return svm_guest_tell(guest, run, exit);
}

bool svm_guest_advance(struct processor *processor, const struct vmcb *vmcb, unsigned int size_bytes)
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
	const struct guest_kind kind = {
		.index = vcpu->index,
		.vcpu_count = vcpu->guest->vcpu_count,
		.has_platform = vcpu->guest->platform,
		.has_xsave_on = vmcb->cr4 & CR4_OSXSAVE,
		.subleaf = (uint32_t)gpr[GPR_RCX],
	};
	struct cpuid answer = guest_policy_cpuid(leaf, &kind, cpuid(leaf, kind.subleaf));

	vmcb->rax = answer.eax;
	gpr[GPR_RBX] = answer.ebx;
	gpr[GPR_RCX] = answer.ecx;
	gpr[GPR_RDX] = answer.edx;
	return svm_guest_advance(processor, vmcb, 2);
}

/* The register is the guest's own while it runs, and here it still does: what it sets lies in the processor. */
static bool exit_xsetbv(struct processor *processor, const struct vmcb *vmcb)
{
	const uint64_t *gpr = processor->gpr;
	uint64_t value = (uint32_t)vmcb->rax | gpr[GPR_RDX] << 32;

	if (!(vmcb->cr4 & CR4_OSXSAVE))
		return refuse(processor, VECTOR_UD);
	if (vmcb->cpl != 0 || (uint32_t)gpr[GPR_RCX] != 0 || !guest_policy_xcr0(value, cpuid(0xd, 0).eax))
		return refuse(processor, VECTOR_GP);
	svm_set_xcr0(value);
	return svm_guest_advance(processor, vmcb, 3);
}

static bool read_msr(struct vcpu *vcpu, const struct vmcb *vmcb, uint32_t msr, uint64_t *value)
{
	struct guest_platform *platform = vcpu->guest->platform;

	switch (msr) {
	case MSR_TSC:
		*value = rdtsc();
		return true;
	case MSR_EFER:
		*value = vmcb->efer & ~EFER_SVME;
		return true;
	case MSR_PAT:
		*value = vmcb->pat;
		return true;
	case MSR_CLOCK_TIME:
		*value = svm_vcpu_of(vcpu)->clock_address;
		return platform;
	}
	if (guest_policy_msr(msr, value))
		return true;
	if (platform)
		return apic_bus_read_msr(&platform->platform.apics, vcpu->index, msr, rdtsc(), value);
	*value = APIC_DEFAULT | (vcpu->index == 0 ? APIC_BASE_BSP : 0);
	return msr == MSR_APIC_BASE;
}

static bool write_efer(struct vmcb *vmcb, uint64_t value)
{
	if (!guest_policy_efer(value & ~EFER_LMA, vmcb->efer, vmcb->cr0))
		return false;
	/* LMA is the processor's to set: it follows LME when paging goes on (14.6). */
	vmcb->efer = (value & ~EFER_LMA) | (vmcb->efer & EFER_LMA) | EFER_SVME;
	vmcb->tlb_control = TLB_FLUSH_ALL;
	return true;
}

static bool write_msr(struct vcpu *vcpu, struct vmcb *vmcb, uint32_t msr, uint64_t value)
{
	struct guest_platform *platform = vcpu->guest->platform;
	uint64_t ignored;
	uint32_t vcpus;

	if (msr == MSR_EFER)
		return write_efer(vmcb, value);
	if (msr == MSR_PAT) {
		if (!guest_policy_pat(value))
			return false;
		vmcb->pat = value;
		return true;
	}
	if (guest_policy_msr(msr, &ignored))
		return true;
	if (!platform || !apic_bus_write_msr(&platform->platform.apics, vcpu->index, msr, value, rdtsc(), &vcpus))
		return false;
	vcpu->effects.vcpus |= vcpus;
	return true;
}

/* What a write to a clock register asks to be put into the guest's memory. */
struct clock_answer {
	union {
		struct guest_clock_time time;
		struct guest_clock_date date;
	};
	uint32_t size_bytes;
};

static struct clock_answer clock_answer(uint32_t msr, uint64_t start)
{
	struct clock_answer answer = { .size_bytes = sizeof(answer.time) };

	if (msr == MSR_CLOCK_TIME) {
		answer.time = guest_clock_time(start, core.tsc_khz);
		return answer;
	}
	answer.date = (struct guest_clock_date){ .version = 2, .seconds = (uint32_t)clock_date_at(start) };
	answer.size_bytes = sizeof(answer.date);
	return answer;
}

/*
 * KVM's clock registers. The guest's page may be declared memory that nobody has touched yet: it is filled and the
 * instruction is executed again. All vCPUs count from counter value 0, so their clocks agree.
 */
static bool write_clock(struct processor *processor, struct vcpu *vcpu, struct bulkhead_run *run, uint32_t msr,
			uint64_t value)
{
	struct svm_vcpu *guest = svm_vcpu_of(vcpu);
	uint64_t address = msr == MSR_CLOCK_TIME ? value & ~CLOCK_ENABLED : value;
	bool is_on = msr == MSR_CLOCK_DATE || (value & CLOCK_ENABLED);
	struct guest_phys page = guest_phys_at(address & ~PAGE_OFFSET_MASK);
	struct clock_answer answer = clock_answer(msr, 0);

	if (is_on && (address & PAGE_OFFSET_MASK) + answer.size_bytes > PAGE_BYTES)
		return refuse(processor, VECTOR_GP);
	if (is_on && !memory_write(&vcpu->guest->platform->memory, address, &answer, answer.size_bytes)) {
		if (!guest_declares(vcpu->guest, page, 1))
			return refuse(processor, VECTOR_GP);
		WRITE_ONCE(run->address, page.value);
		return svm_guest_tell(guest, run, BULKHEAD_RUN_MEMORY);
	}
	if (msr == MSR_CLOCK_TIME)
		guest->clock_address = value;
	return svm_guest_advance(processor, guest->vmcb, 2);
}

static bool exit_msr(struct processor *processor, struct vcpu *vcpu, struct vmcb *vmcb, struct bulkhead_run *run)
{
	uint64_t *gpr = processor->gpr;
	uint32_t msr = (uint32_t)gpr[GPR_RCX];
	uint64_t value = (uint32_t)vmcb->rax | gpr[GPR_RDX] << 32;

	if (vmcb->exit_info1 & 1) {
		if (vcpu->guest->platform && (msr == MSR_CLOCK_TIME || msr == MSR_CLOCK_DATE))
			return write_clock(processor, vcpu, run, msr, value);
		if (!write_msr(vcpu, vmcb, msr, value))
			return refuse(processor, VECTOR_GP);
		return svm_guest_advance(processor, vmcb, 2);
	}
	if (!read_msr(vcpu, vmcb, msr, &value))
		return refuse(processor, VECTOR_GP);
	vmcb->rax = (uint32_t)value;
	gpr[GPR_RDX] = value >> 32;
	return svm_guest_advance(processor, vmcb, 2);
}

/* Ports that the platform answers. */
static bool platform_port(struct vcpu *vcpu, uint16_t port, unsigned int size_bytes, bool is_read, uint32_t *value)
{
	if (!vcpu->guest->platform)
		return false;
	if (port == MACHINE_PM_TIMER && size_bytes == 4) {
		*value = guest_clock_pm_timer(rdtsc(), core.tsc_khz);
		return true;
	}
	return guest_platform_port(vcpu, port, size_bytes, !is_read, value);
}

/* Ends the run with an access that the monitor answers. */
static bool tell_port(struct svm_vcpu *guest, struct bulkhead_run *run, uint16_t port, uint32_t size_bytes, bool is_read,
		      uint32_t value)
{
	guest->exit = BULKHEAD_RUN_PORT;
	guest->pending_read = is_read ? size_bytes : 0;
	*run = (struct bulkhead_run){
		.exit = BULKHEAD_RUN_PORT,
		.port = port,
		.size_bytes = (uint8_t)size_bytes,
		.is_read = is_read,
		.value = is_read ? 0 : value,
	};
	return false;
}

/* A port that a string moves through. */
struct port_access {
	struct vcpu *vcpu;
	uint32_t value;
	bool is_monitors; /* value was written to a port that the monitor answers */
};

static uint64_t read_port(void *context, uint64_t port, uint32_t size_bytes)
{
	struct port_access *access = context;
	uint32_t value = 0xffffffff;

	(void)platform_port(access->vcpu, (uint16_t)port, size_bytes, true, &value);
	return value;
}

static void write_port(void *context, uint64_t port, uint32_t size_bytes, uint64_t value)
{
	struct port_access *access = context;

	access->value = (uint32_t)value;
	if (!platform_port(access->vcpu, (uint16_t)port, size_bytes, false, &access->value))
		access->is_monitors = guest_policy_port((uint16_t)port, size_bytes);
}

/* INS and OUTS, one element an exit. A monitor is never let write memory: nothing reads its ports by string. */
static bool exit_string(struct processor *processor, struct vcpu *vcpu, struct svm_vcpu *guest, uint16_t port,
			uint32_t size_bytes, bool is_read, struct bulkhead_run *run)
{
	struct port_access access = { .vcpu = vcpu };
	const struct mmio_device device = { read_port, write_port, &access };

	if ((is_read && guest_policy_port(port, size_bytes)) ||
	    !svm_guest_string(processor, vcpu, port, size_bytes, is_read, &device))
		return refuse(processor, VECTOR_GP);
	return access.is_monitors ? tell_port(guest, run, port, size_bytes, false, access.value) : true;
}

static bool exit_port(struct processor *processor, struct vcpu *vcpu, struct svm_vcpu *guest,
		      struct bulkhead_run *run)
{
	struct vmcb *vmcb = guest->vmcb;
	uint64_t info = vmcb->exit_info1;
	uint16_t port = (uint16_t)(info >> 16);
	unsigned int size_bytes = info >> 4 & 7;
	bool is_read = info & IO_IN;
	uint32_t value = (uint32_t)vmcb->rax & (uint32_t)(~0ull >> (64 - 8 * size_bytes));
	uint64_t instruction = vmcb->rip;

	if (info & IO_STRING)
		return exit_string(processor, vcpu, guest, port, size_bytes, is_read, run);
	vmcb->rip = vmcb->exit_info2; /* always the next instruction's (15.10.2) */
	vmcb->interrupt_shadow = 0;
	if (platform_port(vcpu, port, size_bytes, is_read, &value)) {
		if (is_read)
			set_port_value(vmcb, size_bytes, value);
		/* Long work stops half way: the same write comes again after what is pending. */
		if (vcpu->effects.is_unfinished)
			vmcb->rip = instruction;
		vcpu->effects.is_unfinished = false;
		return true;
	}
	if (!guest_policy_port(port, size_bytes)) {
		if (is_read)
			set_port_value(vmcb, size_bytes, 0xffffffff);
		return true;
	}
	return tell_port(guest, run, port, size_bytes, is_read, value);
}

/*
 * Empty declared memory is the driver's to fill; an access to registers is carried out; anything else ends the guest. A
 * fault of the walk through its page tables is no access, nor is the fetch of an instruction.
 */
static bool exit_memory(struct processor *processor, struct svm_vcpu *guest, struct vcpu *vcpu,
			struct bulkhead_run *run)
{
	uint64_t address = guest->vmcb->exit_info2, info = guest->vmcb->exit_info1;
	struct guest_phys page = guest_phys_at(address & ~PAGE_OFFSET_MASK);

	if (!guest_declares(vcpu->guest, page, 1)) {
		if ((info & NESTED_FAULT_FINAL) && !(info & NESTED_FAULT_FETCH) &&
		    svm_guest_mmio(processor, vcpu, address, info & NESTED_FAULT_WRITE))
			return true;
		WRITE_ONCE(run->address, page.value);
		return svm_guest_end(guest, run, BULKHEAD_RUN_FAULT);
	}
	WRITE_ONCE(run->address, page.value);
	return svm_guest_tell(guest, run, BULKHEAD_RUN_MEMORY);
}

/* An NMI nobody rang for is the service domain's; it gets it when it runs next (15.21.2). */
static bool exit_nmi(struct processor *processor, const struct vcpu *vcpu, struct bulkhead_run *run)
{
	vendor_take_pending();
	nmi_account(processor);
	/* Another vCPU may have rung: nothing is for the service domain then. */
	if (vcpu->guest->platform && !processor->is_nmi_pending &&
	    !__atomic_load_n(&processor->requests, __ATOMIC_SEQ_CST))
		return true;
	return svm_guest_tell(svm_vcpu_of(vcpu), run, BULKHEAD_RUN_INTERRUPT);
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
	case EXIT_VINTR:
		return BULKHEAD_EXIT_WINDOW;
	case EXIT_READ_CR8:
	case EXIT_WRITE_CR8:
		return BULKHEAD_EXIT_CONTROL;
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
		svm_guest_keep_shadow(vcpu);
		return svm_guest_tell(guest, run, BULKHEAD_RUN_INTERRUPT);
	case EXIT_NMI:
		svm_guest_keep_shadow(vcpu);
		return exit_nmi(processor, vcpu, run);
	case EXIT_VINTR:
		svm_guest_keep_shadow(vcpu);
		return true;
	case EXIT_IRET:
		/* The NMI's handler ends here; another one may come before IRET has run. */
		guest->is_nmi_blocked = 0;
		vmcb->intercept1 &= ~INTERCEPT1_IRET;
		return true;
	case EXIT_READ_CR8:
	case EXIT_WRITE_CR8:
		return svm_guest_cr8(processor, vcpu, code == EXIT_WRITE_CR8) || refuse(processor, VECTOR_UD);
	case EXIT_SMI:
		vendor_take_pending();
		nmi_account(processor);
		return true;
	case EXIT_CPUID:
		return exit_cpuid(processor, vcpu, vmcb);
	case EXIT_MSR:
		return exit_msr(processor, vcpu, vmcb, run);
	case EXIT_IO:
		return exit_port(processor, vcpu, guest, run);
	case EXIT_HLT:
		svm_guest_advance(processor, vmcb, 1);
		return svm_guest_halt(vcpu, run);
	case EXIT_INVD:
	case EXIT_WBINVD:
		/* Caches are coherent, and emptying them would be felt by everybody else. */
		return svm_guest_advance(processor, vmcb, 2);
	case EXIT_NESTED_FAULT:
		return exit_memory(processor, guest, vcpu, run);
	case EXIT_XSETBV:
		return exit_xsetbv(processor, vmcb);
	case EXIT_RDPMC:
		return refuse(processor, VECTOR_GP);
	case EXIT_EXCEPTION + VECTOR_DB:
		return refuse(processor, VECTOR_DB);
	case EXIT_EXCEPTION + VECTOR_AC:
		return refuse(processor, VECTOR_AC);
	case EXIT_EXCEPTION + VECTOR_MC:
		/* The machine's, not the guest's: the service domain's kernel asks the banks. */
		svm_guest_keep_shadow(vcpu);
		processor->is_machine_check_pending = 1;
		return svm_guest_tell(guest, run, BULKHEAD_RUN_INTERRUPT);
	case EXIT_SHUTDOWN:
		return svm_guest_end(guest, run, BULKHEAD_RUN_SHUTDOWN);
	case (uint32_t)EXIT_INVALID:
		return svm_guest_end(guest, run, BULKHEAD_RUN_REFUSED);
	default:
		return refuse(processor, VECTOR_UD);
	}
}
