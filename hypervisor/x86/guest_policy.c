/* SPDX-License-Identifier: MIT */
/*
 * See guest_policy.h.
 */
#include <stddef.h>

#include "guest_policy.h"

/* Bits of a leaf that a guest sees as the machine has them, and bits that are always set. */
struct leaf {
	uint32_t number;
	struct cpuid keep;
	struct cpuid set;
};

#define ALL 0xffffffffu

static const struct leaf leaves[] = {
	/* Highest leaf; vendor. */
	{ 0x00000000, { 0, ALL, ALL, ALL }, { 7, 0, 0, 0 } },
	/*
	 * ECX: SSE3, PCLMUL, SSSE3, FMA is AVX's and stays away, CX16, SSE4, MOVBE, POPCNT, AES, RDRAND;
	 * the hypervisor bit is set. EBX: brand and cache-line size, the index is put in by the caller.
	 * EDX: FPU, DE, PSE, TSC, MSR, PAE, CX8, SEP, PGE, CMOV, PAT, PSE36, CLFLUSH, MMX, FXSR, SSE, SSE2.
	 */
	{ 0x00000001, { ALL, 0xffff, 0x42d82203, 0x078ba97d }, { 0, 0x10000, 1u << 31, 0 } },
	/* EBX: FSGSBASE, SMEP, ERMS, RDSEED, SMAP, CLFLUSHOPT, SHA. ECX: UMIP. */
	{ 0x00000007, { 0, 0x20940281, 0x00000004, 0 }, { 0, 0, 0, 0 } },
	{ 0x80000000, { 0, ALL, ALL, ALL }, { 0x80000008, 0, 0, 0 } },
	/* ECX: LAHF, ABM, prefetch. EDX: as leaf 1, SYSCALL, NX, 1 GiB pages, long mode. */
	{ 0x80000001, { ALL, 0, 0x00000121, 0x2793a97d }, { 0, 0, 0, 0 } },
	{ 0x80000002, { ALL, ALL, ALL, ALL }, { 0, 0, 0, 0 } }, /* name */
	{ 0x80000003, { ALL, ALL, ALL, ALL }, { 0, 0, 0, 0 } },
	{ 0x80000004, { ALL, ALL, ALL, ALL }, { 0, 0, 0, 0 } },
	{ 0x80000005, { ALL, ALL, ALL, ALL }, { 0, 0, 0, 0 } }, /* caches */
	{ 0x80000006, { ALL, ALL, ALL, ALL }, { 0, 0, 0, 0 } },
	/* 40 bits of physical address (BULKHEAD_GUEST_ADDRESS_BITS), 48 of linear. */
	{ 0x80000008, { 0, 0, 0, 0 }, { 0x3028, 0, 0, 0 } },
};

struct cpuid guest_policy_cpuid(uint32_t leaf, uint32_t index, struct cpuid hardware)
{
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		const struct leaf *row = &leaves[i];
		struct cpuid answer;

		if (row->number != leaf)
			continue;
		answer.eax = (hardware.eax & row->keep.eax) | row->set.eax;
		answer.ebx = (hardware.ebx & row->keep.ebx) | row->set.ebx;
		answer.ecx = (hardware.ecx & row->keep.ecx) | row->set.ecx;
		answer.edx = (hardware.edx & row->keep.edx) | row->set.edx;
		if (leaf == 1)
			answer.ebx |= index << 24;
		return answer;
	}
	return (struct cpuid){ 0 };
}

/* Serial port, clock, power and reset: all a protected guest's monitor ever sees. */
static const struct {
	uint16_t first, last;
} monitor_ports[] = {
	{ 0x0070, 0x0071 }, /* real-time clock */
	{ 0x03f8, 0x03ff }, /* serial */
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
#define CR4_ALLOWED	0x00310ebfull /* no VMX, no OSXSAVE: FPU state is what FXSAVE holds */
#define RFLAGS_ALLOWED	0x00277fd7ull

bool guest_policy_efer(uint64_t value, uint64_t present, uint64_t cr0)
{
	if (value & ~EFER_GUEST)
		return false;
	return !(cr0 & CR0_PG) || !((value ^ present) & EFER_LME);
}

/* Each type is 0, 1, 4, 5, 6 or 7 (APM vol. 2, 7.8.1). */
static bool pat_is_valid(uint64_t pat)
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
	return !(state->cr3 >> 52) && pat_is_valid(state->pat);
}
