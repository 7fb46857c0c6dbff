/*
 * guest_config.h: the monitor's configuration of a guest that a descriptor names. The agent starts a
 * guest by it, and `bulkhead image describe` measures it: one function, so that both mean the same
 * machine. What is measured of it comes from the descriptor, the platform's lines and the number of
 * disks; names, sockets and the card's address are this start's own.
 */
#ifndef TRUST_GUEST_CONFIG_H
#define TRUST_GUEST_CONFIG_H

#include "trust/descriptor.h"

#define GUEST_CONFIG_PLATFORM_MAX 8192

/** One start. Texts hold no newline; NULL where nothing is said. */
struct guest_config {
	const char *name;
	const char *platform;	    /* lines that every guest of this PC begins with: its firmware */
	const char *system, *user, *config; /* the disks' sockets */
	const char *network;	    /* the card's socket; used where the descriptor has a card */
	const char *mac;
	const char *guest_agent;       /* socket of the port of the guest's helper; used where the descriptor has one */
	const char *console, *control; /* sockets to listen on */
	const char *descriptor, *descriptor_key; /* files */
};

/**
 * Writes the text, to be freed by the caller. Returns 0, -EINVAL (a text holds a newline; the platform's
 * lines say what the descriptor decides; a card or port without a socket), or -ENOMEM.
 */
int guest_config_write(const struct guest_config *config, const struct descriptor *descriptor,
		       char **text);

#endif
