/* SPDX-License-Identifier: MIT */
/*
 * What the service domain sees of the processor's features.
 */
#ifndef BULKHEAD_X86_CPUID_POLICY_H
#define BULKHEAD_X86_CPUID_POLICY_H

#include "cpu.h"

/** Answers CPUID. @cr4: the asker's, which two bits mirror */
struct cpuid cpuid_policy_answer(uint32_t leaf, uint32_t subleaf, uint64_t cr4);

/** The rules alone: @hardware is what the processor says. Pure. */
struct cpuid cpuid_policy_apply(uint32_t leaf, uint32_t subleaf, uint64_t cr4,
				struct cpuid hardware);

#endif
