/* SPDX-License-Identifier: MIT */
/*
 * Transitions of page ownership.
 *
 * Security property. A page has one owner. Only the owner gives it away or lends it. Before a new
 * owner can reach a page it is unmapped wherever it was mapped, every processor and the IOMMU have
 * dropped their translations of it, and it is cleared (or, loaded into a guest before its seal,
 * measured while nobody can write it). In between it belongs to nobody.
 *
 * An address of a protected guest is filled once: an empty one by a donation, and it is empty again
 * only after the guest itself gave the page up. So nobody can swap a page under a running guest.
 *
 * Every function checks first and then acts; after the checks nothing can fail. Refused calls change
 * nothing. Ranges: page aligned, 1 .. 512 pages, inside one 2 MiB area on both sides.
 */
#ifndef BULKHEAD_CORE_OWNERSHIP_H
#define BULKHEAD_CORE_OWNERSHIP_H

#include "core.h"

/** Pages one call clears: 64 KiB. */
#define CLEAR_STEP_PAGES 16u

/** Spare tables of the service domain that only GUEST_PAY may use: one for each level it splits. */
#define RESERVED_TABLES 2u

/**
 * Gives pages to a guest at empty addresses of its declared memory.
 * @kind: TRANSFER_DONATE (cleared) or TRANSFER_LOAD (measured; before the seal only)
 * Resumable; while a transfer is unfinished every other one of this guest is BUSY.
 */
MUST_USE enum bulkhead_error ownership_give(struct core_locked held, struct guest *guest,
					    struct phys page, struct guest_phys at,
					    uint64_t page_count, enum transfer_kind kind);

/** Lends pages to an unprotected guest: they stay the service domain's and it keeps its access. */
MUST_USE enum bulkhead_error ownership_lend(struct core_locked held, struct guest *guest,
					    struct phys page, struct guest_phys at,
					    uint64_t page_count);

/** Ends lending. */
MUST_USE enum bulkhead_error ownership_unlend(struct core_locked held, struct guest *guest,
					      struct phys page, uint64_t page_count);

/**
 * A guest gives one of its pages up: unmapped, flushed, cleared, then RELEASED.
 * @page: out, the page, for ownership_take_back()
 */
MUST_USE enum bulkhead_error ownership_relinquish(struct core_locked held, struct guest *guest,
						  struct guest_phys at, struct phys *page);

/** The service domain takes back pages that guests released. */
MUST_USE enum bulkhead_error ownership_take_back(struct core_locked held, struct phys page,
						 uint64_t page_count);

/**
 * The service domain pays a page for tables.
 * @guest: whose tables, or NULL for the service domain's own
 */
MUST_USE enum bulkhead_error ownership_pay(struct core_locked held, struct guest *guest,
					   struct phys page);

/** Returns one spare table page, cleared. @page: out. BULKHEAD_LIMIT if there is none to return. */
MUST_USE enum bulkhead_error ownership_refund(struct core_locked held, struct guest *guest,
					      struct phys *page);

/**
 * Takes contiguous pages of the service domain's for a purpose of the hypervisor's. They come
 * cleared and in nobody else's reach.
 * @page_count: at most CLEAR_STEP_PAGES
 * @state: FRAME_TABLE or FRAME_VCPU
 * @guest: slot they are paid for
 */
MUST_USE enum bulkhead_error ownership_take(struct core_locked held, struct phys page,
					    uint64_t page_count, enum frame_state state,
					    uint8_t guest);

/**
 * The same for more pages than one call clears: resumable, and a transfer of the guest while unfinished.
 * @page_count: 1 .. 512, inside one 2 MiB area; the pages become FRAME_VCPU
 */
MUST_USE enum bulkhead_error ownership_take_many(struct core_locked held, struct guest *guest,
						 struct phys page, uint64_t page_count);

/**
 * Gives pages that no processor can reach any more back to the service domain, cleared.
 * @page_count: inside one 2 MiB area
 * @done: pages cleared so far; starts as 0 and is kept by the caller between calls
 * Returns BULKHEAD_AGAIN while there is more to clear, BULKHEAD_NO_TABLES if the service domain must
 * pay first; BULKHEAD_OK when they are the service domain's.
 */
MUST_USE enum bulkhead_error ownership_return(struct core_locked held, struct phys page,
					      uint32_t page_count, uint32_t *done);

/** Pins a page of the service domain for use by the hypervisor. */
MUST_USE enum bulkhead_error ownership_pin(struct core_locked held, struct phys page);
void ownership_unpin(struct core_locked held, struct phys page);

/** The contents of a page of the service domain's, or NULL if it is not its own to offer. */
void *ownership_service_page(struct core_locked held, struct phys page);

/** Clears all memory of guests: before a reset, when nothing runs any more. Not bounded. */
void ownership_wipe_guests(struct core_locked held);

#endif
