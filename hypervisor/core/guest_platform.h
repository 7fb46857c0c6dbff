/* SPDX-License-Identifier: MIT */
/*
 * A guest's platform as the core holds it: the state in pages that were given for it, the memories it may reach, the
 * relay areas' pins, and the lock under which vCPU exits and calls touch it.
 *
 * Before the seal only calls under the core's lock touch it. After it, whoever does holds the platform's lock and a
 * reference (guest->running: a vCPU's run is one), so that the guest cannot be ended below it. Lock order: the
 * platform's, then the core's.
 *
 * Memory under it. A page that a guest gives up is unmapped, and reused only after every processor has answered a
 * flush (arch_flush()). A processor answers where it waits for a lock and before it runs anything. So between two
 * such places whatever the tables say may be used: the accessors look up and copy without waiting in between.
 */
#ifndef BULKHEAD_CORE_GUEST_PLATFORM_H
#define BULKHEAD_CORE_GUEST_PLATFORM_H

#include "ownership.h"

/** A memory of the accessors (platform/memory.h): a guest's, or one queue's relay area. */
struct memory {
	struct guest *guest;  /* NULL: a relay area */
	uint64_t base;	      /* of an area: address of its first byte */
	const uint32_t *pages; /* of an area: its pages' numbers */
};

struct guest_platform {
	struct lock lock;
	struct memory memory; /* the guest's */
	struct memory areas[PLATFORM_RELAYS_MAX];
	uint32_t area_pages[PLATFORM_RELAYS_MAX][BULKHEAD_RELAY_PAGES];
	uint32_t pinned[PLATFORM_RELAYS_MAX]; /* of each area's pages */
	struct platform platform;
};

#define GUEST_PLATFORM_PAGES ((uint32_t)((sizeof(struct guest_platform) + PAGE_BYTES - 1) / PAGE_BYTES))
static_assert(sizeof(struct guest_platform) <= 512 * 4096, "inside one 2 MiB area");

/** Makes a guest's platform in GUEST_PLATFORM_PAGES pages of the service domain's. Resumable. Measured. */
MUST_USE enum bulkhead_error guest_platform_create(struct core_locked held, struct guest *guest,
						   struct phys pages);

/** Says where the firmware configuration lies. Measured. */
MUST_USE enum bulkhead_error guest_platform_set_blob(struct core_locked held, struct guest *guest,
						     struct guest_phys at, uint64_t size_bytes);

/** Adds a device as the description in a page of the service domain's says. Measured. */
MUST_USE enum bulkhead_error guest_platform_add_device(struct core_locked held, struct guest *guest,
						       uint64_t slot, struct phys page);

/** The guest's memory is all declared: the chipset says how much there is. Part of guest_seal(). */
void guest_platform_close(struct guest *guest);

/**
 * Gives a queue its relay area: pins the pages that a page of the service domain's lists. Resumable: what a call pinned
 * stays pinned until the guest ends, whatever the next one's list says.
 */
MUST_USE enum bulkhead_error guest_platform_add_relay(struct core_locked held, struct guest *guest,
						      uint64_t queue, struct phys page);

/** Sets a device's configuration from a page of the service domain's. Takes the core's lock itself. */
MUST_USE enum bulkhead_error guest_platform_configure(uint64_t handle, uint64_t slot,
						      struct phys page, uint64_t size_bytes,
						      uint64_t *effects);

/** Serves a backend's call event of a queue (slot << 8 | queue). Takes the core's lock itself. */
MUST_USE enum bulkhead_error guest_platform_backend(uint64_t handle, uint64_t queue,
						    uint64_t *effects);

/** Sets an input of the I/O APIC that a monitor may drive. Takes the core's lock itself. */
MUST_USE enum bulkhead_error guest_platform_line(uint64_t handle, uint64_t line, uint64_t level,
						 uint64_t *effects);

/** Ends a device's reset. Takes the core's lock itself. */
MUST_USE enum bulkhead_error guest_platform_release(uint64_t handle, uint64_t slot,
						    uint64_t *effects);

/** A device's backend is gone. Takes the core's lock itself. */
MUST_USE enum bulkhead_error guest_platform_lose(uint64_t handle, uint64_t slot, uint64_t *effects);

/** Gives relay areas and pages back, a piece a call. Part of guest_destroy(). */
MUST_USE enum bulkhead_error guest_platform_return(struct core_locked held, struct guest *guest);

/**
 * A vCPU's access to memory outside RAM (1, 2, 4 or 8 bytes), or to a port (1, 2 or 4), from its exit.
 * Reads set value. What the access leaves to do for others is added to vcpu->effects: ask guest_platform_must_exit().
 * A port write with vcpu->effects.is_unfinished set is to be made again: the instruction pointer stays.
 * Returns false if the guest has no platform or nothing of it is there.
 */
MUST_USE bool guest_platform_mmio(struct vcpu *vcpu, struct guest_phys at, uint32_t size_bytes,
				  bool is_write, uint64_t *value);
MUST_USE bool guest_platform_port(struct vcpu *vcpu, uint16_t port, uint32_t size_bytes,
				  bool is_write, uint32_t *value);

/** Whether this vCPU's run must end (BULKHEAD_RUN_KICK) because others have something to do. Asked before every entry. */
static inline bool guest_platform_must_exit(const struct vcpu *vcpu)
{
	const struct guest_platform *platform = vcpu->guest->platform;
	const struct platform_effects *effects = &vcpu->effects;
	uint32_t others = effects->vcpus & ~(1u << vcpu->index);

	/* Another processor may clear the last one's bits: then one exit too many is all that comes of it. */
	return (effects->doorbells | effects->event.event | effects->given_up_count | effects->wanted_count | others) ||
	       (platform && READ_ONCE(platform->platform.waiting));
}

/** Before a run: goes on with copying that a budget stopped. Returns true if the run ends with that. */
MUST_USE bool guest_platform_resume(struct vcpu *vcpu);

/** After a run: writes effects and deadline to the run page. */
void guest_platform_tell(struct vcpu *vcpu);

#endif
