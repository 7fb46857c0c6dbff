/* SPDX-License-Identifier: MIT */
/*
 * The unit that the service domain's Linux sees in place of the real one: interrupt remapping only.
 *
 * Devices must not be able to send INIT, SMI or NMI, yet their ordinary interrupts must work. The real
 * unit gives both only through remapping entries, and those decide where an interrupt goes: so they are
 * the hypervisor's. Linux programs this emulated unit as it would the real one. Whenever it says that
 * it changed a device's entries, they are read once, checked and copied into a table of the
 * hypervisor's, the only one the real unit ever reads. What Linux says about address translation is
 * ignored: devices stay with the one I/O table. Linux has to run with iommu=pt, and finds unit and
 * devices by the firmware's unchanged IVRS.
 *
 * The window shows memory of the hypervisor's that holds nothing else, so reads cost no exit. Its first
 * page (bases, CONTROL) is plain shared memory: what Linux writes there takes effect with the next
 * command, as on a real unit, and is read once and checked then. The page with the ring pointers is
 * read-only: a write faults and comes here. The other two are read-only and stay zero.
 */
#ifndef HYPERVISOR_IOMMU_AMD_AMDVI_UNIT_H
#define HYPERVISOR_IOMMU_AMD_AMDVI_UNIT_H

#include "amdvi.h"

/** What the emulated unit offers in its feature register: INVALIDATE_ALL, entries of both widths. */
#define AMDVI_UNIT_FEATURES (AMDVI_FEATURE_INVALIDATE_ALL | AMDVI_FEATURE_WIDE_ENTRIES)

/**
 * Memory as the service domain owns it. Both return false, without a partial effect on a page, if any
 * byte is in a page that the service domain does not own; a page must not change hands meanwhile.
 */
struct amdvi_unit_memory {
	bool (*read)(void *context, uint64_t physical_address, void *buffer, size_t size);
	bool (*write)(void *context, uint64_t physical_address, const void *buffer, size_t size);
	void *context;
};

enum amdvi_unit_result {
	AMDVI_UNIT_DONE, /* the write had its effect: go on behind the instruction */
	AMDVI_UNIT_AGAIN, /* work is left: let the processor execute the same write again */
	AMDVI_UNIT_FAILED, /* the real unit does not answer: stop the machine */
};

/** The page of the window that the service domain writes directly. */
#define AMDVI_UNIT_SHARED_BYTES 4096u

/** Work that one write has begun and the next one continues. */
enum amdvi_unit_work {
	AMDVI_WORK_NONE,
	AMDVI_WORK_COPY, /* the entries of one device */
	AMDVI_WORK_SCAN, /* every device, after INVALIDATE_ALL */
};

struct amdvi_unit {
	struct iommu *iommu;
	struct amdvi_unit_memory memory;
	uint64_t *window; /* what the service domain reads */
	enum amdvi_unit_work work;
	bool scanning;	      /* the copy belongs to a scan */
	uint16_t device;      /* being copied */
	uint32_t next_entry;  /* of it */
	uint32_t next_device; /* of the scan */
	uint64_t translating_devices; /* Linux asked for address translation: it needs iommu=pt */
	char lock;
};

/**
 * Prepares the emulated unit of a real one. The iommu runs.
 *
 * index: of the real unit. The caller maps the AMDVI_WINDOW_BYTES at amdvi_unit_shadow() over the real
 * window, for processors only: the first page writable, the other three read-only.
 */
void amdvi_unit_init(struct amdvi_unit *unit, struct iommu *iommu, uint32_t index,
		     const struct amdvi_unit_memory *memory);

/** Physical address of the window that the service domain reads. */
uint64_t amdvi_unit_shadow(const struct iommu *iommu, uint32_t index);

/**
 * A write by the service domain into the window that faulted.
 *
 * offset: from the window's start; size_bytes: 1, 2, 4 or 8. Anything but an aligned write, 4 or 8 bytes
 * wide, to a ring pointer is ignored. Does a bounded amount of work (about 4000 instructions); any processor.
 */
enum amdvi_unit_result amdvi_unit_write(struct amdvi_unit *unit, uint32_t offset,
					uint32_t size_bytes, uint64_t value)
	__attribute__((warn_unused_result));

/**
 * Checks a remapping entry of the service domain's.
 *
 * Returns the entry the real unit gets: fixed or arbitrated delivery to the same place, or 0 (blocked)
 * if it is not valid, not one of these, or has a vector that the local APIC would not accept.
 */
uint32_t amdvi_unit_check_entry(uint32_t entry);

/**
 * The same for an entry of 16 bytes (CONTROL.GAEn): first and second are its 64-bit halves. Guest-mode
 * entries and destinations above 255 are not valid here.
 */
uint32_t amdvi_unit_check_wide_entry(uint64_t first, uint64_t second);

#endif
