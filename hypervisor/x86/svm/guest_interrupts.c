/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of a guest with a platform: between two stays in the guest its timer may fire, signals arrive, and what is
 * pending is offered as the virtual interrupt (15.21.4), which the guest takes when it is ready. After the stay the request
 * says whether it did. An injected event would do the same; but QEMU 7.2 delivers one of type interrupt a
 * second time if another of its threads wants something of the processor before the next exit, whatever the guest's IF is.
 * There a delivery that faults names the vector as an exception's: that one is forgotten and offered again.
 */
#include "../../core/guest_platform.h"
#include "guest.h"

#define SHADOW	      1ull
#define OPCODE_HLT    0xf4u

static struct local_apic *local_of(const struct vcpu *vcpu)
{
	return &vcpu->guest->platform->platform.apics.local[vcpu->index];
}

static bool accepts(const struct vmcb *vmcb)
{
	return vmcb->rflags & RFLAGS_IF;
}

/* Whether it waits for anything. Asked in line: mostly it does not. */
static inline bool waits(const struct svm_vcpu *guest)
{
	return guest->is_waiting || guest->is_halted;
}

bool svm_guest_sleeps(const struct vcpu *vcpu)
{
	const struct svm_vcpu *guest = svm_vcpu_of(vcpu);
	struct local_apic *local;

	if (!vcpu->guest->platform || !waits(guest))
		return false;
	local = local_of(vcpu);
	local_apic_tick(local, rdtsc());
	return !local_apic_has_work(local, guest->is_halted && !guest->is_waiting && accepts(guest->vmcb));
}

/* Makes running vCPUs of a mask leave their runs for a moment. Returns those that do not run. */
static uint32_t ring(const struct vcpu *vcpu, uint32_t vcpus)
{
	struct guest *guest = vcpu->guest;

	for (uint32_t i = 0; vcpus >> i; i++) {
		struct vcpu *other = &guest->vcpus[i];

		if (!(vcpus >> i & 1))
			continue;
		if (i != vcpu->index) {
			if (!other->arch || !__atomic_load_n(&svm_vcpu_of(other)->is_inside, __ATOMIC_SEQ_CST))
				continue;
			processor_request(processor_at(READ_ONCE(other->processor)), 0);
		}
		vcpus &= ~(1u << i);
	}
	return vcpus;
}

bool svm_guest_halt(struct vcpu *vcpu, struct bulkhead_run *run)
{
	struct svm_vcpu *guest = svm_vcpu_of(vcpu);

	if (!vcpu->guest->platform)
		return svm_guest_tell(guest, run, BULKHEAD_RUN_HALT);
	guest->is_halted = 1;
	return true;
}

void svm_guest_keep_shadow(struct vcpu *vcpu)
{
	struct svm_vcpu *guest = svm_vcpu_of(vcpu);
	struct vmcb *vmcb = guest->vmcb;
	uint8_t byte;

	if (!vcpu->guest->platform || !(vmcb->interrupt_shadow & SHADOW) || (vmcb->event & EVENT_VALID))
		return;
	if (svm_guest_fetch(vcpu, &byte, 1) != 1 || byte != OPCODE_HLT)
		return;
	vmcb->rip++;
	vmcb->interrupt_shadow = 0;
	guest->is_halted = 1;
}

/* The boot processor begins at the reset vector, the others wait for a start-up message that says where. */
static void reset(struct processor *processor, struct svm_vcpu *guest)
{
	svm_reset(processor, guest->vmcb);
	guest->is_halted = guest->is_nmi_pending = guest->is_nmi_blocked = 0;
}

static void take_signals(struct processor *processor, struct vcpu *vcpu, struct svm_vcpu *guest)
{
	struct local_apic *local = local_of(vcpu);
	uint32_t signals = local_apic_take_signals(local);

	if (signals & LOCAL_APIC_INIT) {
		local_apic_reset(local);
		reset(processor, guest);
		guest->is_waiting = vcpu->index != 0;
	}
	if ((signals & LOCAL_APIC_STARTUP) && guest->is_waiting) {
		reset(processor, guest);
		svm_start_up(guest->vmcb, (uint8_t)signals);
		guest->is_waiting = 0;
	}
	if ((signals & LOCAL_APIC_NMI) && !guest->is_waiting) {
		guest->is_nmi_pending = 1;
		guest->is_halted = 0;
	}
}

/* The driver's timer stands at what it was told last; one that lies in the past has fired. */
static bool is_earlier(const struct svm_vcpu *guest, uint64_t deadline, uint64_t now)
{
	return deadline && (guest->told_deadline == 0 || guest->told_deadline <= now ||
			    deadline < guest->told_deadline);
}

static bool can_inject(const struct vmcb *vmcb)
{
	return !(vmcb->event & EVENT_VALID) && !(vmcb->interrupt_shadow & SHADOW);
}

static void inject(struct svm_vcpu *guest, struct local_apic *local)
{
	struct vmcb *vmcb = guest->vmcb;
	int vector;

	guest->offered = 0;
	vmcb->virtual_interrupt = VIRTUAL_MASKING;
	vmcb->intercept1 &= ~INTERCEPT1_VINTR;
	if (guest->is_nmi_pending && !guest->is_nmi_blocked && can_inject(vmcb)) {
		guest->is_nmi_pending = 0;
		guest->is_nmi_blocked = 1;
		vmcb->event = VECTOR_NMI | EVENT_NMI | EVENT_VALID;
		vmcb->intercept1 |= INTERCEPT1_IRET;
		return;
	}
	vector = local_apic_pending(local);
	if (vector < 0)
		return;
	vmcb->virtual_interrupt |= VIRTUAL_REQUEST | VIRTUAL_PRIORITY | VIRTUAL_ANYWAY;
	if (can_inject(vmcb) && accepts(vmcb)) {
		/* In service from now on: a request that comes while the guest is inside is another one. */
		local_apic_accept(local, (uint8_t)vector);
		guest->offered = (uint8_t)vector;
		vmcb->virtual_interrupt |= (uint64_t)vector << VIRTUAL_VECTOR_SHIFT;
	} else {
		vmcb->intercept1 |= INTERCEPT1_VINTR;
	}
}

void svm_guest_account_interrupt(struct vcpu *vcpu)
{
	struct svm_vcpu *guest = svm_vcpu_of(vcpu);
	struct vmcb *vmcb = guest->vmcb;

	if (!guest->offered)
		return;
	if (vmcb->virtual_interrupt & VIRTUAL_REQUEST) {
		local_apic_unaccept(local_of(vcpu), guest->offered);
		/* Its delivery faulted. An exception of that number is none to miss: it is a fault, and its instruction comes again. */
		if ((vmcb->event & EVENT_KIND) == (EVENT_EXCEPTION | guest->offered))
			vmcb->event = 0;
	}
	guest->offered = 0;
}

bool svm_guest_prepare(struct processor *processor, struct vcpu *vcpu, struct bulkhead_run *run)
{
	struct svm_vcpu *guest = svm_vcpu_of(vcpu);
	struct local_apic *local;
	uint64_t now;

	if (!vcpu->guest->platform)
		return true;
	local = local_of(vcpu);
	now = rdtsc();
	local_apic_tick(local, now);
	take_signals(processor, vcpu, guest);
	vcpu->deadline = local_apic_deadline(local);
	if (vcpu->effects.vcpus)
		vcpu->effects.vcpus = ring(vcpu, vcpu->effects.vcpus);
	if (waits(guest) && svm_guest_sleeps(vcpu))
		return svm_guest_tell(guest, run, BULKHEAD_RUN_HALT);
	guest->is_halted = 0;
	if (guest_platform_must_exit(vcpu))
		return svm_guest_tell(guest, run, BULKHEAD_RUN_KICK);
	if (is_earlier(guest, vcpu->deadline, now))
		return svm_guest_tell(guest, run, BULKHEAD_RUN_TIMER);
	inject(guest, local);
	return true;
}

void svm_guest_leave(struct vcpu *vcpu)
{
	if (!vcpu->guest->platform)
		return;
	vcpu->effects.vcpus = ring(vcpu, vcpu->effects.vcpus);
	vcpu->deadline = local_apic_deadline(local_of(vcpu));
	svm_vcpu_of(vcpu)->told_deadline = vcpu->deadline;
}
