/* SPDX-License-Identifier: MIT */
/*
 * A guest with a platform and two processors, for tests of what ends a stay in it. The processor is played by hand: a test sets
 * the control block as an exit leaves it, and looks at what stands there before the next entry.
 */
#ifndef SVM_GUEST_FIXTURE_H
#define SVM_GUEST_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "guest_platform.h"
#include "x86/svm/guest.h"

#define PAGE(n)	 (0x2800000ull + (n) * PAGE_BYTES)
#define LARGE(n) (0x2c00000ull + (n) * (2ull << 20))
#define CODE_AT	 0x1000u
#define APIC	 0xfee00000ull
#define NEVER	 (~0ull >> 1)
#define MSR_X2	 0x800u

extern struct processor processors[2];
extern struct svm_vcpu states[2];
extern struct vmcb blocks[2];
extern struct guest *guest;
extern unsigned int rings; /* processors that were told to look */
extern uint64_t xcr0;

/** A hypercall that must succeed; its value. */
uint64_t call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

/** Makes the guest anew, sealed, its second processor waiting for its start. */
int setup(void **state);

struct bulkhead_run *run_page(unsigned int i);
struct local_apic *local(unsigned int i);
bool prepare(unsigned int i);

/** The vector of the virtual interrupt that the guest may take, or 0. */
unsigned int offered(unsigned int i);

/** The guest's stay ends, and an interrupt that it was offered is taken or is not. */
void stay(unsigned int i, bool takes);

/** The processor delivers what was injected or offered and later exits. */
bool leave(unsigned int i, uint64_t code, uint64_t info1, uint64_t info2);

/** Lays bytes where the first processor executes. */
void put_code(const void *bytes, size_t size_bytes);
#define CODE(...) put_code((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

bool msr_write(unsigned int i, uint32_t msr, uint64_t value);
uint64_t msr_read(unsigned int i, uint32_t msr);

#endif
