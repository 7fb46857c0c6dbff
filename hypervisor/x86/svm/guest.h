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
};
static_assert(sizeof(struct svm_vcpu) <= 4096, "one page");

static inline struct svm_vcpu *svm_vcpu_of(const struct vcpu *vcpu)
{
	return vcpu->arch;
}

/** Handles a guest's exit. Returns true if it can run on, false if the run page says what is needed. */
bool svm_guest_exit(struct processor *processor, struct vcpu *vcpu, struct bulkhead_run *run);

/** Ends a port read with the monitor's value. */
void svm_guest_complete(struct svm_vcpu *guest, const struct bulkhead_run *run);

/** Permission maps of all guests. */
extern uint8_t svm_guest_port_map[3 * 4096];
extern uint8_t svm_guest_msr_map[2 * 4096];

/** Fills them: every port exits; of the registers only what the control block holds is the guest's. */
void svm_guest_build_maps(void);

#endif
