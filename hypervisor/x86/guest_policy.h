/* SPDX-License-Identifier: MIT */
/*
 * What a guest's processor is: the CPUID it sees, the ports its monitor may answer, the registers it may
 * start with. Constant tables, deny by default, the same on every machine and for every vendor.
 */
#ifndef BULKHEAD_X86_GUEST_POLICY_H
#define BULKHEAD_X86_GUEST_POLICY_H

#include <bulkhead/vcpu.h>

#include "cpu.h"

/** What a vCPU's CPUID depends on besides the machine's. */
struct guest_kind {
	uint32_t index;	      /* of the vCPU */
	uint32_t vcpu_count;  /* of its guest */
	bool has_platform;    /* local APIC, deadline timer, KVM's clock */
	bool has_xsave_on;    /* CR4.OSXSAVE */
	uint32_t subleaf;     /* that it asks for */
};

/** Answers a guest's CPUID. Pure. @hardware: what this processor answers to the same leaf and subleaf */
struct cpuid guest_policy_cpuid(uint32_t leaf, const struct guest_kind *kind, struct cpuid hardware);

/**
 * Registers without an effect that kernels read or write without asking CPUID. Reading gives the same on every machine,
 * writing vanishes. Returns false for all others.
 */
bool guest_policy_msr(uint32_t msr, uint64_t *value);

/**
 * Whether a guest may set XCR0 to this: parts it is offered, and none without those it builds on (APM vol. 2, 11.5.2).
 * @hardware: the parts this processor has (CPUID Dh, EAX)
 */
bool guest_policy_xcr0(uint64_t value, uint32_t hardware);

/** Whether a page attribute table holds only types that exist. */
bool guest_policy_pat(uint64_t pat);

/** Whether an access to a port goes to the monitor. Others read as ones, and writes vanish. */
bool guest_policy_port(uint16_t port, unsigned int size_bytes);

/** Whether a vCPU may start like this. */
bool guest_policy_state(const struct bulkhead_vcpu_state *state);

/** Whether a guest may set EFER to this. @present: as it is; @cr0: for changes of LME while paging */
bool guest_policy_efer(uint64_t value, uint64_t present, uint64_t cr0);

#endif
