/*
 * The control queues' messages; see port_control.h.
 */
#include "port_control.h"

#include <string.h>

#include <linux/virtio_console.h>

#define PORT 0u /* the one there is */

_Static_assert(sizeof(struct virtio_console_control) == PORT_HEADER_BYTES, "the message's fixed part");

void port_control_make(struct port_control *control, const char *name)
{
	*control = (struct port_control){.name = name};
}

/** The driver starts, or says that it cannot: what it was told before counts no more. */
static void restart(struct port_control *control, bool owes_port)
{
	*control = (struct port_control){
		.name = control->name, .host_is_open = control->host_is_open, .owes_port = owes_port};
}

static void make_port(struct port_control *control, bool is_ready)
{
	restart(control, false);
	control->is_ready = control->owes_name = is_ready;
}

void port_control_hear(struct port_control *control, const uint8_t message[PORT_HEADER_BYTES])
{
	struct virtio_console_control said;

	memcpy(&said, message, sizeof(said));
	if (said.value > 1 || (said.event != VIRTIO_CONSOLE_DEVICE_READY && said.id != PORT))
		return;
	if (said.event == VIRTIO_CONSOLE_DEVICE_READY)
		restart(control, said.value);
	else if (said.event == VIRTIO_CONSOLE_PORT_READY)
		make_port(control, said.value);
	else if (said.event == VIRTIO_CONSOLE_PORT_OPEN && control->is_ready)
		control->guest_is_open = said.value;
}

void port_control_connect(struct port_control *control)
{
	control->host_is_open = true;
}

void port_control_leave(struct port_control *control)
{
	control->host_is_open = false;
	control->owes_close |= control->is_told;
}

static bool owes_open(const struct port_control *control)
{
	return control->host_is_open && !control->is_told;
}

bool port_control_owes(const struct port_control *control)
{
	return control->owes_port ||
	       (control->is_ready && (control->owes_name || control->owes_close || owes_open(control)));
}

static size_t write_message(uint8_t message[PORT_MESSAGE_MAX], uint16_t event, uint16_t value, const char *text)
{
	const struct virtio_console_control header = {.id = PORT, .event = event, .value = value};
	size_t bytes = strlen(text);

	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), text, bytes); /* without a byte that ends it: the message's size does */
	return sizeof(header) + bytes;
}

size_t port_control_next(struct port_control *control, uint8_t message[PORT_MESSAGE_MAX])
{
	if (control->owes_port) {
		control->owes_port = false;
		return write_message(message, VIRTIO_CONSOLE_PORT_ADD, 1, "");
	}
	if (!control->is_ready)
		return 0;
	if (control->owes_name) {
		control->owes_name = false;
		return write_message(message, VIRTIO_CONSOLE_PORT_NAME, 1, control->name);
	}
	if (control->owes_close)
		control->owes_close = control->is_told = false;
	else if (owes_open(control))
		control->is_told = true;
	return write_message(message, VIRTIO_CONSOLE_PORT_OPEN, control->is_told, "");
}
