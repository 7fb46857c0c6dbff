/* SPDX-License-Identifier: MIT */
/*
 * Whose an NMI is. A processor keeps only one that it could not take yet, so a doorbell's and another
 * source's NMI can arrive as one: a ring alone does not say that nobody else asked. The sources that raise
 * NMIs without the hypervisor are asked then; the service domain's own messages are requests, never NMIs.
 *
 * For the same reason rings that follow each other cannot be counted. So there is never more than one on its way
 * (processor.c), and the doorbell is cleared only once an NMI has been taken.
 */
#include "apic.h"
#include "cpu.h"
#include "hypervisor.h"
#include "msr_policy.h"
#include "processor.h"

#define LVT_COUNTERS	   0x340u
#define LVT_MASKED	   (1u << 16)
#define LVT_DELIVERY	   (7u << 8)
#define SYSTEM_CONTROL	   0x61u
#define SYSTEM_ERRORS	   0xc0u /* SERR#, IOCHK# */
#define CPUID_SIX_COUNTERS (1u << 23) /* 80000001h ECX */

/* Counters: selector and count stand `step` apart from the next pair. */
static bool any_overflowed(uint32_t selectors, uint32_t counts, uint32_t number, uint32_t step)
{
	uint64_t selector, count;

	for (uint32_t i = 0; i < number; i++)
		if (cpu_read_msr(selectors + i * step, &selector) &&
		    cpu_read_msr(counts + i * step, &count) &&
		    msr_counter_has_overflowed(selector, count))
			return true;
	return false;
}

static bool counters_ask(void)
{
	uint32_t entry = *(volatile uint32_t *)direct(APIC_WINDOW + LVT_COUNTERS);

	if ((entry & LVT_MASKED) || (entry & LVT_DELIVERY) != APIC_NMI << 8)
		return false;
	if (cpuid(0x80000001, 0).ecx & CPUID_SIX_COUNTERS)
		return any_overflowed(0xc0010200, 0xc0010201, 6, 2);
	return any_overflowed(0xc0010000, 0xc0010004, 4, 1);
}

void nmi_account(struct processor *processor)
{
	uint64_t count = READ_ONCE(processor->nmi_count);
	bool is_ours;

	if (count == processor->nmi_accounted)
		return;
	processor->nmi_accounted = count;
	is_ours = __atomic_exchange_n(&processor->doorbell, 0, __ATOMIC_SEQ_CST);
	if (!is_ours || (in8(SYSTEM_CONTROL) & SYSTEM_ERRORS) || counters_ask())
		processor->is_nmi_pending = 1;
}
