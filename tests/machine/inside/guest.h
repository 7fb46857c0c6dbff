/* SPDX-License-Identifier: MIT */
/*
 * Making and running tiny guests by hypercalls alone, as a driver would, for the program `guest` of the machine tests
 * and for attacks. Whatever goes wrong ends the program with a line that says what.
 */
#ifndef BULKHEAD_TESTS_GUEST_H
#define BULKHEAD_TESTS_GUEST_H

#include <stdbool.h>
#include <stddef.h>

#include <bulkhead/hypercall.h>
#include <bulkhead/platform.h>
#include <bulkhead/vcpu.h>

#include "../ring0/ring0.h"

#define CODE_AT	    0x1000u /* where a guest's code is loaded and starts, in real mode */
#define GUEST_PAGES 16u	    /* declared memory, from 0 */

/** How far make_guest() goes. */
enum guest_stage {
	GUEST_CREATED,
	GUEST_LOADED,
	GUEST_HAS_VCPU,
	GUEST_SEALED,
};

struct guest {
	uint64_t handle, run_page, code_page, vcpu_pages;
	uint64_t filled_page; /* what run() filled last */
	uint64_t first, end;  /* of all memory it was made of */
	bool is_protected;
};

/** Opens the test module and takes 4 MiB of memory. Returns 0, or the program's status. */
int guest_start(void);

/** Next free page of that memory; pages in a row inside one 2 MiB area. */
extern uint64_t pool_next;
uint64_t page(void);
uint64_t contiguous(uint64_t pages);

/** The processor on which this thread's acts are done. */
extern _Thread_local uint32_t on_processor;

/** An act at CPL 0. act() returns whether it was done without a fault, ring0() its value. */
int act(struct ring0 *request);
uint64_t ring0(uint32_t operation, uint64_t address, uint32_t width, uint64_t value);

/** A hypercall, repeated while it answers AGAIN but for call_once(). Returns its status. */
unsigned int call_once(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t *value);
unsigned int call_value(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t *value);
unsigned int call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

/** Ends the program with a line if two numbers differ. */
void expect(const char *what, unsigned long long got, unsigned long long wanted);

/** Fills a page: the bytes, then zeros. */
void copy_in(uint64_t to, const void *from, size_t size_bytes);
struct bulkhead_vcpu_state real_mode(void);

/** A guest with one vCPU and @code at CODE_AT, up to a stage. */
struct guest make_guest(const uint8_t *code, size_t size_bytes, enum guest_stage stage, bool is_protected);

/** Takes a guest from GUEST_CREATED on. Between the two it may be given a platform, and devices. */
void finish_guest(struct guest *guest, const uint8_t *code, size_t size_bytes, enum guest_stage stage);
void give_platform(struct guest *guest);
void add_device(const struct guest *guest, uint64_t slot, const struct bulkhead_device_description *description);

/** Loads a page with what is in it, or lends it. */
void give(struct guest *guest, uint64_t content, uint64_t at);
void seal(const struct guest *guest);

/** Fills an empty page of its memory, as it asks for when it touches one. */
void give_zeros(struct guest *guest, uint64_t at);

/** Runs until something other than an interrupt ends it; fills the pages it asks for. Returns enum bulkhead_run_exit. */
unsigned int run(struct guest *guest);

/** A field of the run page. */
uint64_t run_field(const struct guest *guest, size_t offset, uint32_t width);
#define RUN_FIELD(guest, name)                                                                     \
	run_field(guest, offsetof(struct bulkhead_run, name), sizeof(((struct bulkhead_run *)0)->name))

void destroy(const struct guest *guest);

/** 32-bit code of a guest with a platform and two vCPUs: the first's at 1000h, the second's at 2000h. */
struct platform_code {
	const uint8_t *first, *first_end, *second, *second_end;
};

/**
 * Runs it, each vCPU on its processor, until it says '.' or '!' by the serial port, or ends otherwise, which counts as '!'.
 * Returns what it said.
 */
const char *platform_run(const struct platform_code *code);

/** The platform's case. Returns the program's status. */
int platform_case(void);

#endif
