/* SPDX-License-Identifier: MIT */
/*
 * Guests and their vCPUs as the core knows them: handle, state, declared memory, tables, measurement
 * and what is in progress. All changes are made with the core's lock held.
 *
 *   FREE -> LOADING -> (SEALING ->) SEALED -> DYING -> FREE
 *
 * A guest is named by a handle that is never used twice (slot and generation), so an old handle
 * finds nothing.
 */
#ifndef BULKHEAD_CORE_GUEST_H
#define BULKHEAD_CORE_GUEST_H

#include "address_space.h"
#include "arch.h"
#include "measure.h"
#include "platform.h"

struct core_locked;
struct guest;
struct guest_platform;

/** States of a vCPU. */
enum vcpu_state {
	VCPU_FREE = 0,
	VCPU_STOPPED, /* exists; its initial state may be missing */
	VCPU_READY,   /* may run when the guest is sealed */
	VCPU_RUNNING, /* bound to a processor, inside arch_vcpu_run() */
};

struct vcpu {
	struct guest *guest;
	uint32_t index;
	uint32_t state;	       /* enum vcpu_state */
	struct phys pages;     /* page_count pages, FRAME_VCPU; the first holds the initial state */
	uint32_t page_count;
	uint32_t processor;    /* while RUNNING */
	struct phys run_page;  /* of the service domain, pinned; shared with the driver */
	/* What this run left to do for others; written to the run page when it ends (guest_run_vcpu()). */
	struct platform_effects effects;
	uint64_t deadline;     /* time-stamp counter at which it wants to run again; 0: never by itself */
	void *arch;	       /* the back-end's, inside pages */
};

/** Declared guest memory: only there can pages be filled. */
struct guest_range {
	struct guest_phys base;
	uint64_t page_count;
};

/** What a donation in progress is for. */
enum transfer_kind {
	TRANSFER_NONE = 0,
	TRANSFER_DONATE, /* clear, then map */
	TRANSFER_LOAD,	 /* measure, then map */
	TRANSFER_TAKE,	 /* clear, then ours: for the guest's platform */
};

/** A donation in progress: its pages belong to nobody until all are done. */
struct transfer {
	enum transfer_kind kind;
	struct phys page;
	struct guest_phys at;
	uint32_t page_count;
	uint32_t done;
};

/** Destruction in progress. */
struct teardown {
	struct guest_phys next; /* everything below is given back */
	uint32_t vcpu_next;
	uint32_t relay_next; /* relay areas below it hold no pins */
	uint32_t done;	     /* pages of the present run that are cleared */
	bool is_flushed;     /* no translation of the guest's is left */
};

struct guest {
	uint32_t handle; /* 0: free */
	uint8_t state;	 /* enum bulkhead_guest_state */
	bool is_protected;
	uint8_t range_count;
	uint16_t vcpu_count;
	uint32_t running;	/* vCPUs inside arch_vcpu_run(), and calls inside its platform */
	uint64_t memory_pages;	/* filled, and in transfer */
	struct address_space space;
	struct guest_range ranges[BULKHEAD_MAX_RANGES];
	struct measurement measurement;
	struct transfer transfer;
	struct teardown teardown;
	struct phys platform_pages;
	struct guest_platform *platform; /* in platform_pages (FRAME_VCPU); NULL: none */
	uint32_t seal_next; /* next vCPU to measure while SEALING */
	struct vcpu vcpus[BULKHEAD_MAX_VCPUS];
};

/** A guest's slot number, as the frame table names it. */
uint8_t guest_slot(const struct guest *guest);

/** The guest with a handle, or NULL. */
struct guest *guest_find(struct core_locked held, uint64_t handle);

/**
 * Makes a guest.
 * @root: page of the service domain's that becomes the guest's root table
 * @flags: BULKHEAD_GUEST_PROTECTED or 0
 * @handle: out
 */
MUST_USE enum bulkhead_error guest_create(struct core_locked held, struct phys root, uint64_t flags,
					  uint64_t *handle);

/** Declares guest memory: page aligned, no overlap, below the address limit. Measured. */
MUST_USE enum bulkhead_error guest_add_range(struct core_locked held, struct guest *guest,
					     struct guest_phys base, uint64_t page_count);

/** Whether pages from at on all lie in one declared range. */
bool guest_declares(const struct guest *guest, struct guest_phys at, uint64_t page_count);

/** Closes a guest: measures its vCPUs, sets their state. Resumable. */
MUST_USE enum bulkhead_error guest_seal(struct core_locked held, struct guest *guest);

/** Ends a guest and gives everything back, cleared. Resumable; the handle is void once it is done. */
MUST_USE enum bulkhead_error guest_destroy(struct core_locked held, struct guest *guest);

/**
 * Makes a vCPU.
 * @pages: 1 + arch_vcpu_pages() contiguous pages of the service domain's, given for it
 * @run_page: page of the service domain's that stays its own; pinned
 */
MUST_USE enum bulkhead_error guest_add_vcpu(struct core_locked held, struct guest *guest,
					    uint64_t index, struct phys pages,
					    struct phys run_page);

/** Copies in and checks the state a vCPU starts with. */
MUST_USE enum bulkhead_error guest_set_vcpu(struct core_locked held, struct guest *guest,
					    uint64_t index, struct phys state_page);

/** Copies a vCPU's registers out, where that is allowed. */
MUST_USE enum bulkhead_error guest_get_vcpu(struct core_locked held, struct guest *guest,
					    uint64_t index, struct phys state_page);

/** Runs a vCPU on this processor. Takes the core's lock itself, and not while the guest runs. */
MUST_USE enum bulkhead_error guest_run_vcpu(uint64_t handle, uint64_t index);

#endif
