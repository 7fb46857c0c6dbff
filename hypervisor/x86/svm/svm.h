/* SPDX-License-Identifier: MIT */
/*
 * Private to the SVM back-end.
 */
#ifndef BULKHEAD_X86_SVM_SVM_H
#define BULKHEAD_X86_SVM_SVM_H

#include "../vendor.h"
#include "vmcb.h"

/** Pages of a processor's block that are the back-end's. */
#define SVM_VMCB_PAGE  BLOCK_BACK_END	     /* the service domain on this processor */
#define SVM_HOST_PAGE  (BLOCK_BACK_END + 1) /* our own VMSAVE area */
#define SVM_SAVE_PAGE  (BLOCK_BACK_END + 2) /* the processor's host save area */

/** Address-space identifiers: 0 is the host's. Each vCPU switch flushes, so two do. */
#define SVM_ASID_SERVICE 1u
#define SVM_ASID_GUEST	 2u

/** The service domain's control block on a processor. */
static inline struct vmcb *svm_service(struct processor *processor)
{
	return processor_page(processor, SVM_VMCB_PAGE);
}

/** Whether a control block's domain executes 64-bit code. */
static inline bool svm_is_64bit(const struct vmcb *vmcb)
{
	return (vmcb->efer & EFER_LMA) && (vmcb->cs.attributes & CODE_64BIT);
}

/** The control block that runs, or ran last: the service domain's, or that of a guest. */
struct vmcb *svm_running(const struct processor *processor);

/** Runs processor->run_state until it exits (run.S). */
void svm_switch(struct processor *processor);

/** Answers what is asked of this processor, runs the service domain once, handles its exit. */
void svm_run_once(struct processor *processor);

/** Handles an exit of the service domain. */
void svm_exit(struct processor *processor, struct vmcb *vmcb);

/**
 * Registers as after INIT, SVME kept as VMRUN demands it: execution begins at the reset vector.
 * @processor: runs @vmcb; its general registers are set too
 */
void svm_reset(struct processor *processor, struct vmcb *vmcb);

/** A start-up message after that: execution begins at @vector << 12. */
void svm_start_up(struct vmcb *vmcb, uint8_t vector);

/** Permission maps of the service domain, built by vendor_start(). */
extern uint8_t svm_port_map[3 * 4096];
extern uint8_t svm_msr_map[2 * 4096];

#endif
