/* SPDX-License-Identifier: MIT */
/*
 * See io_apic.h.
 */
#include "io_apic.h"

#define REG_ID	    0u
#define REG_VERSION 1u
#define REG_ENTRIES 0x10u

#define VERSION	   (0x11u | (IO_APIC_INPUTS - 1) << 16)
#define REMOTE_IRR (1ull << 14)
#define LEVEL	   (1ull << 15)
#define MASKED	   (1ull << 16)
#define WRITABLE   0xff0000000001afffull /* all but status, remote IRR and what is reserved */

void io_apic_init(struct io_apic *apic)
{
	*apic = (struct io_apic){ 0 };
	for (unsigned int i = 0; i < IO_APIC_INPUTS; i++)
		apic->entries[i] = MASKED;
}

/* A level-triggered input sends when it is on and the last message has been ended. */
static uint32_t send_level(struct io_apic *apic, unsigned int input)
{
	uint64_t entry = input < IO_APIC_INPUTS ? apic->entries[input] : MASKED;

	if (!(entry & LEVEL) || (entry & (MASKED | REMOTE_IRR)) || !(apic->levels >> input & 1))
		return 0;
	apic->entries[input] |= REMOTE_IRR;
	return 1u << input;
}

uint32_t io_apic_read(const struct io_apic *apic, uint32_t offset)
{
	uint32_t number = apic->select, entry = (number - REG_ENTRIES) / 2;

	if (offset == 0)
		return apic->select;
	if (offset != 0x10)
		return 0;
	if (number == REG_VERSION)
		return VERSION;
	if (number < REG_ENTRIES || entry >= IO_APIC_INPUTS)
		return 0;
	return (uint32_t)(apic->entries[entry] >> (number & 1 ? 32 : 0));
}

uint32_t io_apic_write(struct io_apic *apic, uint32_t offset, uint32_t value)
{
	uint32_t number = apic->select, entry = (number - REG_ENTRIES) / 2, shift = number & 1 ? 32 : 0;
	uint64_t mask = 0xffffffffull << shift & WRITABLE;

	if (offset == 0) {
		apic->select = value & 0xff;
		return 0;
	}
	if (offset != 0x10 || number < REG_ENTRIES || entry >= IO_APIC_INPUTS)
		return 0;
	apic->entries[entry] = (apic->entries[entry] & ~mask) | ((uint64_t)value << shift & mask);
	/* An edge-triggered input has nothing to wait for: software clears a stuck bit by changing the mode. */
	if (!(apic->entries[entry] & LEVEL))
		apic->entries[entry] &= ~REMOTE_IRR;
	return send_level(apic, entry);
}

uint32_t io_apic_set_input(struct io_apic *apic, unsigned int input, bool level)
{
	uint32_t bit = 1u << input, was = apic->levels & bit;

	apic->levels = level ? apic->levels | bit : apic->levels & ~bit;
	if (apic->entries[input] & LEVEL)
		return send_level(apic, input);
	return level && !was && !(apic->entries[input] & MASKED) ? bit : 0;
}

uint32_t io_apic_end(struct io_apic *apic, uint8_t vector)
{
	uint32_t inputs = 0;

	for (unsigned int i = 0; i < IO_APIC_INPUTS; i++) {
		if ((uint8_t)apic->entries[i] != vector || !(apic->entries[i] & REMOTE_IRR))
			continue;
		apic->entries[i] &= ~REMOTE_IRR;
		inputs |= send_level(apic, i);
	}
	return inputs;
}

void io_apic_lost(struct io_apic *apic, unsigned int input)
{
	apic->entries[input] &= ~REMOTE_IRR;
}
