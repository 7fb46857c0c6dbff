/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the driver's /dev/kvm offers beyond Linux's documented ioctls: the sub-commands of KVM_MEMORY_ENCRYPT_OP by
 * which a monitor makes a guest of Bulkhead, and the exit that tells it what the guest did with a device.
 *
 * A guest of Bulkhead has its platform in the hypervisor: local APICs, I/O APIC, clock, PCI and virtio transport. A
 * monitor describes devices instead of emulating them, hands over relay areas and event fds, and starts and stops the
 * backends. Order:
 *   KVM_CREATE_VM, INIT, KVM_SET_USER_MEMORY_REGION (private: no user address), KVM_CREATE_VCPU,
 *   LOAD (any number), BLOB, DEVICE and CONFIG per device, RELAY per queue, KVM_SET_REGS and KVM_SET_SREGS,
 *   SEAL, KVM_RUN.
 * After SEAL every ioctl that would read or set the guest's registers or memory fails with EACCES.
 */
#ifndef BULKHEAD_KVM_H
#define BULKHEAD_KVM_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/build_bug.h>
#else
#include <assert.h>
#include <stdint.h>
#endif

#include <bulkhead/platform.h>

/** KVM_CHECK_EXTENSION with this number answers BULKHEAD_ABI_VERSION; stock KVM answers 0. */
#define BULKHEAD_KVM_CAP 0x42480000

/** Flag of KVM_SET_USER_MEMORY_REGION: memory nobody outside the guest maps; userspace_addr must be 0. */
#define BULKHEAD_KVM_MEM_PRIVATE (1u << 2)

/** Argument of KVM_MEMORY_ENCRYPT_OP. */
struct bulkhead_kvm_operation {
	uint32_t operation; /* enum bulkhead_kvm_operation_id */
	uint32_t reserved;  /* 0 */
	uint64_t argument;  /* user address of the operation's structure; 0 if it has none */
};

enum bulkhead_kvm_operation_id {
	BULKHEAD_KVM_INIT = 1,	  /* bulkhead_kvm_init */
	BULKHEAD_KVM_LOAD = 2,	  /* bulkhead_kvm_load */
	BULKHEAD_KVM_BLOB = 3,	  /* bulkhead_kvm_blob */
	BULKHEAD_KVM_DEVICE = 4,  /* bulkhead_kvm_device */
	BULKHEAD_KVM_CONFIG = 5,  /* bulkhead_kvm_config */
	BULKHEAD_KVM_RELAY = 6,	  /* bulkhead_kvm_relay */
	BULKHEAD_KVM_RELEASE = 7, /* bulkhead_kvm_slot */
	BULKHEAD_KVM_SEAL = 8,	  /* none */
	BULKHEAD_KVM_MEASURE = 9, /* bulkhead_measurement, written */
	BULKHEAD_KVM_LOSE = 10,	  /* bulkhead_kvm_slot */
};

struct bulkhead_kvm_init {
	uint32_t flags; /* BULKHEAD_GUEST_PROTECTED or 0 */
	uint32_t reserved;
};

/** Copies bytes into private guest memory, measured page by page, each page once. EEXIST: filled already. */
struct bulkhead_kvm_load {
	uint64_t guest_address; /* page aligned */
	uint64_t from;		/* user address */
	uint64_t size_bytes;	/* the last page is filled up with zeros */
};

/** Says where in guest memory the firmware configuration lies that the hypervisor serves (fw_cfg). */
struct bulkhead_kvm_blob {
	uint64_t guest_address;
	uint64_t size_bytes;
};

struct bulkhead_kvm_device {
	uint32_t slot; /* PCI device number, 1 to 30 */
	uint32_t reserved;
	struct bulkhead_device_description description;
};

/** Gives a device its configuration (capacity, MAC address ...), at any time; after SEAL the guest is told. */
struct bulkhead_kvm_config {
	uint32_t slot;
	uint32_t size_bytes;
	uint8_t config[BULKHEAD_DEVICE_CONFIG_BYTES];
};

/**
 * Gives a queue its relay area and event fds. The area is BULKHEAD_RELAY_AREA_BYTES of a memfd; its pages are pinned
 * until the guest ends. The backend finds there a split virtqueue (docs/hypercalls.md, relay area).
 */
struct bulkhead_kvm_relay {
	uint32_t slot;
	uint32_t queue;
	int32_t area_fd;
	int32_t kick_fd; /* eventfd: the driver signals it when the backend has work */
	int32_t call_fd; /* eventfd: the backend signals it when it has completed work */
	uint32_t reserved;
	uint64_t area_offset; /* page aligned */
};

/**
 * Names a device. RELEASE: the backend has let go of a device which the guest has reset; the guest sees the reset done
 * then. LOSE: the backend of a started device is gone; the guest hears that the device needs a reset, and what it only
 * gives the device is taken and lost until it resets it. EINVAL: there is nothing of the kind to tell.
 */
struct bulkhead_kvm_slot {
	uint32_t slot;
	uint32_t reserved;
};

/**
 * kvm_run.exit_reason of a run that ended because the guest's driver started or reset a device. The structure stands
 * where the union of kvm_run's exits begins (the address of kvm_run.hw).
 */
#define BULKHEAD_KVM_EXIT_DEVICE 0x4248u

struct bulkhead_kvm_device_exit {
	uint32_t slot;
	uint32_t event;	   /* enum bulkhead_device_event */
	uint64_t features; /* accepted by the guest's driver (START) */
	uint32_t queues;   /* bit per queue that the guest's driver has enabled (START) */
	uint32_t reserved;
};

#endif
