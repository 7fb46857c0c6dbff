/* SPDX-License-Identifier: MIT */
/*
 * See apic_policy.h.
 */
#include <stddef.h>

#include "apic_policy.h"

enum rule {
	RULE_PASS,
	RULE_LOCAL, /* a local interrupt: its delivery mode is checked */
	RULE_COMMAND,
};

/* Registers that may be written; all others may not. */
static const struct {
	uint32_t first, last;
	enum rule rule;
} rules[] = {
	{ 0x080, 0x080, RULE_PASS },	/* task priority */
	{ 0x0b0, 0x0b0, RULE_PASS },	/* end of interrupt */
	{ 0x0d0, 0x0d0, RULE_PASS },	/* logical destination */
	{ 0x0e0, 0x0e0, RULE_PASS },	/* destination format */
	{ 0x0f0, 0x0f0, RULE_PASS },	/* spurious vector, software enable */
	{ 0x280, 0x280, RULE_PASS },	/* error status */
	{ 0x2f0, 0x2f0, RULE_LOCAL },	/* corrected machine checks */
	{ 0x300, 0x300, RULE_COMMAND }, /* interrupt command, sends */
	{ 0x310, 0x310, RULE_PASS },	/* its destination */
	{ 0x320, 0x370, RULE_LOCAL },	/* timer, thermal, counters, LINT0, LINT1, error */
	{ 0x380, 0x380, RULE_PASS },	/* timer's initial count */
	{ 0x3e0, 0x3e0, RULE_PASS },	/* timer's divider */
	{ 0x500, 0x530, RULE_LOCAL },	/* AMD's extended local interrupts */
};

static enum apic_delivery delivery_of(uint32_t value)
{
	return value >> 8 & 7;
}

enum apic_verdict apic_write_verdict(uint32_t offset, uint32_t value)
{
	enum apic_delivery delivery = delivery_of(value);

	if (offset & 0xf)
		return APIC_DROP;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (offset < rules[i].first || offset > rules[i].last)
			continue;
		if (rules[i].rule == RULE_COMMAND)
			return APIC_COMMAND;
		if (rules[i].rule == RULE_PASS)
			return APIC_PASS;
		/* An external interrupt through the 8259 is what LINT0 is wired to at start. */
		return delivery == APIC_FIXED || delivery == APIC_NMI ||
				       (delivery == APIC_EXTINT && offset < 0x500) ?
			       APIC_PASS :
			       APIC_DROP;
	}
	return APIC_DROP;
}

bool apic_is_addressed(uint32_t destination, uint32_t logical, uint32_t format)
{
	uint32_t own = logical >> 24;

	if (destination == 0xff)
		return true;
	if (format >> 28 == 0xf) /* flat: one bit each */
		return (own & destination) != 0;
	return own >> 4 == destination >> 4 && (own & destination & 0xf) != 0;
}

static enum apic_targets targets_of(uint32_t low, uint32_t destination)
{
	static const enum apic_targets shorthands[] = { APIC_ONE, APIC_SELF, APIC_ALL, APIC_OTHERS };
	enum apic_targets targets = shorthands[low >> 18 & 3];

	if (targets == APIC_ONE && (low & 1u << 11))
		return APIC_LOGICAL;
	return targets == APIC_ONE && destination == 0xff ? APIC_ALL : targets;
}

struct apic_command apic_command_decode(uint32_t low, uint32_t high)
{
	enum apic_delivery delivery = delivery_of(low);
	bool is_deassert = (low & 1u << 15) && !(low & 1u << 14);
	struct apic_command command = { .targets = APIC_NOBODY };

	if (delivery == APIC_FIXED || delivery == APIC_LOWEST) {
		command.is_passed = true;
		return command;
	}
	if ((delivery != APIC_INIT && delivery != APIC_STARTUP && delivery != APIC_NMI) ||
	    is_deassert)
		return command;
	command.is_init = delivery == APIC_INIT;
	command.is_nmi = delivery == APIC_NMI;
	command.apic_id = high >> 24;
	command.targets = targets_of(low, command.apic_id);
	command.vector = (uint8_t)low;
	return command;
}
