/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * /dev/kvm over hypercalls: the structures that the files kvm_*.c share, and what each offers the others.
 *
 * A guest lives as long as any file that names it: the VM's and its vCPUs'. When the last is closed, however its
 * process ended, the guest is destroyed and every page comes back before one is freed: a page that the hypervisor has
 * not given back must never reach Linux's allocator.
 *
 * Locks, outermost first: vcpu.lock, guest.lock, guest.memory_lock, the tables' lock (kvm_tables.c).
 */
#ifndef BULKHEAD_DRIVER_KVM_H
#define BULKHEAD_DRIVER_KVM_H

#include <linux/hrtimer.h>
#include <linux/kref.h>
#include <linux/kvm.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/wait.h>
#include <linux/xarray.h>
#include <bulkhead/kvm.h>
#include <bulkhead/vcpu.h>

#include "hypercall.h"

#define KVM_AREA_PAGES BULKHEAD_LARGE_PAGE_PAGES
#define KVM_AREA_ORDER 9

struct guest;

/** A queue's relay area and event fds. */
struct guest_queue {
	struct guest *guest;
	unsigned int bit; /* device * 8 + queue, devices in the order of their calls */
	struct page **pages; /* BULKHEAD_RELAY_PAGES; NULL: no area */
	struct eventfd_ctx *kick, *call;
	struct file *call_file; /* kept open, so that its wait queue stays */
	wait_queue_entry_t call_wait;
	poll_table call_poll;
};

struct guest_device {
	u32 slot;
	u32 type;
	u32 queue_count;
	u32 config_bytes;
	struct guest_queue queues[BULKHEAD_QUEUES_MAX];
};

struct guest_region {
	u64 first; /* page number in the guest */
	u64 page_count;
	u64 user_address; /* of an unprotected guest's memory; 0: private */
};

struct vcpu {
	struct guest *guest;
	u32 index;
	struct mutex lock; /* one ioctl at a time */
	struct bulkhead_vcpu_state state; /* until the seal */
	struct page *pages; /* given to the hypervisor */
	unsigned int page_order;
	struct bulkhead_run *shared; /* run page, written by the hypervisor */
	struct kvm_run *run; /* mapped by the monitor; behind it a page for port data */
	bool port_read; /* the last exit was a port read that waits for its value */

	wait_queue_head_t wait; /* the vCPU's thread, while the guest has nothing to do */
	atomic_t wake;
	int processor; /* that runs it now, or -1 */
	struct hrtimer timer;
	u64 armed; /* deadline that timer is set for, in TSC ticks; 0: not set */
};

struct guest {
	struct kref refs;
	struct mutex lock;
	struct mm_struct *mm; /* whose memory an unprotected guest has; compared only */
	u64 handle; /* 0 before INIT */
	bool wants_platform, has_platform, is_protected, is_sealed;
	bool is_broken; /* a call failed half way: only its end is left */

	struct page *root, *platform;
	unsigned int platform_order;
	struct list_head tables; /* pages paid for its tables */

	struct mutex memory_lock;
	struct guest_region regions[BULKHEAD_MAX_RANGES];
	unsigned int region_count;
	struct xarray areas; /* struct guest_area by page number / KVM_AREA_PAGES */

	struct vcpu *vcpus[BULKHEAD_MAX_VCPUS];
	struct guest_device devices[BULKHEAD_DEVICES_MAX];
	unsigned int device_count;

	struct task_struct *worker;
	struct vcpu *drainer; /* is out of the guest, and drains before the worker would; NULL: none */
	DECLARE_BITMAP(calls, BULKHEAD_DEVICES_MAX * BULKHEAD_QUEUES_MAX);
};

/* kvm_device.c: the device itself and facts about the machine that all guests share. */
struct kvm_facts {
	u32 vcpu_pages, platform_pages, tsc_khz;
};
extern struct kvm_facts kvm_facts;

/** Answer of KVM_CHECK_EXTENSION. */
long kvm_check_extension(long capability);

/** Makes /dev/kvm appear. Returns 0 or a negative errno: -EBUSY if Linux's KVM has it. */
int kvm_device_register(void);
void kvm_device_unregister(void);

/* kvm_guest.c */

/** Makes a guest and returns a file descriptor for it, or a negative errno. */
int kvm_guest_create(void);

/**
 * Reads what the guest behind file descriptor @fd of the caller's measures as into a page (struct bulkhead_measurement).
 * Returns 0, -EBADF, -EINVAL (no guest of ours, or before INIT), -EINTR.
 */
int kvm_guest_measure(int fd, void *page);
void kvm_guest_get(struct guest *guest);
void kvm_guest_put(struct guest *guest);

/* kvm_tables.c: pages that the hypervisor takes for page tables. */

/**
 * Makes a call and pays tables, of the guest's and the service domain's, for as long as it lacks one. Repeats on AGAIN.
 * Returns 0 or a negative errno.
 */
int kvm_tables_call(struct guest *guest, const struct hypercall *call, u64 *value);

/** Pays one table for a guest. Returns 0 or a negative errno. */
int kvm_tables_pay_guest(struct guest *guest);

/** Pays one table for the service domain, and does not fail for want of memory. */
int kvm_tables_pay_service(void);

/** Takes back tables that the service domain no longer needs. */
void kvm_tables_refund(void);

/** Frees the pages that were paid for a guest which has been destroyed. */
void kvm_tables_free(struct guest *guest);

/** Frees what is kept for later. */
void kvm_tables_exit(void);

/* kvm_memory.c */
int kvm_memory_set_region(struct guest *guest, const struct kvm_userspace_memory_region *region);
int kvm_memory_load(struct guest *guest, const struct bulkhead_kvm_load *load);

/** Fills the empty guest page at @address (and its neighbours). Returns 0, -EFAULT if it is not declared, -ENOMEM. */
int kvm_memory_fill(struct guest *guest, u64 address);

/**
 * Fills everything that is declared and still empty. A sealed guest then never waits for memory, nor ends for want of it,
 * and a device may write where the guest has not been yet. Returns 0, -EINTR, or -ENOMEM: Linux would have less than 32 MiB
 * left, and nobody is ended to make room.
 */
int kvm_memory_fill_all(struct guest *guest);

/** Gives Linux back the page that the guest had at @address and gave up. */
void kvm_memory_take_back(struct guest *guest, u64 address);

/** Frees the memory of a guest that has been destroyed. */
void kvm_memory_free(struct guest *guest);

/* kvm_vcpu.c */

/** Makes vCPU @index and returns a file descriptor for it, or a negative errno. With guest->lock held. */
int kvm_vcpu_create(struct guest *guest, u32 index);

/** Gives the hypervisor the state that the vCPU starts with. */
int kvm_vcpu_set_state(struct vcpu *vcpu);

/** Gives a vCPU the chance to see what has changed: wakes its thread, or takes it out of the guest. Any context. */
void kvm_vcpu_wake(struct vcpu *vcpu);
void kvm_vcpu_free(struct vcpu *vcpu);

/* kvm_run.c */
int kvm_run(struct vcpu *vcpu);
void kvm_run_init(struct vcpu *vcpu);

/* kvm_registers.c */
void kvm_registers_reset(struct bulkhead_vcpu_state *state);
void kvm_registers_get(const struct bulkhead_vcpu_state *state, struct kvm_regs *registers);
void kvm_registers_set(struct bulkhead_vcpu_state *state, const struct kvm_regs *registers);
void kvm_registers_get_special(const struct vcpu *vcpu, struct kvm_sregs *special);

/** Returns -EINVAL for state that a guest here cannot have (interrupts pending, another APIC base). */
int kvm_registers_set_special(struct vcpu *vcpu, const struct kvm_sregs *special);

/* kvm_platform.c */
int kvm_platform_operation(struct guest *guest, const struct bulkhead_kvm_operation *operation);
int kvm_platform_line(struct guest *guest, u32 line, u32 level);

/** Creates the platform that KVM_CREATE_IRQCHIP asks for. With guest->lock held. */
int kvm_platform_create(struct guest *guest);

/** Does what a call's value asks for: wakes vCPUs, and signals @queue's backend (may be NULL). */
void kvm_platform_effects(struct guest *guest, u64 effects, struct guest_queue *queue);
void kvm_platform_doorbells(struct guest *guest, u64 doorbells);

/* kvm_relay.c: relay areas, event fds, and who drains completions. */

/** Pins a queue's relay area, gives it to the hypervisor and listens to the backend. With guest->lock held. */
int kvm_relay_create(struct guest *guest, struct guest_queue *queue, const struct bulkhead_kvm_relay *relay);

/** Stops the thread and lets go of the event fds; the areas stay until kvm_relay_free(). */
void kvm_relay_stop(struct guest *guest);
void kvm_relay_free(struct guest *guest);
void kvm_relay_signal(struct eventfd_ctx *event);

/**
 * A vCPU's thread offers to drain completions while it is out of the guest, which saves waking another thread for what is
 * for the vCPU anyway. If it sleeps, kvm_relay_has_calls() wakes it.
 */
void kvm_relay_offer(struct vcpu *vcpu);
bool kvm_relay_has_calls(const struct vcpu *vcpu);

/**
 * Withdraws the offer and drains what was left to it: a call of the hypervisor's for each queue, the rest is the worker's.
 * Before the thread enters the guest or leaves the kernel.
 */
void kvm_relay_withdraw(struct vcpu *vcpu);

#endif
