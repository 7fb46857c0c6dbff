/* SPDX-License-Identifier: MIT */
/*
 * Carries RDMSR and WRMSR out. The processor has the last word: what it refuses is #GP.
 */
#include "hypervisor.h"
#include "msr_policy.h"

#define VM_CR_LOCKED_OFF 0x18ull /* LOCK, SVMDIS */

bool msr_read(uint32_t msr, uint64_t *value)
{
	switch (msr_rule_find(msr)->read) {
	case MSR_PASS:
		return cpu_read_msr(msr, value);
	case MSR_LOCKED:
		*value = VM_CR_LOCKED_OFF;
		return true;
	default:
		return false;
	}
}

bool msr_write(uint32_t msr, uint64_t value)
{
	enum msr_action action = msr_rule_find(msr)->write;
	uint64_t present = 0, result;

	/* Odd registers of this range are the counters themselves. */
	if (action == MSR_COUNTER && msr >= 0xc0010200 && (msr & 1))
		action = MSR_PASS;
	if (action == MSR_DENY || (action != MSR_PASS && !cpu_read_msr(msr, &present)))
		return false;
	if (!msr_write_value(action, value, present, &result))
		return false;
	if (action == MSR_IGNORE || action == MSR_SAME)
		return true;
	return cpu_write_msr(msr, result);
}
