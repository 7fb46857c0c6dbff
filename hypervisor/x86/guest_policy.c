/* SPDX-License-Identifier: MIT */
/*
 * See guest_policy.h.
 */
#include <stddef.h>

#include "guest_policy.h"

/* Bits of a leaf that a guest sees as the machine has them, and bits that are always set. */
struct leaf {
	uint32_t number, subleaf;
	struct cpuid keep;
	struct cpuid set;
};

#define ALL 0xffffffffu
#define ANY 0xffffffffu /* subleaf */

#define XCR0_X87     1u
#define XCR0_SSE     2u
#define XCR0_AVX     4u
#define XCR0_OFFERED (XCR0_X87 | XCR0_SSE | XCR0_AVX)
#define XSAVE_BYTES  576u /* of an area without AVX (APM vol. 2, 11.5.2) */
#define AVX_BYTES    256u
#define OSXSAVE	     (1u << 27) /* 1, ECX */

static const struct leaf leaves[] = {
	/* Highest leaf; vendor. */
	{ 0x00000000, ANY, { 0, ALL, ALL, ALL }, { 0xd, 0, 0, 0 } },
	/*
	 * ECX: SSE3, PCLMUL, SSSE3, FMA, CX16, SSE4, MOVBE, POPCNT, AES, XSAVE, AVX, F16C, RDRAND;
	 * the hypervisor bit is set. EBX: brand and cache-line size.
	 * EDX: FPU, DE, PSE, TSC, MSR, PAE, CX8, SEP, PGE, CMOV, PAT, PSE36, CLFLUSH, MMX, FXSR, SSE, SSE2.
	 */
	{ 0x00000001, ANY, { ALL, 0xffff, 0x76d83203, 0x078ba97d }, { 0, 0, 1u << 31, 0 } },
	/* EBX: FSGSBASE, AVX2, SMEP, ERMS, RDSEED, SMAP, CLFLUSHOPT, SHA. ECX: UMIP. */
	{ 0x00000007, 0, { 0, 0x209402a1, 0x00000004, 0 }, { 0, 0, 0, 0 } },
	/* Extended state: x87, SSE, AVX. XSAVEOPT and XGETBV of 1. Where AVX's part lies. */
	{ 0x0000000d, 0, { XCR0_OFFERED, ALL, 0, 0 }, { 0, 0, 0, 0 } },
	{ 0x0000000d, 1, { 0x5, 0, 0, 0 }, { 0, 0, 0, 0 } },
	{ 0x0000000d, 2, { ALL, ALL, ALL, 0 }, { 0, 0, 0, 0 } },
	{ 0x80000000, ANY, { 0, ALL, ALL, ALL }, { 0x80000008, 0, 0, 0 } },
	/* ECX: LAHF, ABM, prefetch. EDX: as leaf 1, SYSCALL, NX, 1 GiB pages, long mode. */
	{ 0x80000001, ANY, { ALL, 0, 0x00000121, 0x2793a97d }, { 0, 0, 0, 0 } },
	{ 0x80000002, ANY, { ALL, ALL, ALL, ALL }, { 0, 0, 0, 0 } }, /* name */
	{ 0x80000003, ANY, { ALL, ALL, ALL, ALL }, { 0, 0, 0, 0 } },
	{ 0x80000004, ANY, { ALL, ALL, ALL, ALL }, { 0, 0, 0, 0 } },
	{ 0x80000005, ANY, { ALL, ALL, ALL, ALL }, { 0, 0, 0, 0 } }, /* caches */
	{ 0x80000006, ANY, { ALL, ALL, ALL, ALL }, { 0, 0, 0, 0 } },
	{ 0x80000007, ANY, { 0, 0, 0, 0x00000100 }, { 0, 0, 0, 0 } }, /* EDX: the counter's rate is constant */
	/* 40 bits of physical address (BULKHEAD_GUEST_ADDRESS_BITS), 48 of linear. */
	{ 0x80000008, ANY, { 0, 0, 0, 0 }, { 0x3028, 0, 0, 0 } },
};

/* Bits that a guest with a platform has besides, and its leaves of KVM. */
static const struct leaf platform_leaves[] = {
	{ 0x00000001, ANY, { 0, 0, 0, 0 }, { 0, 0, 1u << 21 | 1u << 24, 1u << 9 } }, /* x2APIC, deadline; APIC */
	{ 0x00000006, ANY, { 0, 0, 0, 0 }, { 1u << 2, 0, 0, 0 } },	 /* the APIC's timer never stops */
	/* KVM's signature, and of its features: no port delays, clock, clock agrees on all vCPUs. */
	{ 0x40000000, ANY, { 0, 0, 0, 0 }, { 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d } },
	{ 0x40000001, ANY, { 0, 0, 0, 0 }, { 1u << 1 | 1u << 3 | 1u << 24, 0, 0, 0 } },
};

#define HTT	   (1u << 28) /* 1, EDX: more than one processor */
#define CMP_LEGACY (1u << 1)  /* 80000001h, ECX: they are cores */
#define ID_BITS	   (4u << 12) /* 80000008h, ECX: of an APIC identifier */

static void apply(const struct leaf *rows, size_t count, uint32_t leaf, uint32_t subleaf, struct cpuid hardware,
		  struct cpuid *answer)
{
	for (size_t i = 0; i < count; i++) {
		const struct leaf *row = &rows[i];

		if (row->number != leaf || (row->subleaf != ANY && row->subleaf != subleaf))
			continue;
		answer->eax |= (hardware.eax & row->keep.eax) | row->set.eax;
		answer->ebx |= (hardware.ebx & row->keep.ebx) | row->set.ebx;
		answer->ecx |= (hardware.ecx & row->keep.ecx) | row->set.ecx;
		answer->edx |= (hardware.edx & row->keep.edx) | row->set.edx;
	}
}

/* All vCPUs are cores of one processor. */
static void add_topology(uint32_t leaf, const struct guest_kind *kind, struct cpuid *answer)
{
	if (leaf == 1) {
		answer->ebx |= kind->index << 24 | kind->vcpu_count << 16;
		answer->edx |= kind->vcpu_count > 1 ? HTT : 0;
	}
	if (leaf == 0x80000001 && kind->vcpu_count > 1)
		answer->ecx |= CMP_LEGACY;
	if (leaf == 0x80000008 && kind->vcpu_count > 1)
		answer->ecx |= ID_BITS | (kind->vcpu_count - 1);
}

/* What the guest itself has chosen, and what follows from what it is offered. */
static void add_extended_state(uint32_t leaf, const struct guest_kind *kind, struct cpuid *answer)
{
	if (leaf == 1 && kind->has_xsave_on)
		answer->ecx |= OSXSAVE;
	if (leaf == 0xd && kind->subleaf == 0)
		answer->ecx = XSAVE_BYTES + (answer->eax & XCR0_AVX ? AVX_BYTES : 0);
}

bool guest_policy_xcr0(uint64_t value, uint32_t hardware)
{
	if (!(value & XCR0_X87) || value & ~(uint64_t)(XCR0_OFFERED & hardware))
		return false;
	return !(value & XCR0_AVX) || (value & XCR0_SSE);
}

struct cpuid guest_policy_cpuid(uint32_t leaf, const struct guest_kind *kind, struct cpuid hardware)
{
	struct cpuid answer = { 0 };

	apply(leaves, sizeof(leaves) / sizeof(leaves[0]), leaf, kind->subleaf, hardware, &answer);
	if (kind->has_platform)
		apply(platform_leaves, sizeof(platform_leaves) / sizeof(platform_leaves[0]), leaf, kind->subleaf,
		      hardware, &answer);
	add_extended_state(leaf, kind, &answer);
	add_topology(leaf, kind, &answer);
	return answer;
}

static const struct {
	uint32_t number;
	uint64_t value;
} idle_msrs[] = {
	{ 0x00000017, 0 },	    /* platform */
	{ 0x0000008b, 0 },	    /* microcode revision */
	{ 0x000001a0, 1 },	    /* MISC_ENABLE: fast strings */
	{ 0x000001d9, 0 },	    /* DEBUGCTL: nothing is recorded */
	{ 0xc0010010, 0 },	    /* SYSCFG */
	{ 0xc0010015, 1ull << 24 }, /* HWCR: the counter runs at the nominal rate */
	{ 0xc001001f, 0 },	    /* northbridge configuration */
	{ 0xc0010055, 0 },	    /* interrupt pending message */
	{ 0xc0011020, 0 },	    /* load-store configuration */
	{ 0xc0011022, 0 },	    /* data cache configuration */
	{ 0xc0011029, 2 },	    /* DE_CFG: LFENCE serializes */
};

bool guest_policy_msr(uint32_t msr, uint64_t *value)
{
	for (size_t i = 0; i < sizeof(idle_msrs) / sizeof(idle_msrs[0]); i++) {
		if (idle_msrs[i].number != msr)
			continue;
		*value = idle_msrs[i].value;
		return true;
	}
	return false;
}

/* Serial port, clock, power, reset and watchdog: all a protected guest's monitor ever sees. */
static const struct {
	uint16_t first, last;
} monitor_ports[] = {
	{ 0x0070, 0x0071 }, /* real-time clock */
	{ 0x03f8, 0x03ff }, /* serial */
	{ 0x0441, 0x0441 }, /* watchdog: stop */
	{ 0x0443, 0x0443 }, /* watchdog: feed */
	{ 0x0604, 0x0605 }, /* power (PM1a control) */
	{ 0x0cf9, 0x0cf9 }, /* reset */
};

bool guest_policy_port(uint16_t port, unsigned int size_bytes)
{
	for (size_t i = 0; i < sizeof(monitor_ports) / sizeof(monitor_ports[0]); i++)
		if (port >= monitor_ports[i].first && port + size_bytes - 1 <= monitor_ports[i].last)
			return true;
	return false;
}

#define EFER_SCE	(1ull << 0)
#define EFER_GUEST	(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define CR0_ALLOWED	0xe005003full
#define CR4_ALLOWED	0x00310ebfull /* no VMX; OSXSAVE the guest sets itself, and XCR0 with it */
#define RFLAGS_ALLOWED	0x00277fd7ull

bool guest_policy_efer(uint64_t value, uint64_t present, uint64_t cr0)
{
	if (value & ~EFER_GUEST)
		return false;
	return !(cr0 & CR0_PG) || !((value ^ present) & EFER_LME);
}

/* Each type is 0, 1, 4, 5, 6 or 7 (APM vol. 2, 7.8.1). */
bool guest_policy_pat(uint64_t pat)
{
	for (unsigned int i = 0; i < 64; i += 8) {
		uint64_t type = pat >> i & 0xff;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

bool guest_policy_state(const struct bulkhead_vcpu_state *state)
{
	bool is_long = state->efer & EFER_LME;
	bool is_paging = state->cr0 & CR0_PG;

	if (state->efer & ~EFER_GUEST || !(state->efer & EFER_LMA) != !(is_long && is_paging))
		return false;
	if (state->cr0 & ~CR0_ALLOWED || state->cr4 & ~CR4_ALLOWED)
		return false;
	if ((state->cr0 & CR0_NW) && !(state->cr0 & CR0_CD))
		return false;
	if (is_paging && (!(state->cr0 & CR0_PE) || (is_long && !(state->cr4 & CR4_PAE))))
		return false;
	if ((state->rflags & ~RFLAGS_ALLOWED) || !(state->rflags & RFLAGS_FIXED))
		return false;
	if ((state->gdtr.limit | state->idtr.limit) & ~0xffffu)
		return false;
	return !(state->cr3 >> 52) && guest_policy_pat(state->pat);
}
