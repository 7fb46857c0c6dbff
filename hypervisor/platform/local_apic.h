/* SPDX-License-Identifier: MIT */
/*
 * One local APIC of a guest: registers in both forms (xAPIC page, x2APIC registers), priorities, timer, and what others
 * have sent to its processor.
 *
 * Two kinds of state. Registers belong to the processor that runs this vCPU. Requests (the interrupt request bits with
 * their trigger modes, and signals: INIT, start-up message, NMI) are words that every processor may post to, atomically;
 * only the owner takes from them. So posting needs no lock, and a message never waits for the vCPU it is sent to.
 *
 * The timer runs against the machine's time-stamp counter, which the caller passes in; it counts at 1 GHz as a KVM
 * guest's does. AMD APM vol. 2, chapter 16; Intel SDM vol. 3, chapter 11.
 */
#ifndef BULKHEAD_PLATFORM_LOCAL_APIC_H
#define BULKHEAD_PLATFORM_LOCAL_APIC_H

#include <stdbool.h>
#include <stdint.h>

#define LOCAL_APIC_PAGE	     0xfee00000ull /**< where the registers lie; it cannot be moved */
#define LOCAL_APIC_TIMER_KHZ 1000000u

/** Signals in local_apic.signals; bits 7:0 hold a start-up message's vector. */
enum local_apic_signal {
	LOCAL_APIC_INIT = 1u << 8,
	LOCAL_APIC_STARTUP = 1u << 9,
	LOCAL_APIC_NMI = 1u << 10,
};

enum local_apic_lvt {
	LOCAL_APIC_TIMER,
	LOCAL_APIC_THERMAL,
	LOCAL_APIC_COUNTERS,
	LOCAL_APIC_LINT0,
	LOCAL_APIC_LINT1,
	LOCAL_APIC_ERROR,
	LOCAL_APIC_LVT_COUNT,
};

struct local_apic {
	uint32_t index;	    /**< of the vCPU; also its identifier */
	uint32_t tsc_khz;
	uint64_t base;	    /**< APIC_BASE register */
	uint32_t logical, format; /**< as in the xAPIC registers */
	uint32_t spurious;
	uint32_t task_priority;
	uint32_t error, error_shown; /**< collected; as last latched */
	uint32_t command_low, command_high;
	uint32_t lvt[LOCAL_APIC_LVT_COUNT];
	uint32_t divide, initial;
	uint64_t deadline; /**< TSC at which the timer fires; 0: it does not run */
	uint32_t in_service[8];

	/* Posted by any processor. */
	uint32_t request[8], is_level[8];
	uint32_t signals;
};

/** What a register write asks of the other APICs. */
struct local_apic_effects {
	uint32_t has_command;		     /**< a message is to be sent: command, destination */
	uint32_t command;		     /**< as in the low half of the command register */
	uint32_t destination;		     /**< 8 bits, or 32 if is_wide */
	uint32_t is_wide;
	uint32_t has_level_end;		     /**< a level-triggered interrupt ended: level_end */
	uint32_t level_end;		     /**< its vector */
};

/** Power-on state. vCPU 0 is the boot processor. @tsc_khz: rate of the counter given as `now`, above 0 */
void local_apic_init(struct local_apic *apic, uint32_t index, uint32_t tsc_khz);

/** What INIT resets: all but identifier and APIC_BASE. Requests are dropped; signals are the caller's. */
void local_apic_reset(struct local_apic *apic);

/** Whether the registers answer as x2APIC. */
bool local_apic_is_x2apic(const struct local_apic *apic);

/** Reads the register at @offset (16-byte steps) of the page. Unknown ones read 0. */
uint32_t local_apic_read(const struct local_apic *apic, uint32_t offset, uint64_t now);

/** Writes the register at @offset. @effects: out */
void local_apic_write(struct local_apic *apic, uint32_t offset, uint32_t value, uint64_t now,
		      struct local_apic_effects *effects);

/** Reads APIC_BASE (1Bh), the TSC deadline (6E0h) or an x2APIC register (800h-83Fh). False: #GP. */
bool local_apic_read_msr(const struct local_apic *apic, uint32_t msr, uint64_t now, uint64_t *value);

/** Writes one. False: #GP, and nothing is changed. @effects: out */
bool local_apic_write_msr(struct local_apic *apic, uint32_t msr, uint64_t value, uint64_t now,
			  struct local_apic_effects *effects);

/** Any processor: requests an interrupt. False: the APIC is off, or the vector is below 16. */
bool local_apic_post(struct local_apic *apic, uint8_t vector, bool is_level);

/** Any processor: sends INIT, a start-up message (with its vector in bits 7:0) or NMI. */
void local_apic_signal(struct local_apic *apic, uint32_t signal);

/** Owner: takes the signals sent so far. */
uint32_t local_apic_take_signals(struct local_apic *apic);

/** Whether signals or deliverable interrupts wait. @accepts_interrupts: IF is set */
bool local_apic_has_work(const struct local_apic *apic, bool accepts_interrupts);

/** Owner: highest request above the processor's priority; -1: none. */
int local_apic_pending(const struct local_apic *apic);

/** Owner: moves a request into service, as the processor's acknowledge cycle does. */
void local_apic_accept(struct local_apic *apic, uint8_t vector);

/** Owner: takes an acceptance back: the vector is a request again. */
void local_apic_unaccept(struct local_apic *apic, uint8_t vector);

/** Owner: lets the timer fire if its time has come. */
void local_apic_tick(struct local_apic *apic, uint64_t now);

/** Counter at which the timer will interrupt; 0: it will not. */
uint64_t local_apic_deadline(const struct local_apic *apic);

/** Whether a message's destination names this APIC. */
bool local_apic_matches(const struct local_apic *apic, uint32_t destination, bool is_logical, bool is_wide);

#endif
