/* SPDX-License-Identifier: MIT */
/*
 * Guests' processors.
 */
#include "../hypervisor.h"
#include "svm.h"

unsigned int arch_vcpu_pages(void)
{
	return 1;
}

void arch_vcpu_init(struct vcpu *vcpu)
{
	(void)vcpu;
}

enum bulkhead_error arch_vcpu_check_state(const void *state)
{
	(void)state;
	return BULKHEAD_INVALID;
}

void arch_vcpu_set_state(struct vcpu *vcpu, const void *state)
{
	(void)vcpu;
	(void)state;
}

void arch_vcpu_get_state(const struct vcpu *vcpu, void *state)
{
	(void)vcpu;
	(void)state;
}

void arch_vcpu_run(struct vcpu *vcpu)
{
	(void)vcpu;
}
