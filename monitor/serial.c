/* SPDX-License-Identifier: MIT */
/*
 * The 16550 as its data sheet (PC16550D) describes it, always with an empty transmitter.
 */
#include "serial.h"

enum { REG_DATA, REG_INTERRUPT_ENABLE, REG_INTERRUPT_ID, REG_LINE_CONTROL, REG_MODEM_CONTROL, REG_LINE_STATUS,
       REG_MODEM_STATUS, REG_SCRATCH };
enum { ENABLE_RECEIVED = 1, ENABLE_TRANSMITTER = 2 };
enum { ID_NONE = 0x01, ID_TRANSMITTER = 0x02, ID_RECEIVED = 0x04, ID_FIFO = 0xc0 };
enum { LINE_DIVISOR = 0x80 };
enum { MODEM_OUT2 = 0x08, MODEM_LOOPBACK = 0x10 };
enum { STATUS_DATA = 0x01, STATUS_TRANSMITTER_EMPTY = 0x60 };
enum { MODEM_READY = 0xb0 }; /* carrier, data set ready, clear to send */

static uint8_t interrupt_id(const struct serial *serial)
{
	if (serial->interrupt_enable & ENABLE_RECEIVED && serial->input_count)
		return ID_RECEIVED;
	if (serial->interrupt_enable & ENABLE_TRANSMITTER && serial->transmitter_empty)
		return ID_TRANSMITTER;
	return ID_NONE;
}

static void update_line(struct serial *serial)
{
	serial->set_line(serial->context, interrupt_id(serial) != ID_NONE && serial->modem_control & MODEM_OUT2);
}

void serial_reset(struct serial *serial)
{
	*serial = (struct serial){
		.output = serial->output,
		.set_line = serial->set_line,
		.context = serial->context,
		.divisor = 12,
	};
}

static uint8_t take_input(struct serial *serial)
{
	uint8_t value;

	if (!serial->input_count)
		return 0;
	value = serial->input[serial->input_first];
	serial->input_first = (serial->input_first + 1) % SERIAL_INPUT_BYTES;
	serial->input_count--;
	return value;
}

uint8_t serial_read(struct serial *serial, unsigned int offset)
{
	uint8_t value = 0;

	if (serial->line_control & LINE_DIVISOR && offset <= REG_INTERRUPT_ENABLE)
		return (uint8_t)(serial->divisor >> 8 * offset);
	switch (offset) {
	case REG_DATA:
		value = take_input(serial);
		break;
	case REG_INTERRUPT_ENABLE:
		return serial->interrupt_enable;
	case REG_INTERRUPT_ID:
		value = interrupt_id(serial);
		if (value == ID_TRANSMITTER)
			serial->transmitter_empty = false; /* reading it acknowledges */
		value |= ID_FIFO;
		break;
	case REG_LINE_CONTROL:
		return serial->line_control;
	case REG_MODEM_CONTROL:
		return serial->modem_control;
	case REG_LINE_STATUS:
		return (uint8_t)(STATUS_TRANSMITTER_EMPTY | (serial->input_count ? STATUS_DATA : 0));
	case REG_MODEM_STATUS:
		/* In loop-back the four outputs come back as inputs; drivers test for a port so. */
		if (serial->modem_control & MODEM_LOOPBACK)
			return (uint8_t)((serial->modem_control & 0x0c) << 4 | (serial->modem_control & 2) << 3 |
					 (serial->modem_control & 1) << 5);
		return MODEM_READY;
	case REG_SCRATCH:
		return serial->scratch;
	}
	update_line(serial);
	return value;
}

void serial_write(struct serial *serial, unsigned int offset, uint8_t value)
{
	if (serial->line_control & LINE_DIVISOR && offset <= REG_INTERRUPT_ENABLE) {
		serial->divisor = (uint16_t)((serial->divisor & ~(0xff << 8 * offset)) | value << 8 * offset);
		return;
	}
	switch (offset) {
	case REG_DATA:
		if (serial->modem_control & MODEM_LOOPBACK)
			(void)serial_input(serial, &value, 1);
		else
			serial->output(serial->context, value);
		serial->transmitter_empty = true;
		break;
	case REG_INTERRUPT_ENABLE:
		if (value & ~serial->interrupt_enable & ENABLE_TRANSMITTER)
			serial->transmitter_empty = true;
		serial->interrupt_enable = value & 0x0f;
		break;
	case REG_LINE_CONTROL:
		serial->line_control = value;
		return;
	case REG_MODEM_CONTROL:
		serial->modem_control = value & 0x1f;
		break;
	case REG_SCRATCH:
		serial->scratch = value;
		return;
	}
	update_line(serial);
}

size_t serial_input(struct serial *serial, const uint8_t *characters, size_t count)
{
	size_t taken = 0;

	for (; taken < count && serial->input_count < SERIAL_INPUT_BYTES; taken++)
		serial->input[(serial->input_first + serial->input_count++) % SERIAL_INPUT_BYTES] = characters[taken];
	update_line(serial);
	return taken;
}
