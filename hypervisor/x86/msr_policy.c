/* SPDX-License-Identifier: MIT */
/*
 * See msr_policy.h. Rows are sorted; what has no row is denied for reading and writing.
 */
#include <stddef.h>

#include "cpu.h"
#include "msr_policy.h"

static const struct msr_rule rules[] = {
	{ 0x00000000, 0x00000001, MSR_PASS, MSR_PASS },	  /* machine check address and type (P5) */
	{ 0x00000010, 0x00000010, MSR_PASS, MSR_DENY },	  /* TSC: guests' clocks hang on it */
	{ 0x0000001b, 0x0000001b, MSR_PASS, MSR_SAME },	  /* APIC base: where we trap it */
	{ 0x00000048, 0x00000048, MSR_PASS, MSR_PASS },	  /* speculation control */
	{ 0x00000049, 0x00000049, MSR_DENY, MSR_PASS },	  /* prediction barrier */
	{ 0x00000079, 0x00000079, MSR_DENY, MSR_PASS },	  /* microcode update, signed by the maker */
	{ 0x0000008b, 0x0000008b, MSR_PASS, MSR_PASS },	  /* microcode level; cleared before reading */
	{ 0x000000e7, 0x000000e8, MSR_PASS, MSR_PASS },	  /* MPERF, APERF */
	{ 0x000000fe, 0x000000fe, MSR_PASS, MSR_DENY },	  /* MTRR capabilities */
	{ 0x0000010b, 0x0000010b, MSR_DENY, MSR_PASS },	  /* L1 flush */
	{ 0x00000174, 0x00000176, MSR_PASS, MSR_PASS },	  /* SYSENTER */
	{ 0x00000179, 0x0000017b, MSR_PASS, MSR_PASS },	  /* machine check globals */
	{ 0x000001d9, 0x000001d9, MSR_PASS, MSR_DEBUG },  /* DebugCtl: branch records see us */
	{ 0x000001db, 0x000001de, MSR_PASS, MSR_DENY },	  /* last branch records, never on */
	{ 0x00000200, 0x0000020f, MSR_PASS, MSR_SAME },	  /* variable MTRRs: re-type memory */
	{ 0x00000250, 0x00000250, MSR_PASS, MSR_SAME },	  /* fixed MTRRs */
	{ 0x00000258, 0x00000259, MSR_PASS, MSR_SAME },	  /* fixed MTRRs */
	{ 0x00000268, 0x0000026f, MSR_PASS, MSR_SAME },	  /* fixed MTRRs */
	{ 0x00000277, 0x00000277, MSR_PASS, MSR_PASS },	  /* PAT: the guest's own copy on hardware */
	/* MTRRdefType: Linux switches all off and on again around writes that change nothing. */
	{ 0x000002ff, 0x000002ff, MSR_PASS, MSR_IGNORE },
	{ 0x00000400, 0x0000047f, MSR_PASS, MSR_PASS },	  /* machine check banks */
	{ 0x000006a0, 0x000006a0, MSR_PASS, MSR_PASS },	  /* shadow stacks, CPL 3 */
	{ 0x000006a2, 0x000006a2, MSR_PASS, MSR_PASS },	  /* shadow stacks, CPL 0 */
	{ 0x000006a4, 0x000006a8, MSR_PASS, MSR_PASS },	  /* their pointers */
	{ 0x00000da0, 0x00000da0, MSR_PASS, MSR_PASS },	  /* XSS: switched with a guest's state */
	{ 0xc0000080, 0xc0000080, MSR_EXTENDED, MSR_EXTENDED }, /* EFER: hides SVME */
	{ 0xc0000081, 0xc0000084, MSR_PASS, MSR_PASS },	  /* STAR, LSTAR, CSTAR, SFMASK */
	{ 0xc00000e7, 0xc00000e9, MSR_PASS, MSR_DENY },	  /* MPERF, APERF, IRPERF, read-only */
	{ 0xc0000100, 0xc0000102, MSR_PASS, MSR_PASS },	  /* FS, GS, kernel GS */
	{ 0xc0000103, 0xc0000103, MSR_PASS, MSR_PASS },	  /* TSC_AUX */
	{ 0xc0000300, 0xc0000303, MSR_PASS, MSR_PASS },	  /* global counter control, overflow */
	{ 0xc0002000, 0xc0002fff, MSR_PASS, MSR_PASS },	  /* scalable machine check banks */
	{ 0xc0010000, 0xc0010003, MSR_PASS, MSR_COUNTER }, /* event selectors */
	{ 0xc0010004, 0xc0010007, MSR_PASS, MSR_PASS },	  /* counters */
	{ 0xc0010010, 0xc0010010, MSR_PASS, MSR_SAME },	  /* SYSCFG: MTRR extensions, TOM2, SME */
	{ 0xc0010015, 0xc0010015, MSR_PASS, MSR_HARDWARE }, /* HWCR */
	{ 0xc0010016, 0xc0010019, MSR_PASS, MSR_SAME },	  /* IORR: send memory to devices */
	{ 0xc001001a, 0xc001001a, MSR_PASS, MSR_SAME },	  /* TOP_MEM */
	{ 0xc001001d, 0xc001001d, MSR_PASS, MSR_SAME },	  /* TOP_MEM2 */
	/* North bridge configuration: Linux asks for long register numbers by CF8h, which are refused there. */
	{ 0xc001001f, 0xc001001f, MSR_PASS, MSR_IGNORE },
	{ 0xc0010020, 0xc0010020, MSR_DENY, MSR_PASS },	  /* microcode update, signed by the maker */
	{ 0xc0010030, 0xc0010035, MSR_PASS, MSR_DENY },	  /* processor name */
	{ 0xc0010044, 0xc001004a, MSR_PASS, MSR_PASS },	  /* machine check masks */
	{ 0xc0010055, 0xc0010055, MSR_PASS, MSR_SAME },	  /* message of C1E: an SMI or a port access */
	{ 0xc0010058, 0xc0010058, MSR_PASS, MSR_SAME },	  /* where configuration space lies */
	{ 0xc0010061, 0xc001006b, MSR_PASS, MSR_PASS },	  /* P-states */
	{ 0xc0010111, 0xc0010113, MSR_PASS, MSR_DENY },	  /* SMBASE, SMM address and mask */
	{ 0xc0010114, 0xc0010114, MSR_LOCKED, MSR_DENY }, /* VM_CR */
	{ 0xc0010140, 0xc0010141, MSR_PASS, MSR_DENY },	  /* erratum status */
	{ 0xc0010200, 0xc001020b, MSR_PASS, MSR_COUNTER }, /* counters, even: selectors */
	{ 0xc0010292, 0xc0010293, MSR_PASS, MSR_DENY },	  /* P-state status */
	{ 0xc0010299, 0xc001029b, MSR_PASS, MSR_DENY },	  /* energy counters */
	{ 0xc00102b0, 0xc00102b4, MSR_PASS, MSR_PASS },	  /* collaborative performance control */
	{ 0xc0010400, 0xc001043f, MSR_PASS, MSR_PASS },	  /* scalable machine check masks */
	{ 0xc0011002, 0xc0011005, MSR_PASS, MSR_SAME },	  /* what CPUID says */
	{ 0xc0011020, 0xc0011023, MSR_PASS, MSR_PASS },	  /* load-store, caches: errata, SSBD */
	{ 0xc0011028, 0xc001102d, MSR_PASS, MSR_PASS },	  /* decode and execution: errata */
	{ 0xc00110e3, 0xc00110e3, MSR_PASS, MSR_PASS },	  /* branch prediction erratum of Zen 2 */
};

static const struct msr_rule deny = { 0, 0xffffffff, MSR_DENY, MSR_DENY };

const struct msr_rule *msr_rule_find(uint32_t msr)
{
	size_t low = 0, high = sizeof(rules) / sizeof(rules[0]);

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (msr > rules[middle].last)
			low = middle + 1;
		else if (msr < rules[middle].first)
			high = middle;
		else
			return &rules[middle];
	}
	return &deny;
}

/* SCE, LME, LMA, NXE, LMSLE, FFXSR, TCE, MCOMMIT, INTWB, UAIE, AUTOIBRS; SVME is not among them. */
#define EFER_KNOWN 0x36ed01ull

bool msr_efer_is_valid(uint64_t value, uint64_t present, uint64_t cr0)
{
	if (value & ~EFER_KNOWN)
		return false;
	/* LME does not change while paging is on (APM vol. 2, 14.6.1). */
	return !((value ^ present) & EFER_LME) || !(cr0 & CR0_PG);
}

uint64_t msr_efer_merge(uint64_t value, uint64_t present)
{
	return (value & ~EFER_LMA) | (present & EFER_LMA) | EFER_SVME;
}

#define COUNTER_GUEST_ONLY (1ull << 40)
#define COUNTER_HOST_ONLY  (1ull << 41)
#define COUNTER_INTERRUPT  (1ull << 20)
#define COUNTER_ENABLED	   (1ull << 22)
#define COUNTER_TOP	   (1ull << 47)
#define DEBUG_BTF	   (1ull << 1)
/* McStatusWrEn, MonMwaitUserEn, CpbDis, EffFreqReadOnlyLock, IRPerfEn. */
#define HARDWARE_ALLOWED   (1ull << 18 | 1ull << 10 | 1ull << 25 | 1ull << 27 | 1ull << 30)

bool msr_write_value(enum msr_action action, uint64_t value, uint64_t present, uint64_t *result)
{
	*result = value;
	switch (action) {
	case MSR_PASS:
		return true;
	case MSR_IGNORE:
		*result = present;
		return true;
	case MSR_SAME:
		return value == present;
	case MSR_COUNTER:
		*result = (value & ~COUNTER_HOST_ONLY) | COUNTER_GUEST_ONLY;
		return true;
	case MSR_DEBUG:
		return (value & ~DEBUG_BTF) == 0;
	case MSR_HARDWARE:
		return ((value ^ present) & ~HARDWARE_ALLOWED) == 0;
	default:
		return false;
	}
}

bool msr_counter_has_overflowed(uint64_t selector, uint64_t count)
{
	const uint64_t wanted = COUNTER_ENABLED | COUNTER_INTERRUPT;

	return (selector & wanted) == wanted && !(count & COUNTER_TOP);
}
