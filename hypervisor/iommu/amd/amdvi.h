/* SPDX-License-Identifier: MIT */
/*
 * AMD-Vi, private to hypervisor/iommu: registers, table entries and commands.
 * Specification: AMD I/O Virtualization Technology (IOMMU) 3.05, document 48882; sections in brackets.
 */
#ifndef HYPERVISOR_IOMMU_AMD_AMDVI_H
#define HYPERVISOR_IOMMU_AMD_AMDVI_H

#include "../iommu.h"

/* Registers, offsets from the unit's base [3.4]. */
#define AMDVI_DEVICE_TABLE   0x0000u
#define AMDVI_COMMAND_BASE   0x0008u
#define AMDVI_EVENT_BASE     0x0010u
#define AMDVI_CONTROL	     0x0018u
#define AMDVI_EXCLUSION_BASE 0x0020u
#define AMDVI_EXCLUSION_LIMIT 0x0028u
#define AMDVI_FEATURES	     0x0030u
#define AMDVI_COMMAND_HEAD   0x2000u
#define AMDVI_COMMAND_TAIL   0x2008u
#define AMDVI_EVENT_HEAD     0x2010u
#define AMDVI_EVENT_TAIL     0x2018u
#define AMDVI_STATUS	     0x2020u
#define AMDVI_WINDOW_BYTES   0x4000u

/* CONTROL [3.4.1, offset 18h]. */
#define AMDVI_CONTROL_ENABLE	   (1ull << 0)
#define AMDVI_CONTROL_HT_TUNNEL	   (1ull << 1)
#define AMDVI_CONTROL_EVENT_LOG	   (1ull << 2)
#define AMDVI_CONTROL_PASS_PW	   (1ull << 8)
#define AMDVI_CONTROL_RES_PASS_PW  (1ull << 9)
#define AMDVI_CONTROL_COHERENT	   (1ull << 10)
#define AMDVI_CONTROL_ISOCHRONOUS  (1ull << 11)
#define AMDVI_CONTROL_COMMANDS	   (1ull << 12)
#define AMDVI_CONTROL_WIDE_ENTRIES (1ull << 17) /* GAEn: remapping entries of 16 bytes */
#define AMDVI_FEATURE_INVALIDATE_ALL (1ull << 6)
#define AMDVI_FEATURE_WIDE_ENTRIES   (1ull << 7)
#define AMDVI_STATUS_EVENT_OVERFLOW (1ull << 0)

/* The rings: 256 entries of 16 bytes each, one page. */
#define AMDVI_RING_ENTRIES 256u
#define AMDVI_ENTRY_BYTES  16u
#define AMDVI_RING_BYTES   (AMDVI_RING_ENTRIES * AMDVI_ENTRY_BYTES)
#define AMDVI_RING_LENGTH  (8ull << 56) /* log2 of the entries */

/* Device table [2.2.2.1]: 64 Ki entries of four 64-bit words. */
#define AMDVI_DEVICES		 65536u
#define AMDVI_DEVICE_WORDS	 4u
#define AMDVI_DEVICE_TABLE_BYTES (AMDVI_DEVICES * AMDVI_DEVICE_WORDS * 8u)
#define AMDVI_DEVICE_TABLE_SIZE	 0x1ffull /* 4 KiB pages, less 1 */
#define AMDVI_DTE_VALID		 (1ull << 0)
#define AMDVI_DTE_TRANSLATION	 (1ull << 1)
#define AMDVI_DTE_LEVELS_SHIFT	 9
#define AMDVI_DTE_READ		 (1ull << 61)
#define AMDVI_DTE_WRITE		 (1ull << 62)
#define AMDVI_DTE_INT_VALID	 (1ull << 0)	/* in word 2, as all that follow */
#define AMDVI_DTE_INT_LENGTH	 (11ull << 1)	/* log2 of the entries */
#define AMDVI_DTE_INT_REMAP	 (2ull << 60)	/* fixed and arbitrated: by table */
#define AMDVI_DTE_INT_CONTROL	 (3ull << 60)
#define AMDVI_DTE_INT_PASS	 (7ull << 56)	/* INIT, ExtINT, NMI: never */
#define AMDVI_DTE_INT_ROOT	 0x000fffffffffffc0ull
#define AMDVI_DOMAIN		 1ull /* the one that every device is in */

/* Interrupt remapping tables: always 2048 entries of 4 bytes [2.2.5.1]. */
#define AMDVI_REMAP_ENTRIES	2048u
#define AMDVI_REMAP_TABLE_BYTES (AMDVI_REMAP_ENTRIES * 4u)

/* Commands [2.4], the opcode in bits 63:60 of the first word. */
#define AMDVI_COMPLETION_WAIT	   1ull
#define AMDVI_INVALIDATE_DEVICE	   2ull
#define AMDVI_INVALIDATE_PAGES	   3ull
#define AMDVI_INVALIDATE_INTERRUPT 5ull
#define AMDVI_INVALIDATE_ALL	   8ull
#define AMDVI_ALL_PAGES		   0x7ffffffffffff003ull /* every size, table entries too */

/** Fills the iommu with the IVRS's units. */
enum iommu_result amdvi_find(struct iommu *iommu, const struct acpi_ivrs *ivrs);

/**
 * Appends a command to a unit's ring without waiting. The caller holds the lock and sends at most
 * AMDVI_RING_ENTRIES - 2 of them before amdvi_wait().
 */
void amdvi_command(struct iommu *iommu, struct iommu_unit *unit, uint64_t first, uint64_t second);

/** Sends a completion wait and spins, for a bounded time, until the unit has stored its answer. */
enum iommu_result amdvi_wait(struct iommu *iommu, struct iommu_unit *unit);

/** Makes all units forget one device's table entry and remapping entries, and waits. */
enum iommu_result amdvi_forget_device(struct iommu *iommu, uint16_t device);

void amdvi_lock(struct iommu *iommu);
void amdvi_unlock(struct iommu *iommu);

/** See iommu_next_event(). */
bool amdvi_next_event(struct iommu *iommu, struct iommu_event *event);

#endif
