/*
 * What is said over the control queues of a virtio console with one port that is no console (virtio 1.2, 5.3.6.2 and
 * 5.3.6.3): what the guest's messages mean, and which message it is owed next. What is owed are a few flags: a guest that
 * asks without end, or takes nothing, makes nothing grow.
 */
#ifndef BULKHEAD_BACKENDS_PORT_CONTROL_H
#define BULKHEAD_BACKENDS_PORT_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORT_NAME_MAX	  64u
#define PORT_HEADER_BYTES 8u
#define PORT_MESSAGE_MAX  (PORT_HEADER_BYTES + PORT_NAME_MAX)

struct port_control {
	const char *name;
	bool is_ready;		      /**< the guest's driver has the port */
	bool guest_is_open;	      /**< a program in the guest has it open: bytes may go there */
	bool host_is_open, is_told;   /**< somebody is connected here; the guest believes that somebody is */
	bool owes_port, owes_name;    /**< that the port is there; what it is called */
	bool owes_close;	      /**< whom the guest was told of has left, and somebody else may have come since */
};

/** Starts without driver and without anybody connected. @name: 1 to PORT_NAME_MAX bytes, kept; the caller's */
void port_control_make(struct port_control *control, const char *name);

/** Takes a message of the guest's, which may say anything: one that makes no sense changes nothing. */
void port_control_hear(struct port_control *control, const uint8_t message[PORT_HEADER_BYTES]);

/** Somebody has connected here, or whoever was has left. */
void port_control_connect(struct port_control *control);
void port_control_leave(struct port_control *control);

/** Whether the guest is to be told something. */
bool port_control_owes(const struct port_control *control);

/**
 * Makes the next message for the guest and takes it for told. Returns its size in bytes. Where nothing is owed, a guest
 * with the port hears again what it was told last; one without gets 0.
 */
size_t port_control_next(struct port_control *control, uint8_t message[PORT_MESSAGE_MAX]);

#endif
