/* SPDX-License-Identifier: MIT */
/*
 * A guest's interrupt system as a whole: local APICs, I/O APIC, and the messages between them and from devices. Every
 * function that may give vCPUs something to do returns them as a mask; the caller makes them run or leave their run.
 *
 * A local APIC's registers belong to the processor that runs its vCPU; messages may come from any processor at any
 * time. The I/O APIC has a lock of its own, held for a few instructions and never while waiting for anything.
 */
#ifndef BULKHEAD_PLATFORM_APIC_BUS_H
#define BULKHEAD_PLATFORM_APIC_BUS_H

#include "io_apic.h"
#include "local_apic.h"

#define APIC_BUS_VCPUS 16u

struct apic_bus {
	struct local_apic local[APIC_BUS_VCPUS];
	uint32_t vcpus; /**< bit per vCPU that exists */
	uint32_t lock;	/**< of io */
	struct io_apic io;
};

/** No vCPUs yet; the I/O APIC as after power-on. */
void apic_bus_init(struct apic_bus *bus);

/** Adds a vCPU. @index: below APIC_BUS_VCPUS; @tsc_khz: above 0 */
void apic_bus_add(struct apic_bus *bus, uint32_t index, uint32_t tsc_khz);

/** Delivers a message-signalled interrupt: fixed and lowest priority only, others go nowhere. */
uint32_t apic_bus_message(struct apic_bus *bus, uint64_t address, uint32_t data);

/** Drives an input of the I/O APIC. @input: below IO_APIC_INPUTS */
uint32_t apic_bus_set_input(struct apic_bus *bus, unsigned int input, bool level);

/** I/O APIC page. */
uint32_t apic_bus_io_read(struct apic_bus *bus, uint32_t offset);
uint32_t apic_bus_io_write(struct apic_bus *bus, uint32_t offset, uint32_t value);

/** Local APIC page of vCPU @index, by the processor that runs it. @now: time-stamp counter */
uint32_t apic_bus_read(struct apic_bus *bus, uint32_t index, uint32_t offset, uint64_t now);
uint32_t apic_bus_write(struct apic_bus *bus, uint32_t index, uint32_t offset, uint32_t value, uint64_t now);

/** Model-specific registers: APIC_BASE, TSC deadline, x2APIC. False: #GP. @vcpus: out */
bool apic_bus_read_msr(struct apic_bus *bus, uint32_t index, uint32_t msr, uint64_t now, uint64_t *value);
bool apic_bus_write_msr(struct apic_bus *bus, uint32_t index, uint32_t msr, uint64_t value, uint64_t now,
			uint32_t *vcpus);

#endif
