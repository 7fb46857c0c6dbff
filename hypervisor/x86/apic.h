/* SPDX-License-Identifier: MIT */
/*
 * The local APIC: our own NMIs, and the service domain's writes.
 */
#ifndef BULKHEAD_X86_APIC_H
#define BULKHEAD_X86_APIC_H

#include "apic_policy.h"
#include "processor.h"

#define APIC_WINDOW	  0xfee00000ull
#define APIC_WINDOW_BYTES 0x100000ull

/** Sends an NMI to a processor. Keeps what the service domain has put in the command's upper half. */
void apic_send_nmi(uint32_t apic_id);

/** Does, or drops, a write of the service domain's to the APIC's MiB. */
void apic_write(struct processor *processor, uint64_t address, unsigned int size_bytes,
		uint64_t value);

/** Reads the processor's own logical destination. On it, before others send to it. */
void apic_learn_destination(struct processor *processor);

/** Takes INIT, start-up messages and NMIs; returns true if the processor is to start at *vector. */
bool apic_take_messages(struct processor *processor, uint8_t *vector);

#endif
