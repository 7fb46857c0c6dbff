/* SPDX-License-Identifier: MIT */
/*
 * What the service domain may write to its local APIC. Pure; apic.c acts on it.
 *
 * The machine's interrupts are the service domain's, so most registers are its own. It may not send
 * what would stop or restart a processor behind the hypervisor's back: INIT and start-up messages are
 * carried out by the hypervisor, SMI, ExtINT and reserved messages are dropped. Writes elsewhere in
 * the APIC's MiB act as interrupt messages of any kind on some machines and are dropped.
 */
#ifndef BULKHEAD_X86_APIC_POLICY_H
#define BULKHEAD_X86_APIC_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define APIC_ID		0x20u
#define APIC_LDR	0xd0u
#define APIC_DFR	0xe0u
#define APIC_ICR_LOW	0x300u
#define APIC_ICR_HIGH	0x310u

/** Delivery modes, bits 10:8 of ICR and LVT entries (APM vol. 2, 16.4, 16.5). */
enum apic_delivery {
	APIC_FIXED = 0,
	APIC_LOWEST = 1,
	APIC_SMI = 2,
	APIC_NMI = 4,
	APIC_INIT = 5,
	APIC_STARTUP = 6,
	APIC_EXTINT = 7,
};

enum apic_verdict {
	APIC_DROP,
	APIC_PASS,    /* write it as it is */
	APIC_COMMAND, /* ICR low: apic_command_decode() */
};

/** What to do with a 4-byte write at an offset of the APIC's MiB. */
enum apic_verdict apic_write_verdict(uint32_t offset, uint32_t value);

enum apic_targets {
	APIC_ONE,     /* the processor with an identifier */
	APIC_LOGICAL, /* those that apic_is_addressed() says */
	APIC_SELF,
	APIC_ALL,
	APIC_OTHERS,  /* all but the sender */
	APIC_NOBODY,
};

struct apic_command {
	bool is_passed; /* to the hardware, as it is */
	bool is_init, is_nmi; /* neither: a start-up message */
	enum apic_targets targets;
	uint32_t apic_id; /* of APIC_ONE; the logical destination of APIC_LOGICAL */
	uint8_t vector;	  /* of a start-up message */
};

/** What a write to ICR low asks for. */
struct apic_command apic_command_decode(uint32_t low, uint32_t high);

/**
 * Whether a logical destination names a processor (APM vol. 2, 16.6.1).
 * @logical, @format: its LDR and DFR
 */
bool apic_is_addressed(uint32_t destination, uint32_t logical, uint32_t format);

#endif
