/* SPDX-License-Identifier: MIT */
/*
 * Private to the SVM back-end: a guest's processor.
 *
 * Its pages (struct vcpu, pages): the core's copy of the initial state, the control block, struct
 * svm_vcpu, then two areas for extended state (x87, SSE, AVX ...): the guest's, and the service
 * domain's while the guest runs.
 */
#ifndef BULKHEAD_X86_SVM_GUEST_H
#define BULKHEAD_X86_SVM_GUEST_H

#include <bulkhead/vcpu.h>

#include "../../platform/mmio_cache.h"
#include "../hypervisor.h"
#include "svm.h"

#define SVM_GUEST_VMCB	   1 /* pages after the first */
#define SVM_GUEST_STATE	   2
#define SVM_GUEST_EXTENDED 3

#define DEBUG_REGISTERS 4u

/** Registers that neither VMRUN nor VMLOAD exchanges. */
struct svm_registers {
	uint64_t gpr[GPR_COUNT];
	uint64_t debug[DEBUG_REGISTERS]; /* DR0 .. DR3 */
	uint64_t xcr0;
	void *extended; /* XSAVE area */
};

/** What the back-end keeps for a guest's processor. */
struct svm_vcpu {
	struct svm_registers guest;
	struct svm_registers service; /* while the guest runs */
	struct vmcb *vmcb;
	struct phys vmcb_page;
	uint32_t pending_read; /* bytes of the port read the monitor has to answer; 0: none */
	uint32_t is_over;      /* BULKHEAD_RUN_* that ended it for good; 0: none did */
	uint32_t exit;	       /* BULKHEAD_RUN_* of the present run */
	/* With a platform. */
	uint32_t is_inside;    /* others ring this vCPU's processor; 0: they name it to the driver */
	uint32_t is_waiting;   /* for a start-up message */
	uint32_t is_halted;
	uint32_t is_nmi_pending, is_nmi_blocked;
	uint8_t offered; /* vector of the virtual interrupt that the guest may take in this stay; 0: none */
	uint64_t told_deadline; /* the driver's timer stands there, or has fired */
	uint64_t clock_address; /* as the guest wrote it */
	struct mmio_cache instructions;
};
static_assert(sizeof(struct svm_vcpu) <= 4096, "one page");

static inline struct svm_vcpu *svm_vcpu_of(const struct vcpu *vcpu)
{
	return vcpu->arch;
}

/** Sets XCR0 of this processor; which parts there are must have been checked. */
void svm_set_xcr0(uint64_t value);

/** Handles a guest's exit. Returns true if it can run on, false if the run page says what is needed. */
bool svm_guest_exit(struct processor *processor, struct vcpu *vcpu, struct bulkhead_run *run);

/** Ends the run: true to the loop is "run on", false is this. */
bool svm_guest_tell(struct svm_vcpu *guest, struct bulkhead_run *run, enum bulkhead_run_exit exit);
bool svm_guest_end(struct svm_vcpu *guest, struct bulkhead_run *run, enum bulkhead_run_exit exit);

/** Past the instruction that exited. Returns true. @size_bytes: its length where the processor does not tell */
bool svm_guest_advance(struct processor *processor, const struct vmcb *vmcb, unsigned int size_bytes);

/* guest_interrupts.c: the interrupt system's side of a run. A guest without a platform passes through. */

/**
 * Before the guest is entered: timer, signals, events for others, injection.
 * Returns false if the run ends instead, as the run page then says.
 */
bool svm_guest_prepare(struct processor *processor, struct vcpu *vcpu, struct bulkhead_run *run);

/** Whether there is nothing to enter the guest for: it sleeps, or waits for its start-up message. */
bool svm_guest_sleeps(const struct vcpu *vcpu);

/** After a run: rings vCPUs that run and have something to do, leaves the others and the deadline for the run page. */
void svm_guest_leave(struct vcpu *vcpu);

/** HLT. Returns true: svm_guest_prepare() decides. */
bool svm_guest_halt(struct vcpu *vcpu, struct bulkhead_run *run);

/** An exit that came between STI and HLT: the processor forgets the interrupt shadow, and the sleep would miss it. */
void svm_guest_keep_shadow(struct vcpu *vcpu);

/** After a stay: whether the guest took the interrupt that it was offered (15.21.4: the request is gone then). */
void svm_guest_account_interrupt(struct vcpu *vcpu);

/* guest_mmio.c: instructions that the hypervisor carries out. */

/** An access to @address, which is not memory. Returns false if it cannot be carried out: the guest ends. */
bool svm_guest_mmio(struct processor *processor, struct vcpu *vcpu, uint64_t address, bool is_write);

/**
 * One element of INS or OUTS, which the processor stopped at.
 * @device: reads and writes @port
 * Returns false, and has changed nothing, if the instruction is no such one of this width, or its memory is not there.
 */
bool svm_guest_string(struct processor *processor, struct vcpu *vcpu, uint16_t port, uint32_t size_bytes, bool is_read,
		      const struct mmio_device *device);

/** A move from or to CR8, the task priority. Returns false if the instruction cannot be read. */
bool svm_guest_cr8(struct processor *processor, struct vcpu *vcpu, bool is_write);

/** First bytes at the guest's RIP. Returns how many. */
uint32_t svm_guest_fetch(const struct vcpu *vcpu, uint8_t *bytes, uint32_t count);

/** Ends a port read with the monitor's value. */
void svm_guest_complete(struct svm_vcpu *guest, const struct bulkhead_run *run);

/** Permission maps of all guests. */
extern uint8_t svm_guest_port_map[3 * 4096];
extern uint8_t svm_guest_msr_map[2 * 4096];

/** Fills them: every port exits; of the registers only what the control block holds is the guest's. */
void svm_guest_build_maps(void);

#endif
