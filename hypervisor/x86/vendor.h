/* SPDX-License-Identifier: MIT */
/*
 * The seam between what all x86 processors share and what AMD (svm/) and Intel do their own way.
 * One back-end is linked in; nothing outside its folder uses its terms.
 *
 * While the hypervisor runs, interrupts, NMIs and SMIs are held off; vendor_take_pending() and
 * vendor_wait() are the only places that let them in.
 */
#ifndef BULKHEAD_X86_VENDOR_H
#define BULKHEAD_X86_VENDOR_H

#include "../boot/boot_info.h"
#include "cpu.h"
#include "processor.h"

/** "svm", "vmx". */
extern const char vendor_name[];

/** Where a processor stood when its loader called BOOT_ENTER; it goes on there as a guest. */
struct entry_point {
	uint64_t rbx, rbp, r12, r13, r14, r15;
	uint64_t rsp, rip; /* after the call */
	uint64_t rflags;
	uint64_t cr0, cr3, cr4, efer;
	uint64_t fs_base, gs_base;
	uint16_t cs, ss, ds, es, fs, gs, tr, ldtr;
	struct descriptor_table gdtr, idtr;
};

/** Registers that exit handling needs to follow an address of the service domain. */
struct view {
	uint64_t rip, rflags, cs_base, cr0, cr3, cr4, efer;
	bool is_64bit; /* code segment */
	uint8_t cpl;
};

/** Whether this processor can do what the back-end needs. Changes nothing. */
enum boot_result vendor_check(void);

/** Builds what all processors share (permission maps). Once, before any vendor_enter(). */
void vendor_start(void);

/** Keeps the loader's system-call registers and FS, GS for vendor_enter(), before ours are loaded. */
void vendor_save_calls(struct processor *processor);

/** Prepares this processor and its first state. @root: service domain's nested page table */
void vendor_enter(struct processor *processor, const struct entry_point *entry, struct phys root);

/** Runs the service domain on this processor, for good. */
__attribute__((noreturn)) void vendor_run(struct processor *processor);

/** Reads the registers a view holds from the state that exited. */
struct view vendor_view(const struct processor *processor);

/** RAX of the state that exited; the other general registers are in processor->gpr. */
uint64_t vendor_rax(const struct processor *processor);
void vendor_set_rax(struct processor *processor, uint64_t value);

/** Raises an exception in the service domain. @error: pushed if the vector has an error code */
void vendor_inject(struct processor *processor, enum vector vector, uint32_t error);

/** Moves the service domain past the instruction that exited. */
void vendor_skip(struct processor *processor, unsigned int size_bytes);

/** Gives the processor the state after INIT and a start-up message. */
void vendor_reset(struct processor *processor, uint8_t startup_vector);

/** Drops every translation of the service domain's and all guests' before anything runs again. */
void vendor_flush(struct processor *processor);

/** Lets pending NMIs and SMIs in. */
void vendor_take_pending(void);

/** Sleeps until an NMI or SMI has been taken. Returns at once if one was pending. */
void vendor_wait(void);

#endif
