// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * KVM_RUN: runs a vCPU until its monitor has something to do, a signal is for the thread, or it asked to return.
 *
 * The guest is entered with interrupts off. Whatever is for this thread arrives by interrupt, a signal's and a wake-up's
 * included, and a physical interrupt always ends the run: so nothing that comes after the last look is missed.
 */
#include "kvm.h"
#include "kvm_work.h"

#include <linux/io.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <asm/tsc.h>

#define LONGEST_SLEEP_NS (3600ull * NSEC_PER_SEC)
#define SHORT_WAIT_US	 50u /* about what falling asleep and waking up cost */

/* What a run's end means to the caller of KVM_RUN. */
enum { GO_ON = 1 };

static enum hrtimer_restart on_deadline(struct hrtimer *timer)
{
	struct vcpu *vcpu = container_of(timer, struct vcpu, timer);

	WRITE_ONCE(vcpu->armed, 0);
	kvm_vcpu_wake(vcpu);
	return HRTIMER_NORESTART;
}

void kvm_run_init(struct vcpu *vcpu)
{
	hrtimer_init(&vcpu->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	vcpu->timer.function = on_deadline;
}

/** Keeps the timer at the deadline that the hypervisor gave, which is in ticks of the time-stamp counter. */
static void follow_deadline(struct vcpu *vcpu, u64 deadline)
{
	u64 now, delay;

	if (deadline == READ_ONCE(vcpu->armed))
		return;
	hrtimer_cancel(&vcpu->timer);
	WRITE_ONCE(vcpu->armed, deadline);
	if (!deadline)
		return;
	now = rdtsc_ordered();
	/* Rounded up: a timer that comes early finds nothing to do. */
	delay = deadline > now ? mul_u64_u32_div(deadline - now, USEC_PER_SEC, kvm_facts.tsc_khz) + 1 : 0;
	hrtimer_start(&vcpu->timer, ns_to_ktime(min_t(u64, delay, LONGEST_SLEEP_NS)), HRTIMER_MODE_REL_PINNED_HARD);
}

/* The byte behind request_interrupt_window; kernels differ in how they call it among themselves. */
static bool wants_immediate_exit(const struct vcpu *vcpu)
{
	return READ_ONCE((&vcpu->run->request_interrupt_window)[1]);
}

static bool should_return(const struct vcpu *vcpu)
{
	return signal_pending(current) || wants_immediate_exit(vcpu);
}

/** Enters the guest once, unless something is to be done first. Returns 0, GO_ON (not entered) or a negative errno. */
static int enter(struct vcpu *vcpu)
{
	const struct hypercall call = { BULKHEAD_CALL_VCPU_RUN, { vcpu->guest->handle, vcpu->index } };
	int result = GO_ON;

	local_irq_disable();
	WRITE_ONCE(vcpu->processor, smp_processor_id());
	atomic_set(&vcpu->wake, 0);
	smp_mb(); /* see kvm_vcpu_wake() */
	if (!should_return(vcpu) && !need_resched() && !kvm_work_is_left())
		result = hypercall_errno(hypercall_once(&call, NULL));
	WRITE_ONCE(vcpu->processor, -1);
	local_irq_enable();
	return result;
}

static bool is_woken(const struct vcpu *vcpu)
{
	return atomic_read(&vcpu->wake) || wants_immediate_exit(vcpu) || kvm_relay_has_calls(vcpu);
}

static bool has_processor_to_itself(void)
{
	return single_task_running() && !need_resched();
}

/**
 * Waits awake, without a timer, for a deadline that is nearer than it is worth sleeping for; only while nobody else wants
 * the processor. Returns whether it has come; otherwise there is a timer again.
 */
static bool await_near(struct vcpu *vcpu, u64 deadline)
{
	u64 longest = (u64)SHORT_WAIT_US * kvm_facts.tsc_khz / USEC_PER_MSEC;

	if (!deadline || deadline > rdtsc() + longest || !has_processor_to_itself())
		return false;
	follow_deadline(vcpu, 0);
	while (rdtsc() < deadline && has_processor_to_itself() && !is_woken(vcpu) && !signal_pending(current))
		cpu_relax();
	if (rdtsc() >= deadline)
		return true;
	follow_deadline(vcpu, deadline);
	return false;
}

/** Sleeps until the guest may have something to do. Returns GO_ON or -EINTR. */
static int sleep(struct vcpu *vcpu, u64 deadline)
{
	if (!await_near(vcpu, deadline) && wait_event_interruptible(vcpu->wait, is_woken(vcpu)))
		return -EINTR;
	return GO_ON;
}

static int leave(struct kvm_run *run, u32 reason)
{
	run->exit_reason = reason;
	return 0;
}

static int port_exit(struct vcpu *vcpu, const struct bulkhead_run *shared)
{
	struct kvm_run *run = vcpu->run;

	if (shared->size_bytes != 1 && shared->size_bytes != 2 && shared->size_bytes != 4)
		return -EPROTO;
	run->io.direction = shared->is_read ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = shared->size_bytes;
	run->io.port = shared->port;
	run->io.count = 1;
	run->io.data_offset = PAGE_SIZE;
	if (!shared->is_read)
		memcpy((u8 *)run + PAGE_SIZE, &shared->value, shared->size_bytes);
	vcpu->port_read = shared->is_read;
	return leave(run, KVM_EXIT_IO);
}

static int device_exit(struct vcpu *vcpu, const struct bulkhead_run *shared)
{
	const struct bulkhead_kvm_device_exit exit = {
		.slot = shared->slot,
		.event = shared->event,
		.features = shared->features,
		.queues = shared->queues,
	};

	memcpy((u8 *)vcpu->run + offsetof(struct kvm_run, hw), &exit, sizeof(exit));
	return leave(vcpu->run, BULKHEAD_KVM_EXIT_DEVICE);
}

static int fault_exit(struct vcpu *vcpu, const struct bulkhead_run *shared)
{
	vcpu->run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	vcpu->run->internal.ndata = 1;
	vcpu->run->internal.data[0] = shared->address;
	return leave(vcpu->run, KVM_EXIT_INTERNAL_ERROR);
}

/** Does what a run's end asks for. Returns GO_ON to run again, 0 for an exit to the monitor, or a negative errno. */
static int act(struct vcpu *vcpu, const struct bulkhead_run *shared)
{
	switch (shared->exit) {
	case BULKHEAD_RUN_INTERRUPT:
	case BULKHEAD_RUN_KICK:
	case BULKHEAD_RUN_TIMER:
		return GO_ON;
	case BULKHEAD_RUN_HALT:
		return vcpu->guest->has_platform ? sleep(vcpu, shared->deadline) : leave(vcpu->run, KVM_EXIT_HLT);
	case BULKHEAD_RUN_PORT:
		return port_exit(vcpu, shared);
	case BULKHEAD_RUN_MEMORY:
		return kvm_memory_fill(vcpu->guest, shared->address) ?: GO_ON;
	case BULKHEAD_RUN_SHUTDOWN:
		return leave(vcpu->run, KVM_EXIT_SHUTDOWN);
	case BULKHEAD_RUN_FAULT:
		return fault_exit(vcpu, shared);
	case BULKHEAD_RUN_REFUSED:
		vcpu->run->fail_entry.hardware_entry_failure_reason = 0;
		return leave(vcpu->run, KVM_EXIT_FAIL_ENTRY);
	case BULKHEAD_RUN_DEVICE:
		return device_exit(vcpu, shared);
	default:
		return -EPROTO;
	}
}

/**
 * Takes back what the guest's balloon gave up, and fills what it wants again. What cannot be done for want of memory, the
 * guest asks for again when it is run again; until then it waits.
 */
static void follow_balloon(struct guest *guest, const struct bulkhead_run *shared)
{
	for (unsigned int i = 0; i < shared->given_up_count && i < BULKHEAD_BALLOON_STEP; i++)
		kvm_memory_take_back(guest, shared->given_up[i]);
	for (unsigned int i = 0; i < shared->wanted_count && i < BULKHEAD_BALLOON_STEP; i++)
		(void)kvm_memory_fill(guest, shared->wanted[i]);
	if (shared->tables)
		(void)kvm_tables_pay_guest(guest);
}

/** Gives the hypervisor the value of a port read that the monitor has answered. */
static void complete_read(struct vcpu *vcpu)
{
	u32 value;

	if (!vcpu->port_read)
		return;
	memcpy(&value, (u8 *)vcpu->run + PAGE_SIZE, sizeof(value));
	WRITE_ONCE(vcpu->shared->value, value);
	vcpu->port_read = false;
}

int kvm_run(struct vcpu *vcpu)
{
	/* Written by the hypervisor alone, and only while the guest runs. */
	const struct bulkhead_run *shared = vcpu->shared;
	int result;

	if (!vcpu->guest->is_sealed)
		return -EINVAL;
	/* A port read is completed by this call even if it returns at once, as the API's description promises. */
	complete_read(vcpu);
	for (;;) {
		kvm_relay_offer(vcpu);
		cond_resched(); /* to a backend that was just kicked, perhaps */
		kvm_relay_withdraw(vcpu);
		result = kvm_work_is_left() ? kvm_work_do() : 0;
		if (!result)
			result = should_return(vcpu) ? -EINTR : enter(vcpu);
		if (result == GO_ON)
			continue;
		if (result)
			break;
		kvm_relay_offer(vcpu);
		follow_deadline(vcpu, shared->deadline);
		kvm_platform_effects(vcpu->guest, shared->vcpus & BULKHEAD_EFFECT_VCPUS, NULL);
		kvm_platform_doorbells(vcpu->guest, shared->doorbells);
		follow_balloon(vcpu->guest, shared);
		result = act(vcpu, shared);
		if (result != GO_ON)
			break;
	}
	kvm_relay_withdraw(vcpu);
	if (result == -EINTR)
		vcpu->run->exit_reason = KVM_EXIT_INTR;
	return result;
}
