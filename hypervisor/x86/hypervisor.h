/* SPDX-License-Identifier: MIT */
/*
 * What the x86 files share: the image's bounds, the machine as start-up found it, and how the
 * hypervisor ends.
 */
#ifndef BULKHEAD_X86_HYPERVISOR_H
#define BULKHEAD_X86_HYPERVISOR_H

#include "../core/core.h"
#include "../iommu/iommu.h"
#include "acpi.h"
#include "cpu.h"
#include "host_tables.h"

extern const uint8_t image_start[], image_rodata[], image_data[], image_end[];

/** The machine, found at start and constant after. */
struct machine {
	struct boot_info info;
	struct acpi_mcfg mcfg;
	uint64_t hpet; /* address of the event timers; 0: none */
	struct acpi_fadt fadt;
	struct iommu iommu;
	uint64_t host_root; /* our page tables */
	char build_id[41];
};

extern struct machine machine;

/** Drops the IOMMU's translations; stops the machine if it does not answer. */
void hypervisor_flush_devices(void);

/** Registers of an exception in the hypervisor, as entry.S pushes them. */
struct exception_frame {
	uint64_t gpr[GPR_COUNT];
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/** Prints why, registers and build id, stops all processors, and stays. */
__attribute__((noreturn)) void panic(const char *reason);
__attribute__((noreturn)) void panic_exception(const struct exception_frame *frame);

#define log_info(subject, ...)	  log_line(&core.log, LOG_INFO, subject, __VA_ARGS__)
#define log_warning(subject, ...) log_line(&core.log, LOG_WARNING, subject, __VA_ARGS__)
#define log_error(subject, ...)	  log_line(&core.log, LOG_ERROR, subject, __VA_ARGS__)

/** Calls that may fault (entry.S): false if the processor refuses. */
bool cpu_read_msr(uint32_t msr, uint64_t *value);
bool cpu_write_msr(uint32_t msr, uint64_t value);

#endif
