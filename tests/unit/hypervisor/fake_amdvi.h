/* SPDX-License-Identifier: MIT */
/*
 * An AMD-Vi unit for host tests. It translates from the tables it finds in fake memory and, as the real
 * one may, keeps what it has read (device entries, translations, remapping entries) until the right
 * command with the right id or address arrives. It also complains (fake.complaint) about an order of
 * register writes that the specification forbids.
 */
#ifndef TESTS_FAKE_AMDVI_H
#define TESTS_FAKE_AMDVI_H

#include "amd/amdvi.h"

#define FAKE_BASE	  0xfed80000ull
#define FAKE_MEMORY	  0x40000000ull
#define FAKE_MEMORY_BYTES (8ull << 20)
#define FAKE_CACHE	  256u

enum fake_delivery {
	FAKE_BLOCKED = -1, /* as the results of fake_interrupt(); else the vector */
};

struct fake_translation {
	bool used;
	uint16_t device, domain;
	uint64_t page, target;
	bool may_read, may_write;
};

struct fake_amdvi {
	uint64_t registers[AMDVI_WINDOW_BYTES / 8];
	uint8_t *memory; /* FAKE_MEMORY_BYTES at FAKE_MEMORY */
	bool is_dead;	 /* takes commands and never answers */
	const char *complaint;
	uint32_t commands_run;
	struct {
		bool used;
		uint64_t words[4];
	} devices[AMDVI_DEVICES];
	struct fake_translation translations[FAKE_CACHE];
	struct {
		bool used;
		uint16_t device, index;
		uint32_t entry;
	} remaps[FAKE_CACHE];
};

extern struct fake_amdvi fake;
extern const struct iommu_access fake_access;

/** Fresh unit, zeroed memory, junk in the caches as firmware might have left it. */
void fake_reset(void);

/** A physical address of fake memory as a pointer; fails the test if it is outside. */
void *fake_pointer(uint64_t physical_address, uint64_t size_bytes);

/** A device's access: true if it goes through; *target receives where it lands. */
bool fake_dma(uint16_t device, uint64_t address, bool is_write, uint64_t *target);

/** A device's MSI of a delivery mode (0 fixed .. 7) and data; the vector that arrives, or FAKE_BLOCKED. */
int fake_interrupt(uint16_t device, uint32_t mode, uint32_t data, uint8_t *destination);

#endif
