/* SPDX-License-Identifier: MIT */
/*
 * A machine for the core's host tests: RAM, and viewers (two processors and an IOMMU) that keep every
 * translation and every pointer to a page table they have seen until they are told to drop it. Reads
 * and writes of a domain go through what a viewer has cached, as on hardware.
 *
 * The core is stopped (abort) when it clears a page that some viewer can still reach.
 */
#ifndef FAKE_ARCH_H
#define FAKE_ARCH_H

#include "core.h"

#define FAKE_RAM_BYTES	  (64ull << 20)	  /* 0 .. 64 MiB */
#define FAKE_BIG_BYTES	  (2ull << 30)	  /* RAM with fake_start_big(): a whole 1 GiB leaf in it */
#define FAKE_OWN_BASE	  (16ull << 20)	  /* hypervisor memory */
#define FAKE_OWN_BYTES	  (2ull << 20)
#define FAKE_DEVICE_BASE  (0xfe000000ull)
#define FAKE_READ_ONLY	  (0xfee00000ull)
#define FAKE_NONE	  (0xfed80000ull)
#define FAKE_ADDRESS_BITS 36u
#define FAKE_VCPU_PAGES	  2u

enum viewer {
	VIEWER_CPU0,
	VIEWER_CPU1,
	VIEWER_IOMMU, /* sees the service domain's space only */
	VIEWER_COUNT,
};

/** What a viewer may do at an address. */
struct view {
	bool can_read;
	bool can_write;
	struct phys page;
};

/** Starts machine and core afresh; spare_pages tables beyond those the identity needs. */
void fake_start(unsigned int spare_pages);

/** The same with FAKE_BIG_BYTES of RAM. Slow: once a test. */
void fake_start_big(unsigned int spare_pages);

/** The memory map fake_start() uses. */
const struct memory_map *fake_map(void);

/** What a viewer sees at an address of a space, from its cache or else by a walk it then keeps. */
struct view fake_view(enum viewer viewer, const struct address_space *space,
		      struct input_address at);

/** Makes every viewer keep what it sees at addresses from at on. */
void fake_touch(const struct address_space *space, struct input_address at,
		unsigned int page_count);

/**
 * Whether what viewers keep of an address, tables included, is what the tables say now.
 * (More rights in the tables than in a cache are harmless: the viewer faults and walks again.)
 */
bool fake_is_coherent(const struct address_space *space, struct input_address at);

/** Whether everything any viewer keeps of a space agrees with its tables. */
bool fake_all_coherent(const struct address_space *space);

/** Whether any viewer keeps a translation to a page. */
bool fake_is_reachable(struct phys page);

/** First and last word of a page, as the machine holds them. */
uint64_t fake_peek(struct phys page);
void fake_poke(struct phys page, uint64_t value);

/** Called inside arch_vcpu_run() if set. */
extern void (*fake_on_run)(struct vcpu *vcpu);

/** Counters of what the core asked for. */
struct fake_counters {
	uint64_t flushes;
	uint64_t cleared_pages;
	uint64_t runs;
	uint64_t event_readings;
};

extern struct fake_counters fake_counters;

/** Lets the next checks of a vCPU state by the back-end fail. */
extern bool fake_refuse_state;

/** Text the console got. */
extern char fake_console[4096];

/** Number arch_processor() returns. */
extern unsigned int fake_processor;

#endif
