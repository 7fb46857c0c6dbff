/* SPDX-License-Identifier: MIT */
/*
 * What a loader hands to the hypervisor, and how it is called.
 *
 * A loader reserves one block of memory (boot_own_bytes(), aligned to 2 MiB, neither below 1 MiB nor
 * at the top of low memory, where the chipset can lay other things over it), loads the hypervisor's
 * ELF file to its start, fills a struct boot_info and calls the entry point:
 *
 *   1. BOOT_CHECK on every processor: whether it has all that is needed. Changes nothing.
 *   2. BOOT_START on one processor: builds everything. Nothing is taken over yet.
 *   3. BOOT_ENTER on every processor, the calling one last: returns to the caller as a guest.
 *
 * Each returns an enum boot_result. What can fail has failed before the first BOOT_ENTER, so the
 * machine is taken by all processors or by none.
 */
#ifndef BULKHEAD_BOOT_INFO_H
#define BULKHEAD_BOOT_INFO_H

#include <stdint.h>

enum boot_operation {
	BOOT_CHECK,
	BOOT_START,
	BOOT_ENTER,
};

/** Why a machine cannot run Bulkhead. boot_result_text() says it in words. */
enum boot_result {
	BOOT_OK = 0,
	BOOT_NO_SVM,	       /* the processor has none */
	BOOT_SVM_LOCKED,       /* firmware switched it off */
	BOOT_NO_NESTED_PAGING, /* SVM without it */
	BOOT_NO_LARGE_PAGES,   /* no 1 GiB pages */
	BOOT_NO_EXECUTE_DISABLE,
	BOOT_FIVE_LEVELS,      /* firmware runs with five-level page tables */
	BOOT_X2APIC,	       /* firmware switched the local APIC to x2APIC mode */
	BOOT_IN_USE,	       /* something else runs SVM already */
	BOOT_TOO_LITTLE_MEMORY,
	BOOT_BAD_MEMORY_MAP,
	BOOT_TOO_MANY_PROCESSORS,
	BOOT_IOMMU_FAILED,     /* there is one, and it cannot be made to contain devices */
	BOOT_RESULT_COUNT,
};

enum boot_memory {
	BOOT_MEMORY_RAM,      /* the service domain's, devices may reach it */
	BOOT_MEMORY_RESERVED, /* firmware's */
};

struct boot_region {
	uint64_t base;
	uint64_t size_bytes;
	uint64_t kind; /* enum boot_memory */
};

#define BOOT_MAX_REGIONS 512u
#define BOOT_INFO_MAGIC	 0x64616568b6c75421ull

struct boot_info {
	uint64_t magic;
	uint64_t own_base;  /* the block reserved for the hypervisor */
	uint64_t own_bytes;
	uint64_t image_bytes; /* of it, taken by the loaded ELF file */
	uint64_t rsdp;	      /* ACPI's root pointer, 0 if the loader does not know it */
	uint64_t facts;	      /* BULKHEAD_FACT_* that the loader established */
	uint64_t smm_stub;    /* 64 KiB at 30000h that the loader reserved for us, or 0 */
	uint32_t processor_count;
	uint32_t log_level;   /* 0 errors .. 3 everything */
	uint32_t region_count;
	struct boot_region regions[BOOT_MAX_REGIONS]; /* in any order, without overlap */
};

/** The hypervisor's entry point (System V calling convention). */
typedef __attribute__((sysv_abi)) uint32_t boot_entry(uint64_t operation,
						      const struct boot_info *info);

#define BOOT_PROCESSOR_BYTES 0x10000u

/**
 * Memory to reserve: 8 MiB for code, tables and an IOMMU, 2 MiB for each GiB of RAM (the ownership
 * record), 64 KiB for each processor, rounded up to 2 MiB.
 */
static inline uint64_t boot_own_bytes(uint64_t ram_bytes, uint32_t processor_count)
{
	uint64_t bytes = (8ull << 20) + ram_bytes / 496 +
			 (uint64_t)processor_count * BOOT_PROCESSOR_BYTES;

	return (bytes + 0x1fffff) & ~0x1fffffull;
}

/** One line for the person at the machine: what is missing and what to do. */
static inline const char *boot_result_text(uint32_t result)
{
	static const char *const texts[BOOT_RESULT_COUNT] = {
		[BOOT_OK] = "nothing is missing",
		[BOOT_NO_SVM] = "this processor has no SVM (AMD virtualization)",
		[BOOT_SVM_LOCKED] = "SVM is switched off by firmware: enable \"SVM Mode\" in its setup",
		[BOOT_NO_NESTED_PAGING] = "this processor's SVM lacks nested paging",
		[BOOT_NO_LARGE_PAGES] = "this processor lacks 1 GiB pages",
		[BOOT_NO_EXECUTE_DISABLE] = "this processor lacks execute-disable",
		[BOOT_FIVE_LEVELS] = "firmware uses five-level page tables: switch them off in its setup",
		[BOOT_X2APIC] = "firmware uses x2APIC mode: select xAPIC in its setup",
		[BOOT_IN_USE] = "another hypervisor is running",
		[BOOT_TOO_LITTLE_MEMORY] = "too little memory for the hypervisor",
		[BOOT_BAD_MEMORY_MAP] = "firmware's memory map makes no sense",
		[BOOT_TOO_MANY_PROCESSORS] = "more processors than the hypervisor supports",
		[BOOT_IOMMU_FAILED] = "the IOMMU cannot be made to contain devices",
	};

	return result < BOOT_RESULT_COUNT ? texts[result] : "unknown reason";
}

#endif
