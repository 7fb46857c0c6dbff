/* SPDX-License-Identifier: MIT */
/*
 * A guest's I/O APIC: 24 inputs, edge and level triggered, redirection entries the guest writes. It holds no lock and
 * sends nothing: it says which inputs have a message to send, and apic_bus.c does both. Intel 82093AA datasheet.
 */
#ifndef BULKHEAD_PLATFORM_IO_APIC_H
#define BULKHEAD_PLATFORM_IO_APIC_H

#include <stdbool.h>
#include <stdint.h>

#define IO_APIC_INPUTS 24u

struct io_apic {
	uint32_t select;		  /**< register the data window shows */
	uint32_t levels;		  /**< inputs as last driven */
	uint64_t entries[IO_APIC_INPUTS]; /**< as the guest reads them */
};

/** Power-on state: every input masked. */
void io_apic_init(struct io_apic *apic);

/** Reads at @offset of the page. */
uint32_t io_apic_read(const struct io_apic *apic, uint32_t offset);

/** Writes at @offset. Returns the inputs whose messages are now to be sent. */
uint32_t io_apic_write(struct io_apic *apic, uint32_t offset, uint32_t value);

/** Drives an input. @input: below IO_APIC_INPUTS. Returns the inputs whose messages are now to be sent. */
uint32_t io_apic_set_input(struct io_apic *apic, unsigned int input, bool level);

/** A level-triggered interrupt ended. Returns the inputs whose messages are to be sent again. */
uint32_t io_apic_end(struct io_apic *apic, uint8_t vector);

/** Nobody took the message of @input: a level-triggered one is to be sent again when something changes. */
void io_apic_lost(struct io_apic *apic, unsigned int input);

#endif
