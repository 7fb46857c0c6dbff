/* SPDX-License-Identifier: MIT */
/*
 * See cpuid_policy.h. The service domain owns the machine, so it sees it as it is, but for what the
 * hypervisor keeps to itself. Leaves without a row are zero.
 */
#include <bulkhead/hypercall.h>
#include <stddef.h>

#include "cpuid_policy.h"

struct rule {
	uint32_t first, last;
	uint32_t hide_eax, hide_ebx, hide_ecx, hide_edx; /* bits */
};

#define ALL 0xffffffffu

static const struct rule rules[] = {
	/* VMX, SMX, x2APIC: virtualization is ours, the local APIC stays in xAPIC mode. */
	{ 0x00000001, 0x00000001, 0, 0, 1u << 5 | 1u << 6 | 1u << 21, 0 },
	/* TSC_ADJUST, SGX: guests' clocks hang on the TSC; enclaves are not offered. */
	{ 0x00000007, 0x00000007, 0, 1u << 1 | 1u << 2, 0, 0 },
	/* Counters of Intel's architecture, which sample whatever runs. */
	{ 0x0000000a, 0x0000000a, ALL, ALL, ALL, ALL },
	/* Processor trace: records addresses of whatever runs. */
	{ 0x00000014, 0x00000014, ALL, ALL, ALL, ALL },
	/* Last branch records. */
	{ 0x0000001c, 0x0000001c, ALL, ALL, ALL, ALL },
	{ 0x00000000, 0x00000020, 0, 0, 0, 0 }, /* every other basic leaf */
	/* Another hypervisor's leaves, where the machine itself is emulated. */
	{ 0x40000000, 0x400000ff, 0, 0, 0, 0 },
	/* SVM, IBS, SKINIT; counters of the north bridge and caches, which count for everybody. */
	{ 0x80000001, 0x80000001, 0, 0, 1u << 2 | 1u << 10 | 1u << 12 | 1u << 24 | 1u << 28, 0 },
	{ 0x8000000a, 0x8000000a, ALL, ALL, ALL, ALL }, /* SVM */
	{ 0x8000001b, 0x8000001b, ALL, ALL, ALL, ALL }, /* IBS samples whatever runs */
	{ 0x8000001f, 0x8000001f, ALL, ALL, ALL, ALL }, /* SME and SEV re-type memory */
	/* Last-branch records in version 2 of the counters. */
	{ 0x80000022, 0x80000022, 1u << 1 | 1u << 2, 0, 0, 0 },
	{ 0x80000000, 0x80000028, 0, 0, 0, 0 }, /* every other extended leaf */
};

static struct cpuid own_leaf(uint32_t leaf)
{
	if (leaf == BULKHEAD_CPUID_BASE)
		return (struct cpuid){ BULKHEAD_CPUID_LAST, BULKHEAD_CPUID_EBX, BULKHEAD_CPUID_ECX,
				       BULKHEAD_CPUID_EDX };
	return (struct cpuid){ .eax = BULKHEAD_ABI_VERSION };
}

static void set_bit(uint32_t *word, unsigned int bit, bool value)
{
	*word = (*word & ~(1u << bit)) | (uint32_t)value << bit;
}

struct cpuid cpuid_policy_apply(uint32_t leaf, uint32_t subleaf, uint64_t cr4, struct cpuid hardware)
{
	struct cpuid answer = hardware;

	if (leaf >= BULKHEAD_CPUID_BASE && leaf <= BULKHEAD_CPUID_LAST)
		return own_leaf(leaf);
	/* The hardware mirrors the hypervisor's CR4 here, not the asker's. */
	if (leaf == 1)
		set_bit(&answer.ecx, 27, cr4 & CR4_OSXSAVE);
	if (leaf == 7 && subleaf == 0)
		set_bit(&answer.ecx, 4, cr4 & CR4_PKE);
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (leaf < rules[i].first || leaf > rules[i].last)
			continue;
		answer.eax &= ~rules[i].hide_eax;
		answer.ebx &= ~rules[i].hide_ebx;
		answer.ecx &= ~rules[i].hide_ecx;
		answer.edx &= ~rules[i].hide_edx;
		return answer;
	}
	return (struct cpuid){ 0 };
}

struct cpuid cpuid_policy_answer(uint32_t leaf, uint32_t subleaf, uint64_t cr4)
{
	return cpuid_policy_apply(leaf, subleaf, cr4, cpuid(leaf, subleaf));
}
