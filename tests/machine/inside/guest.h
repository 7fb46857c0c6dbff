/* SPDX-License-Identifier: MIT */
/*
 * Making and running a tiny guest by hypercalls alone; shared by the files of program `guest`.
 */
#ifndef BULKHEAD_TESTS_GUEST_H
#define BULKHEAD_TESTS_GUEST_H

#include <bulkhead/hypercall.h>
#include <bulkhead/vcpu.h>

#include "../ring0/ring0.h"

struct guest {
	uint64_t handle, run_page, code_page, first, end;
};

/** Next free page of physical memory. */
extern uint64_t pool_next;
uint64_t page(void);

/** A single act at CPL 0; ends the program if it faults. */
uint64_t ring0(uint32_t operation, uint64_t address, uint32_t width, uint64_t value);

/** A hypercall, repeated while it answers AGAIN. Returns its status. */
unsigned int call_value(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t *value);
unsigned int call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

/** Ends the program with a line if two numbers differ. */
void expect(const char *what, unsigned long long got, unsigned long long wanted);

void copy_in(uint64_t to, const void *from, size_t size_bytes);
struct bulkhead_vcpu_state real_mode(void);
void destroy(const struct guest *guest);

/** The platform's case. Returns the program's status. */
int platform_case(void);

#endif
