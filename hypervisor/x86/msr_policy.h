/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers of the service domain: one constant table, deny by default. The table is
 * pure; msr.c acts on it.
 */
#ifndef BULKHEAD_X86_MSR_POLICY_H
#define BULKHEAD_X86_MSR_POLICY_H

#include <stdbool.h>
#include <stdint.h>

enum msr_action {
	MSR_DENY,    /* #GP */
	MSR_PASS,    /* no exit where the processor can tell */
	MSR_IGNORE,  /* a write vanishes */
	MSR_SAME,    /* a write of the present value vanishes, any other is #GP */
	MSR_COUNTER, /* performance counter control: made to count outside the hypervisor only */
	MSR_DEBUG,   /* DebugCtl: single-step on branches only */
	MSR_HARDWARE, /* HWCR: bits that concern the service domain alone */
	MSR_LOCKED,  /* reads as: virtualization is switched off, and that is locked */
	MSR_EXTENDED, /* EFER */
};

struct msr_rule {
	uint32_t first, last;
	uint8_t read, write; /* enum msr_action */
};

/** The rule for an MSR; never NULL. */
const struct msr_rule *msr_rule_find(uint32_t msr);

/** Whether a write to EFER is one the processor would take. @present: as it is, SVME included */
bool msr_efer_is_valid(uint64_t value, uint64_t present, uint64_t cr0);

/** EFER after the write: SVME stays set, LMA follows LME and the present paging. */
uint64_t msr_efer_merge(uint64_t value, uint64_t present);

/**
 * The value that is really written, for actions that change it. Pure.
 * Returns false for #GP. @present: what the register holds
 */
bool msr_write_value(enum msr_action action, uint64_t value, uint64_t present, uint64_t *result);

/**
 * Whether a performance counter has sent an interrupt that nobody has dealt with: it is on, may interrupt,
 * and its top bit is clear. Software starts it below zero and does so again in its handler (APM vol. 2, 13.2).
 */
bool msr_counter_has_overflowed(uint64_t selector, uint64_t count);

/** Does an RDMSR or WRMSR of the service domain's (not EFER). False: #GP. */
bool msr_read(uint32_t msr, uint64_t *value);
bool msr_write(uint32_t msr, uint64_t value);

#endif
