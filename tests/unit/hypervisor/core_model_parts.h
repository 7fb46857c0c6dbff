/* SPDX-License-Identifier: MIT */
/*
 * Private to the model (core_model.h): its state, its choices, its ways of looking, and its steps.
 */
#ifndef CORE_MODEL_PARTS_H
#define CORE_MODEL_PARTS_H

#include "core_model.h"
#include "guest_platform.h"

#define RAM_PAGES    (FAKE_RAM_BYTES / PAGE_BYTES)
#define GUESTS	     3u		     /* the model's; fewer than slots, so that they meet often */
#define GUEST_PAGES  2048u	     /* of a guest's space that is used */
#define OWN_FIRST    (FAKE_OWN_BASE / PAGE_BYTES)
#define OWN_LAST     ((FAKE_OWN_BASE + FAKE_OWN_BYTES) / PAGE_BYTES)
#define SAMPLES	     12u
#define VCPU_PAGES   (1u + FAKE_VCPU_PAGES)
#define PIN_PAGES    64u /* pinned by one hypercall */
#define LOAD_CALLS   7u /* hypercalls that hash one page: 32 blocks, 5 a call, and two blocks that end hash and record */
/* Hypercalls that clear pages, 16 a call; more than that are taken by a call of their own before. */
#define CLEAR_CALLS(pages) (((pages) + 15) / 16 + ((pages) > 16))

struct model_page {
	uint8_t state; /* enum frame_state */
	uint8_t guest; /* index into guests, or NO_GUEST */
	uint16_t pins;
	uint32_t where;
	uint64_t content;
};

struct model_vcpu {
	bool exists, is_ready, is_running;
	uint32_t first_page;
	uint32_t run_page;
};

struct model_guest {
	uint64_t handle; /* 0: none */
	uint8_t slot;
	uint8_t state;
	bool is_protected;
	uint32_t ranges;
	struct { uint64_t first, count; } range[BULKHEAD_MAX_RANGES];
	uint32_t filled[GUEST_PAGES]; /* page + 1, 0: empty */
	uint32_t root;
	struct { int kind; uint64_t page, at, count; uint64_t calls_left; } transfer;
	struct model_vcpu vcpus[BULKHEAD_MAX_VCPUS];
	uint64_t seal_calls_left;
	bool has_platform, has_device;
	uint32_t relay_count;
	uint32_t pinned[BULKHEAD_QUEUES_MAX]; /* of each area's pages; all but the last one's are complete */
	uint32_t relay_pages[BULKHEAD_QUEUES_MAX][BULKHEAD_RELAY_PAGES];
	uint64_t records;
};

extern struct model_page pages[RAM_PAGES];
extern struct model_guest guests[GUESTS];
extern unsigned int depth; /* 1 inside a running vCPU */

#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition))                                                                  \
			differ(#condition, __LINE__);                                              \
	} while (0)

/** A number below limit from the source. */
uint64_t choose(uint64_t limit);

/** True once in so many. */
bool chance(unsigned int one_in);

/** A page's address: mostly one that is still the service domain's. */
uint64_t choose_page(void);

uint64_t choose_guest_address(void);

/** How many pages: mostly one. */
uint64_t choose_count(void);

/** A guest: mostly one that exists. */
struct model_guest *choose_guest(void);

/** Number of a page the guest has filled, if there is one near a random one. */
uint64_t choose_filled(const struct model_guest *guest);

/** Moves a run so that it ends inside its area, mostly. */
void fit_run(uint64_t *page, uint64_t *at, uint64_t count);

/** A guest's handle, and now and then one that names none. */
uint64_t handle_of(const struct model_guest *guest);

/** The guest with a handle, or NULL. */
struct model_guest *find_model(uint64_t handle);

/** The core's address space of a guest. */
struct address_space *space_of(const struct model_guest *guest);

/** Compares one page in every way there is to look at it. */
void check_page(uint64_t index);

/** Whether pages in a row are RAM. */
bool is_ram_run(uint64_t page, uint64_t count);

/** Looks at pages a call named: all records, some through every viewer. */
void check_run(uint64_t page, uint64_t count);

/** Lets every viewer keep what it can see of pages a call is about to change. */
void touch_run(uint64_t page, uint64_t at, uint64_t count, const struct model_guest *guest);

/** Changes the model's record of pages in a row. */
void set_run(uint64_t page, uint64_t count, uint8_t state, const struct model_guest *guest,
		    uint64_t where);

void set_content(uint64_t page, uint64_t count, uint64_t content);

/** Whether the core lacked tables, which must at least be plausible. */
bool ran_short(enum bulkhead_error error, const struct model_guest *guest);

/** Whether pages in a row are aligned and inside one 2 MiB area. */
bool in_area(uint64_t address, uint64_t count);

/** What a call must answer that takes these pages from the service domain. */
enum bulkhead_error expect_service_run(uint64_t page, uint64_t count);

bool is_declared(const struct model_guest *guest, uint64_t first, uint64_t count);

/** What a call must answer that fills these addresses. */
enum bulkhead_error expect_empty_run(const struct model_guest *guest, uint64_t at,
					    uint64_t count);

/** Records what a guest's addresses hold; page 0: nothing. */
void fill(struct model_guest *guest, uint64_t at, uint64_t page, uint64_t count);

bool is_alive(const struct model_guest *guest);

/** Says where core and model differ, and stops. */
void differ(const char *condition, int line);

/** Pages a call took from the service domain for the hypervisor's use. */
void taken(uint64_t page, uint64_t count, uint8_t state, const struct model_guest *guest);

/** Steps: each makes one call, or one access. */
void step_give(void);
void step_lend(void);
void step_unlend(void);
void step_relinquish(void);
void step_take_back(void);
void step_pay(void);
void step_refund(void);
void step_create(void);
void step_range(void);
void step_add_vcpu(void);
void step_platform(void);
void step_relay(void);
void step_registers(void);
void step_seal(void);
void step_run(void);
void step_destroy(void);
void step_access(void);
void step_report(void);
void step_nonsense(void);

#endif
