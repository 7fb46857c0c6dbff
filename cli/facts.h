/*
 * What a PC is made of, as far as Bulkhead cares: read from the processor, /sys, /proc and /dev/cpu.
 */
#ifndef BULKHEAD_CLI_FACTS_H
#define BULKHEAD_CLI_FACTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/** An answer that may be missing, because the file needs root or the kernel does not offer it. */
enum facts_answer { FACTS_NO, FACTS_YES, FACTS_UNKNOWN };

struct facts {
	bool under_bulkhead;
	char vendor[13];  /* CPUID's: "AuthenticAMD" */
	char model[49];	  /* CPUID's brand string */
	uint32_t microcode;
	bool has_svm, has_npt, has_vmx, has_1gib_pages, has_x2apic, is_guest;
	uint32_t svm_features; /* CPUID 8000000A EDX */
	uint32_t physical_bits;
	enum facts_answer svm_locked; /* firmware switched SVM off (VM_CR.SVMDIS) */
	uint32_t processors;
	uint64_t memory_bytes;
	char iommu[8];	    /* "amd", "intel" or "": what ACPI describes */
	bool iommu_in_use;  /* Linux drives one */
	uint32_t tpm_major; /* 0: none */
	bool uefi;
	enum facts_answer secure_boot;
	char maker[65], product[65], firmware[129]; /* DMI */
	char suspend[65];			    /* /sys/power/mem_sleep */
	uint32_t mtrr_ranges;
};

/**
 * Collects the facts of the machine this runs on.
 * @root  prefix of /sys, /proc and /dev: "" for the real ones, a folder in tests. CPUID is always the real one.
 */
void facts_collect(struct facts *facts, const char *root);

/** The facts as JSON. Returns a new object. */
json_t *facts_describe(const struct facts *facts);

#endif
