/* SPDX-License-Identifier: MIT */
/*
 * A 16550 serial port: enough for firmware, boot loaders and kernels, with an input queue so that pasted text is not
 * lost. Knows nothing of where its characters go.
 */
#ifndef BULKHEAD_MONITOR_SERIAL_H
#define BULKHEAD_MONITOR_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERIAL_PORT	   0x3f8u
#define SERIAL_LINE	   4u
#define SERIAL_INPUT_BYTES 4096u

struct serial {
	/** Takes a character the guest sent. */
	void (*output)(void *context, uint8_t character);
	/** Sets the interrupt line. */
	void (*set_line)(void *context, bool level);
	void *context;

	uint8_t interrupt_enable, line_control, modem_control, scratch;
	uint16_t divisor;
	bool transmitter_empty; /**< its interrupt waits to be read */
	uint8_t input[SERIAL_INPUT_BYTES];
	size_t input_first, input_count;
};

/** Sets the port up as after power-on; callbacks and context are kept. */
void serial_reset(struct serial *serial);

uint8_t serial_read(struct serial *serial, unsigned int offset);
void serial_write(struct serial *serial, unsigned int offset, uint8_t value);

/** Gives characters to the guest. Returns how many fit. */
size_t serial_input(struct serial *serial, const uint8_t *characters, size_t count);

#endif
