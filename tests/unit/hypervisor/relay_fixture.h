/* SPDX-License-Identifier: MIT */
/*
 * What tests of the relay share: a guest with a ring that a small driver fills, a relay area, and one queue between them.
 * Whoever serves the area is the test's.
 */
#ifndef RELAY_FIXTURE_H
#define RELAY_FIXTURE_H

#include "fake_memory.h"
#include "relay_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GUEST_START 0x100000u
#define GUEST_BYTES (4u << 20)
#define QUEUE_SIZE  128u
#define DESC	    GUEST_START
#define AVAIL	    (GUEST_START + 0x1000)
#define USED	    (GUEST_START + 0x2000)
#define DATA	    (GUEST_START + 0x10000)

struct descriptor {
	uint64_t address;
	uint32_t size;
	uint16_t flags, next;
};

/* The area lies at AREA in its memory, so that a write before it would be seen. */
#define AREA 8192u

extern uint8_t guest_bytes[GUEST_BYTES], area_bytes[RELAY_AREA_BYTES + AREA];
extern struct memory guest, area;
extern struct relay_queue relay;
extern struct relay_effects effects;
extern uint16_t backend_seen; /* requests that the backend has taken */

/** The guest's descriptor, and a word of its memory; a word of the area; an entry of the guest's used ring. */
struct descriptor *desc(unsigned int i);
uint16_t *guest16(uint64_t address);
uint16_t *area16(uint32_t offset);
uint32_t *used_entry(uint16_t index);

/** Starts with empty rings. @is_disk: what the relay is told the device is. */
void set_up(bool event_index, bool is_disk);

/** The driver makes the chain that begins at @head available. */
void offer(uint16_t head);

/** The backend has completed a request. */
void complete(uint32_t head, uint32_t size);

/** Has the relay do all it can in one direction. */
void forward(void);
void give_back(void);

#endif
