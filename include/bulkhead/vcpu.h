/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A guest's processor as the driver sees it: the state it starts with (VCPU_SET, VCPU_GET) and the run
 * page, in which the hypervisor says why a run ended. docs/hypercalls.md describes both.
 *
 * x86-64. Both structures begin a page of their own; the rest of the page is zero.
 */
#ifndef BULKHEAD_VCPU_H
#define BULKHEAD_VCPU_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/build_bug.h>
#else
#include <assert.h>
#include <stdint.h>
#endif

/** A segment register. */
struct bulkhead_segment {
	uint16_t selector;
	uint16_t attributes; /* descriptor bits 47:40 in 7:0, 55:52 in 11:8 */
	uint32_t limit;	     /* in bytes */
	uint64_t base;
};

/** Registers of a processor. Those not named start as after power-on and stay hidden. */
struct bulkhead_vcpu_state {
	uint64_t gpr[16]; /* RAX RCX RDX RBX RSP RBP RSI RDI R8 .. R15 */
	uint64_t rip;
	uint64_t rflags;
	struct bulkhead_segment es, cs, ss, ds, fs, gs, ldtr, tr, gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4;
	uint64_t efer; /* SCE, LME, LMA, NXE */
	uint64_t pat;
};

static_assert(sizeof(struct bulkhead_vcpu_state) == 352, "ABI");

/** Why a run ended. */
enum bulkhead_run_exit {
	BULKHEAD_RUN_INTERRUPT = 0, /* this processor has something else to do: run again */
	BULKHEAD_RUN_HALT = 1,	    /* HLT: nothing to do until an interrupt */
	BULKHEAD_RUN_PORT = 2,	    /* port access; a read is completed by port.value at the next run */
	BULKHEAD_RUN_MEMORY = 3,    /* declared memory at address is empty: fill it, run again */
	BULKHEAD_RUN_SHUTDOWN = 4,  /* triple fault: never runs again */
	BULKHEAD_RUN_FAULT = 5,	    /* access outside declared memory: never runs again */
	BULKHEAD_RUN_REFUSED = 6,   /* the processor refuses this state: never runs again */
	BULKHEAD_RUN_KICK = 7,	    /* vcpus are to be woken, or doorbells rung: do it, run again */
	BULKHEAD_RUN_TIMER = 8,	    /* deadline moved earlier: arm it, run again */
	BULKHEAD_RUN_DEVICE = 9,    /* the guest's driver started or reset a device */
};

#define BULKHEAD_BALLOON_STEP 16u /* pages that a run reports as given up, or as wanted */

/**
 * Run page. Written by the hypervisor when a run ends; of what the driver writes only value is read,
 * once, and only to complete a port read. vcpus, doorbells, deadline and what is behind them are valid after every run, whatever
 * ended it: the driver does what they ask before it runs this vCPU again or sleeps for it.
 */
struct bulkhead_run {
	uint32_t exit; /* enum bulkhead_run_exit */
	uint32_t reserved;
	uint64_t address; /* MEMORY, FAULT: guest address of the page */
	uint16_t port;
	uint8_t size_bytes; /* 1, 2 or 4 */
	uint8_t is_read;
	uint32_t value;	    /* written to the port, or (by the driver) read from it */
	uint64_t deadline;  /* machine's TSC at which this vCPU wants to be run (again); 0: no timer */
	uint32_t vcpus;	    /* bit per vCPU of the guest that has something to do: wake it */
	uint32_t reserved2;
	uint64_t doorbells; /* bit (device * 8 + queue), devices in the order of their calls: kick the backend */
	uint32_t slot;	    /* DEVICE: which */
	uint32_t event;	    /* DEVICE: enum bulkhead_device_event */
	uint64_t features;  /* DEVICE, START: accepted by the guest's driver */
	uint32_t queues;    /* DEVICE, START: bit per queue that is enabled */
	uint32_t tables;    /* page tables to be paid for this guest before it is run again: 0 or 1 */
	uint32_t given_up_count;
	uint32_t wanted_count;
	uint64_t given_up[BULKHEAD_BALLOON_STEP]; /* guest addresses of pages it gave up: GUEST_RECLAIM takes them back */
	uint64_t wanted[BULKHEAD_BALLOON_STEP];	  /* guest addresses to fill (GUEST_DONATE) before it is run again */
};

static_assert(sizeof(struct bulkhead_run) == 80 + 16 * BULKHEAD_BALLOON_STEP, "ABI");

#endif
