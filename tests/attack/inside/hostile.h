/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of program `hostile`: attacks on guests, by and from guests.
 */
#ifndef BULKHEAD_TESTS_HOSTILE_H
#define BULKHEAD_TESTS_HOSTILE_H

/* Eight bytes that stand nowhere but where a guest puts them: searched for by their complement. */
#define SECRET_LOW  0x1d7a93c5
#define SECRET_HIGH 0x5ec2e7a1
#define SECRET_KEY  0x3c96a5f0
#define SECRET_AT   0x3000

#define LOADED_AT 0x4000
#define EMPTY_AT  0x5000
#define FILLED_AT 0x100000

/* What a register holds that no answer of a monitor may change, but for the lowest byte of the first. */
#define ASKED	0x11223344
#define HALTED	0x55667788
#define TOUCHED 0x99aabbcc

#define MARK   0x5ec2e7a1
#define LOOKS  18
#define STORMS 300

#define VECTORS_AT   0x3000 /* an XSAVE area */
#define VECTOR_LOOKS 2
#define SPLIT_AT     0x303e /* four bytes across a line's end */

#define FLOOD_SLOT     5
#define FLOOD_REQUESTS 128 /* as many as a queue holds */
#define RING_AT	       0x4000 /* table, available ring, used ring, buffer: a page each */

/* Vectors of the inputs of a guest's I/O APIC, in one word of the local APIC's registers, and the inputs that its monitor may
 * drive: the serial port's, the clock's, the power button's. */
#define LISTEN_VECTOR	0x40
#define LISTEN_INPUTS	24
#define LISTEN_MONITORS 0x310

#define TABLE_AT      0x3000
#define TASK_PRIORITY 0x20
#define STAYS	      100000

#ifndef __ASSEMBLER__
#include "../../machine/inside/guest.h"

#define GUEST(name) extern const uint8_t name[], name##_end[]
GUEST(keeper);
GUEST(asker);
GUEST(reader);
GUEST(runner);
GUEST(leaver);
GUEST(looker);
GUEST(teller);
GUEST(stormer);
GUEST(stormed);
GUEST(walker);
GUEST(stayer);
GUEST(vector_leaver);
GUEST(vector_looker);
GUEST(splitter);
GUEST(flooder);
GUEST(listener);

/** make_guest() of one of them. */
#define MAKE(name, stage, is_protected) make_guest(name, (size_t)(name##_end - (name)), stage, is_protected)

#define DIGEST_BYTES sizeof(((struct bulkhead_measurement *)0)->digest)

/** A guest's measurement: DIGEST_BYTES. */
void digest_of(const struct guest *guest, uint8_t *digest);

/** Takes the next four bytes that a guest says; ends the program if it does something else. */
uint32_t hear(struct guest *guest);

/* hostile_work.c: guests that keep the machine busy. True if they get more of it than they should. */
bool attack_stay(bool is_protected);
bool attack_split_locks(bool is_protected);
bool attack_flood(bool is_protected);

/* Attacks: true if they had their effect. hostile_races.c: by two processors at once. */
bool attack_run_page_race(bool is_protected);
bool attack_vcpu_twice(bool is_protected);
bool attack_double_donation(bool is_protected);
bool attack_load_race(bool is_protected);
#endif
#endif
