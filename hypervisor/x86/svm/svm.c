/* SPDX-License-Identifier: MIT */
/*
 * The SVM back-end: check, start, the service domain's control block, and what the shared code asks of
 * it. Section numbers are those of the APM, volume 2.
 */
#include "../hypervisor.h"
#include "../msr_policy.h"
#include "../port_policy.h"
#include "guest.h"
#include "svm.h"

const char vendor_name[] = "svm";

uint8_t svm_port_map[3 * 4096] __attribute__((aligned(4096)));
uint8_t svm_msr_map[2 * 4096] __attribute__((aligned(4096)));

#define CPUID_SVM	(1u << 2)  /* 80000001h ECX */
#define CPUID_NX	(1u << 20) /* 80000001h EDX */
#define CPUID_1G_PAGES	(1u << 26)
#define VM_CR_SVMDIS	(1ull << 4)

enum boot_result vendor_check(void)
{
	struct cpuid features = cpuid(0x80000001, 0);

	if (cpuid(0x80000000, 0).eax < 0x8000000a || !(features.ecx & CPUID_SVM))
		return BOOT_NO_SVM;
	if (rdmsr(MSR_VM_CR) & VM_CR_SVMDIS)
		return BOOT_SVM_LOCKED;
	if (!(cpuid(0x8000000a, 0).edx & SVM_FEATURE_NPT))
		return BOOT_NO_NESTED_PAGING;
	if (!(features.edx & CPUID_1G_PAGES))
		return BOOT_NO_LARGE_PAGES;
	if (!(features.edx & CPUID_NX))
		return BOOT_NO_EXECUTE_DISABLE;
	/* Nested tables have as many levels as the host's (15.25.3). */
	if (read_cr4() & CR4_LA57)
		return BOOT_FIVE_LEVELS;
	if (rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC)
		return BOOT_X2APIC;
	if (rdmsr(MSR_EFER) & EFER_SVME)
		return BOOT_IN_USE;
	return BOOT_OK;
}

/* Our own memory lies at its physical address; guests' pages are seen in the high half only. */
struct vmcb *svm_running(const struct processor *processor)
{
	struct vmcb *service = processor_page((struct processor *)processor, SVM_VMCB_PAGE);

	return processor->run_state == (uint64_t)service ? service : direct(processor->run_state);
}

/* Two bits an MSR: read, write. Three ranges of 8192 MSRs (15.11). */
static void intercept_msr(uint32_t msr, bool read, bool write)
{
	uint32_t base = msr < 0x2000 ? 0 : msr < 0xc0002000 ? 0x800 : 0x1000;
	uint32_t bit = (msr & 0x1fff) * 2;
	uint8_t *byte = &svm_msr_map[base + bit / 8];

	*byte &= (uint8_t)~(3u << (bit % 8));
	*byte |= (uint8_t)(((read ? 1u : 0) | (write ? 2u : 0)) << (bit % 8));
}

static void build_msr_map(void)
{
	static const uint32_t bases[] = { 0, 0xc0000000, 0xc0010000 };

	__builtin_memset(svm_msr_map, 0xff, sizeof(svm_msr_map));
	for (unsigned int range = 0; range < ARRAY_COUNT(bases); range++)
		for (uint32_t i = 0; i < 0x2000; i++) {
			const struct msr_rule *rule = msr_rule_find(bases[range] + i);

			intercept_msr(bases[range] + i, rule->read != MSR_PASS,
				      rule->write != MSR_PASS);
		}
}

static void build_port_map(void)
{
	/* The bits beyond port FFFFh stand for wide accesses that cross it. */
	__builtin_memset(svm_port_map, 0xff, sizeof(svm_port_map));
	for (uint32_t port = 0; port < 0x10000; port++)
		if (port_policy_passes((uint16_t)port))
			svm_port_map[port / 8] &= (uint8_t)~(1u << (port % 8));
}

void vendor_start(void)
{
	build_msr_map();
	build_port_map();
	svm_guest_build_maps();
}

/* Reads a segment's description out of the loader's own table (attributes as 15.5.1). */
static struct vmcb_segment segment_of(uint16_t selector, const struct descriptor_table *gdtr)
{
	struct vmcb_segment segment = { .selector = selector };
	uint64_t entry;

	if ((selector & ~7u) == 0 || (selector & ~7u) + 7u > gdtr->limit)
		return segment;
	entry = *(const uint64_t *)direct(gdtr->base + (selector & ~7u));
	segment.attributes = (uint16_t)((entry >> 40 & 0xff) | (entry >> 44 & 0xf00));
	segment.limit = (uint32_t)((entry & 0xffff) | (entry >> 32 & 0xf0000));
	if (entry >> 55 & 1)
		segment.limit = segment.limit << 12 | 0xfff;
	segment.base = (entry >> 16 & 0xffffff) | (entry >> 32 & 0xff000000);
	if (!(entry >> 44 & 1) && (selector & ~7u) + 15u <= gdtr->limit) /* system: 16 bytes */
		segment.base |= *(const uint64_t *)direct(gdtr->base + (selector & ~7u) + 8) << 32;
	return segment;
}

static void set_controls(struct vmcb *vmcb, struct phys root)
{
	/*
	 * #DB and #AC: their delivery can loop for ever inside the processor, where no NMI gets in
	 * (CVE-2015-5307, CVE-2015-8104).
	 */
	vmcb->intercept_exceptions = 1u << VECTOR_DB | 1u << VECTOR_AC;
	vmcb->intercept1 = INTERCEPT1_NMI | INTERCEPT1_SMI | INTERCEPT1_INIT | INTERCEPT1_CPUID |
			   INTERCEPT1_INVD | INTERCEPT1_INVLPGA | INTERCEPT1_IO | INTERCEPT1_MSR |
			   INTERCEPT1_SHUTDOWN;
	/* INVD would drop our own writes from the caches; some machines see it as WBINVD. */
	vmcb->intercept2 = INTERCEPT2_VMRUN | INTERCEPT2_VMMCALL | INTERCEPT2_VMLOAD |
			   INTERCEPT2_VMSAVE | INTERCEPT2_STGI | INTERCEPT2_CLGI |
			   INTERCEPT2_SKINIT | INTERCEPT2_WBINVD;
	/*
	 * XSETBV is not intercepted: the hypervisor uses no register that XCR0 rules, the processor refuses
	 * wrong values itself, and the register is exchanged with a guest's at every switch.
	 */
	vmcb->iopm = (uint64_t)svm_port_map;
	vmcb->msrpm = (uint64_t)svm_msr_map;
	vmcb->asid = SVM_ASID_SERVICE;
	vmcb->tlb_control = TLB_FLUSH_ALL;
	vmcb->nested_control = 1;
	vmcb->nested_root = root.value;
}

static void switch_svm_on(struct processor *processor)
{
	void *host = processor_page(processor, SVM_HOST_PAGE);

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME | EFER_NXE);
	wrmsr(MSR_VM_HSAVE, (uint64_t)processor_page(processor, SVM_SAVE_PAGE));
	__asm__ volatile("clgi");
	__asm__ volatile("vmsave %%rax" : : "a"(host) : "memory");
	processor->host_state = (uint64_t)host;
}

void vendor_save_calls(struct processor *processor)
{
	uint64_t efer = rdmsr(MSR_EFER);

	wrmsr(MSR_EFER, efer | EFER_SVME);
	__asm__ volatile("vmsave %%rax" : : "a"(svm_service(processor)) : "memory");
	wrmsr(MSR_EFER, efer);
}

void vendor_enter(struct processor *processor, const struct entry_point *entry, struct phys root)
{
	struct vmcb *vmcb = svm_service(processor);
	uint64_t *gpr = processor->gpr;

	switch_svm_on(processor);
	set_controls(vmcb, root);
	vmcb->cs = segment_of(entry->cs, &entry->gdtr);
	vmcb->ss = segment_of(entry->ss, &entry->gdtr);
	vmcb->ds = segment_of(entry->ds, &entry->gdtr);
	vmcb->es = segment_of(entry->es, &entry->gdtr);
	vmcb->fs = segment_of(entry->fs, &entry->gdtr);
	vmcb->gs = segment_of(entry->gs, &entry->gdtr);
	vmcb->fs.base = entry->fs_base;
	vmcb->gs.base = entry->gs_base;
	vmcb->tr = segment_of(entry->tr, &entry->gdtr);
	vmcb->ldtr = segment_of(entry->ldtr, &entry->gdtr);
	vmcb->gdtr = (struct vmcb_segment){ 0, 0, entry->gdtr.limit, entry->gdtr.base };
	vmcb->idtr = (struct vmcb_segment){ 0, 0, entry->idtr.limit, entry->idtr.base };
	vmcb->efer = entry->efer | EFER_SVME;
	vmcb->cr0 = entry->cr0;
	vmcb->cr3 = entry->cr3;
	vmcb->cr4 = entry->cr4;
	vmcb->dr6 = 0xffff0ff0;
	vmcb->dr7 = 0x400;
	vmcb->rflags = entry->rflags;
	vmcb->rip = entry->rip;
	vmcb->rsp = entry->rsp;
	vmcb->rax = BOOT_OK;
	vmcb->pat = rdmsr(MSR_PAT);
	gpr[GPR_RBX] = entry->rbx;
	gpr[GPR_RBP] = entry->rbp;
	gpr[12] = entry->r12;
	gpr[13] = entry->r13;
	gpr[14] = entry->r14;
	gpr[15] = entry->r15;
	processor->run_state = (uint64_t)vmcb;
}

void vendor_reset(struct processor *processor, uint8_t startup_vector)
{
	struct vmcb *vmcb = svm_service(processor);

	svm_reset(processor, vmcb);
	svm_start_up(vmcb, startup_vector);
	processor->is_nmi_blocked = processor->is_nmi_pending = 0;
}

struct view vendor_view(const struct processor *processor)
{
	const struct vmcb *vmcb = svm_running(processor);

	return (struct view){
		.rip = vmcb->rip,
		.rflags = vmcb->rflags,
		.cs_base = vmcb->cs.base,
		.cr0 = vmcb->cr0,
		.cr3 = vmcb->cr3,
		.cr4 = vmcb->cr4,
		.efer = vmcb->efer,
		.is_64bit = svm_is_64bit(vmcb),
		.cpl = vmcb->cpl,
	};
}

uint64_t vendor_rax(const struct processor *processor)
{
	return svm_running(processor)->rax;
}

void vendor_set_rax(struct processor *processor, uint64_t value)
{
	svm_running(processor)->rax = value;
}

void vendor_inject(struct processor *processor, enum vector vector, uint32_t error)
{
	struct vmcb *vmcb = svm_running(processor);

	vmcb->event = (uint64_t)vector | EVENT_EXCEPTION | EVENT_VALID;
	if (vector == VECTOR_GP || vector == VECTOR_AC || vector == VECTOR_PF)
		vmcb->event |= EVENT_ERROR | (uint64_t)error << 32;
}

void vendor_skip(struct processor *processor, unsigned int size_bytes)
{
	struct vmcb *vmcb = svm_running(processor);

	vmcb->rip += size_bytes;
	if (!svm_is_64bit(vmcb))
		vmcb->rip &= 0xffffffff;
	vmcb->interrupt_shadow = 0;
}

void vendor_flush(struct processor *processor)
{
	svm_service(processor)->tlb_control = TLB_FLUSH_ALL;
	if (processor->run_state)
		svm_running(processor)->tlb_control = TLB_FLUSH_ALL;
}
