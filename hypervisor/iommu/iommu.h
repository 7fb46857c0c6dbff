/* SPDX-License-Identifier: MIT */
/*
 * DMA containment: the one interface behind which AMD-Vi stands, and VT-d will.
 *
 * All devices share one I/O table: the service domain's own nested page table, whose leaves carry the
 * device rights beside the processor's. What the service domain loses, its devices lose with the same
 * write; iommu_flush() then makes the loss effective. Order for whoever takes a page away: clear the
 * leaf (the whole entry, never only its present bit), flush processors and iommu_flush(), reuse.
 *
 * The hardware is reached through struct iommu_access only, so that host tests run this code against a
 * unit that keeps stale translations until the right command arrives.
 */
#ifndef HYPERVISOR_IOMMU_IOMMU_H
#define HYPERVISOR_IOMMU_IOMMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../x86/acpi.h"

#define IOMMU_MAX_UNITS	   ACPI_MAX_UNITS
/** Devices that can have interrupts of their own; further ones stay blocked. */
#define IOMMU_REMAP_TABLES 48u
/** Devices whose events are counted and logged; of further ones nothing is said. */
#define IOMMU_NOTED_DEVICES 16u

enum iommu_result {
	IOMMU_OK = 0,
	IOMMU_ABSENT,	   /* the machine has none, or firmware hides it: DMA is not contained */
	IOMMU_BAD_TABLE,   /* firmware's description is damaged */
	IOMMU_UNSUPPORTED, /* the unit lacks something that containment needs */
	IOMMU_NO_MEMORY,   /* the memory handed over is too small, or not aligned */
	IOMMU_TIMEOUT,	   /* a unit did not answer: nothing may be reused, stop the machine */
	IOMMU_RESULT_COUNT,
};

/** How the driver reaches the machine. Registers are always accessed 8 bytes wide. */
struct iommu_access {
	uint64_t (*read)(void *context, uint64_t physical_address);
	void (*write)(void *context, uint64_t physical_address, uint64_t value);
	/** Called in every turn of a waiting loop. */
	void (*relax)(void *context);
	void *context;
};

/** Memory for tables and queues: zeroed, physically contiguous, aligned to 2 MiB, never freed. */
struct iommu_memory {
	void *virtual_address;
	uint64_t physical_address;
	uint64_t size_bytes;
};

/** A range of registers that nobody but the hypervisor may reach. */
struct iommu_window {
	uint64_t base, size_bytes;
};

/** Something a unit wrote to its log: a blocked access, or a complaint about its tables. */
struct iommu_event {
	uint64_t address;
	uint16_t device; /* requester id */
	const char *what; /* happened: between the device's name and the address */
	uint64_t code;	 /* the unit's own, for who reads its manual */
};

struct iommu_unit {
	uint64_t base;	  /* of the registers */
	uint8_t flags;	  /* as firmware gave them */
	uint64_t control; /* value that keeps it enabled */
	uint32_t command_tail;
	uint64_t waits;	  /* completion waits sent; the value the next one stores, less 1 */
	uint64_t *commands;
	volatile uint64_t *events;
	volatile uint64_t *completion;
	uint64_t completion_physical;
};

struct log;

/** All units of the machine. Filled by iommu_find(); zeroed memory is a valid start. */
struct iommu {
	const struct iommu_driver *driver;
	struct iommu_access access;
	struct iommu_unit units[IOMMU_MAX_UNITS];
	uint32_t unit_count;
	bool is_running;
	uint64_t *device_table; /* shared by all units */
	uint64_t device_table_physical;
	uint8_t *remap_tables; /* IOMMU_REMAP_TABLES of them */
	uint64_t remap_tables_physical;
	uint32_t remap_owners[IOMMU_REMAP_TABLES]; /* requester id + 1; 0: free */
	uint8_t *shadow; /* register windows that the service domain sees instead, one a unit */
	uint64_t shadow_physical;
	char lock;
	struct {
		uint32_t events; /* so far; 0: this entry is free */
		uint16_t device;
	} noted[IOMMU_NOTED_DEVICES];
};

/** A kind of unit. The table is chosen once, by iommu_find(). */
struct iommu_driver {
	uint64_t (*memory_bytes)(const struct iommu *iommu);
	uint64_t window_bytes;
	enum iommu_result (*start)(struct iommu *iommu, const struct iommu_memory *memory,
				   uint64_t table_root, uint32_t levels);
	enum iommu_result (*flush)(struct iommu *iommu);
	bool (*next_event)(struct iommu *iommu, struct iommu_event *event);
};

/** Names a result for a log line. */
const char *iommu_result_name(enum iommu_result result);

/**
 * Finds the machine's units by ACPI and chooses their driver. Touches no hardware.
 *
 * IOMMU_ABSENT is no failure: the machine runs, and every report says that DMA is not contained.
 */
enum iommu_result iommu_find(struct iommu *iommu, const struct acpi_memory *memory,
			     const struct acpi_tables *tables) __attribute__((warn_unused_result));

/** Bytes of memory that iommu_start() needs for the units found; 0 if there are none. */
uint64_t iommu_memory_bytes(const struct iommu *iommu);

/**
 * Takes the units over: every device is translated by the one table, whatever firmware had set up.
 *
 * access: copied. memory: at least iommu_memory_bytes(). table_root: physical address of the page table
 * every device uses from now on; levels: of it, 3 to 6. Interrupts are blocked until an entry is made
 * for them: see amd/amdvi_unit.h. On an error no unit is left half programmed in
 * a way that lets devices past the table: it is either untouched or enabled.
 */
enum iommu_result iommu_start(struct iommu *iommu, const struct iommu_access *access,
			      const struct iommu_memory *memory, uint64_t table_root, uint32_t levels)
	__attribute__((warn_unused_result));

/**
 * Drops every cached translation of every device and waits until the units say so.
 *
 * Any processor, interrupts masked; serialised inside; never waits for another processor except one
 * inside this same function. IOMMU_OK at once if no unit runs. After IOMMU_TIMEOUT stale translations
 * may live on: the caller must stop the machine rather than reuse a page.
 */
enum iommu_result iommu_flush(struct iommu *iommu) __attribute__((warn_unused_result));

/** Takes the oldest unread event of any unit; false if there is none. */
bool iommu_next_event(struct iommu *iommu, struct iommu_event *event);

/**
 * Writes what the units noted since the last call to the log: a few lines at most, the rest with the next calls. A device
 * gets a line at its first event and each time their number has doubled, so that no device can fill the log.
 *
 * One processor at a time.
 */
void iommu_log_events(struct iommu *iommu, struct log *log);

/** Registers to keep unmapped in every nested table and I/O table; index below iommu.unit_count. */
struct iommu_window iommu_window(const struct iommu *iommu, uint32_t index);

#endif
