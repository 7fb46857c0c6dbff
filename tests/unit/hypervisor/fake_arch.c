/* SPDX-License-Identifier: MIT */
/*
 * The fake machine. Caches are one hash table of translations a viewer; beside them stand counts for
 * each page of RAM, so that "can anybody still reach this page" is one look.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fake_arch.h"

#define CACHE_SIZE 512u /* entries of one space in one viewer */
#define TAGS	   (BULKHEAD_MAX_GUESTS + 1)

/* One cached translation, with the tables that led to it. */
struct cached {
	bool used;
	uint64_t input;
	struct view view;
	struct phys tables[TABLE_LEVELS]; /* by level; 0 where the walk ended above */
};

static uint8_t *ram;
static struct frame *frame_storage;
static uint32_t *reach; /* for each page: translations cached by anybody */

/* What one viewer keeps of one space. */
static struct cache {
	uint32_t count;
	struct cached entries[CACHE_SIZE];
} caches[VIEWER_COUNT][TAGS];

void (*fake_on_run)(struct vcpu *vcpu);
struct fake_counters fake_counters;
bool fake_refuse_state;
char fake_console[4096];
unsigned int fake_processor;

static uint64_t ram_bytes; /* of the machine as started */

#define OWN_END (FAKE_OWN_BASE + FAKE_OWN_BYTES)
#define REGIONS(ram_end)                                                                           \
	{                                                                                          \
		{ { 0 }, FAKE_OWN_BASE, REGION_RAM },                                              \
		{ { FAKE_OWN_BASE }, FAKE_OWN_BYTES, REGION_HYPERVISOR },                          \
		{ { OWN_END }, (ram_end)-OWN_END, REGION_RAM },                                    \
		{ { FAKE_NONE }, 4 * PAGE_BYTES, REGION_NONE },                                    \
		{ { FAKE_READ_ONLY }, 1 << 20, REGION_READ_ONLY },                                 \
	}

static const struct region regions[] = REGIONS(FAKE_RAM_BYTES);
static const struct region big_regions[] = REGIONS(FAKE_BIG_BYTES);

/* One change of type in the middle of a large page of RAM. */
static const struct type_range types[] = {
	{ { 0 }, (32ull << 20) + 8 * PAGE_BYTES, 6 },
	{ { (32ull << 20) + 8 * PAGE_BYTES }, 16 * PAGE_BYTES, 1 },
	{ { (32ull << 20) + 24 * PAGE_BYTES },
	  FAKE_BIG_BYTES - (32ull << 20) - 24 * PAGE_BYTES,
	  6 },
};

static const struct memory_map map = {
	.regions = regions,
	.region_count = ARRAY_COUNT(regions),
	.types = types,
	.type_count = ARRAY_COUNT(types),
	.address_bits = FAKE_ADDRESS_BITS,
};

static const struct memory_map big_map = {
	.regions = big_regions,
	.region_count = ARRAY_COUNT(big_regions),
	.types = types,
	.type_count = ARRAY_COUNT(types),
	.address_bits = FAKE_ADDRESS_BITS,
};

const struct memory_map *fake_map(void)
{
	return &map;
}

static void stop(const char *what, struct phys page)
{
	fprintf(stderr, "fake machine: %s: page %llx\n", what, (unsigned long long)page.value);
	abort();
}

static uint64_t page_index(struct phys page)
{
	if (page.value >= ram_bytes || !is_page_aligned(page.value))
		stop("address is no page of RAM", page);
	return page.value / PAGE_BYTES;
}

static void forget(struct cache *cache)
{
	if (cache->count == 0)
		return;
	for (uint32_t i = 0; i < CACHE_SIZE; i++)
		if (cache->entries[i].used)
			reach[cache->entries[i].view.page.value / PAGE_BYTES]--;
	memset(cache, 0, sizeof(*cache));
}

static void start(const struct memory_map *machine, uint64_t size_bytes, unsigned int spare_pages)
{
	struct core_config config = {
		.format = &table_format_amd,
		.map = *machine,
		.pages = { FAKE_OWN_BASE },
		.build_id = "test",
		.back_end = "fake",
	};

	if (!ram) {
		ram = mmap(NULL, FAKE_BIG_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		frame_storage = malloc(frame_table_bytes(&big_map));
		reach = calloc(FAKE_BIG_BYTES / PAGE_BYTES, sizeof(*reach));
		if (ram == MAP_FAILED || !frame_storage || !reach)
			abort();
	}
	for (int viewer = 0; viewer < VIEWER_COUNT; viewer++)
		for (unsigned int tag = 0; tag < TAGS; tag++)
			forget(&caches[viewer][tag]);
	ram_bytes = size_bytes;
	madvise(ram, FAKE_BIG_BYTES, MADV_DONTNEED);
	memset(&core, 0, sizeof(core));
	fake_counters = (struct fake_counters){ 0 };
	fake_refuse_state = false;
	fake_on_run = NULL;
	fake_console[0] = 0;
	fake_processor = 0;
	config.frame_storage = frame_storage;
	config.page_count = core_pages_needed(machine) + spare_pages;
	/* Memory comes with whatever was in it. */
	memset(ram + FAKE_OWN_BASE, 0xa5, config.page_count * PAGE_BYTES);
	if (core_start(&config) != BULKHEAD_OK)
		abort();
}

void fake_start(unsigned int spare_pages)
{
	start(&map, FAKE_RAM_BYTES, spare_pages);
}

void fake_start_big(unsigned int spare_pages)
{
	start(&big_map, FAKE_BIG_BYTES, spare_pages);
}

/* A walk of the tables by the format's rules alone, sharing nothing with the core's own. */
static struct cached walk(enum viewer viewer, const struct address_space *space, uint64_t input)
{
	struct cached result = { .used = true, .input = input };
	struct phys table = space->root;

	for (int level = 3; level >= 0; level--) {
		uint64_t entry;
		uint64_t size = 1ull << (12 + 9 * level);

		result.tables[level] = table;
		memcpy(&entry, ram + page_index(table) * PAGE_BYTES +
				       8 * ((input >> (12 + 9 * level)) & 511), 8);
		if (!(entry & 1))
			return result;
		if (level > 0 && !(entry & 0x80)) {
			table = phys_at(entry & 0x000ffffffffff000ull);
			continue;
		}
		result.view.page = phys_at((entry & 0x000ffffffffff000ull) |
					   (input & (size - 1) & ~0xfffull));
		result.view.can_read = viewer != VIEWER_IOMMU || (entry >> 61 & 1);
		result.view.can_write = viewer == VIEWER_IOMMU ? entry >> 62 & 1 : entry >> 1 & 1;
		break;
	}
	return result;
}

static struct cached *slot(struct cache *cache, uint64_t input)
{
	uint64_t hash = input / PAGE_BYTES * 0x9e3779b97f4a7c15ull >> 32;

	for (uint64_t i = hash % CACHE_SIZE;; i = (i + 1) % CACHE_SIZE)
		if (!cache->entries[i].used || cache->entries[i].input == input)
			return &cache->entries[i];
}

/* Devices and MMIO are not in RAM: such translations are not tracked. */
static bool is_ram(struct phys page)
{
	return page.value < ram_bytes;
}

struct view fake_view(enum viewer viewer, const struct address_space *space,
		      struct input_address at)
{
	uint64_t input = at.value & ~(PAGE_BYTES - 1);
	struct cache *cache = &caches[viewer][space->tag];
	struct cached *entry = slot(cache, input);
	struct cached fresh;

	if (entry->used)
		return entry->view;
	fresh = walk(viewer, space, input);
	if (!fresh.view.can_read)
		fresh.view.page = phys_at(0);
	/* What is not there is not cached (measured, and promised by the manuals). */
	if (!fresh.view.can_read || !is_ram(fresh.view.page))
		return fresh.view;
	/* Room is made as hardware may: at any time. */
	if (cache->count == CACHE_SIZE / 2) {
		forget(cache);
		entry = slot(cache, input);
	}
	*entry = fresh;
	cache->count++;
	reach[page_index(fresh.view.page)]++;
	return fresh.view;
}

void fake_touch(const struct address_space *space, struct input_address at,
		unsigned int page_count)
{
	for (unsigned int i = 0; i < page_count; i++) {
		struct input_address next = { at.value + i * PAGE_BYTES };

		(void)fake_view(VIEWER_CPU0, space, next);
		(void)fake_view(VIEWER_CPU1, space, next);
		if (space->tag == SERVICE_TAG)
			(void)fake_view(VIEWER_IOMMU, space, next);
	}
}

static bool agrees(enum viewer viewer, const struct address_space *space,
		   const struct cached *entry)
{
	struct cached now = walk(viewer, space, entry->input);

	if (now.view.page.value != entry->view.page.value || !now.view.can_read ||
	    (entry->view.can_write && !now.view.can_write))
		return false;
	/*
	 * Tables that led there must be in use still, unless the walk now ends above them at a larger
	 * leaf: then they must not be reused, which merge and collect see to by a flush.
	 */
	for (unsigned int level = 0; level < TABLE_LEVELS; level++)
		if (entry->tables[level].value != 0 &&
		    entry->tables[level].value != now.tables[level].value)
			return false;
	return true;
}

bool fake_is_coherent(const struct address_space *space, struct input_address at)
{
	for (int viewer = 0; viewer < VIEWER_COUNT; viewer++) {
		const struct cached *entry =
			slot(&caches[viewer][space->tag], at.value & ~(PAGE_BYTES - 1));

		if (entry->used && !agrees(viewer, space, entry))
			return false;
	}
	return true;
}

bool fake_all_coherent(const struct address_space *space)
{
	for (int viewer = 0; viewer < VIEWER_COUNT; viewer++) {
		const struct cache *cache = &caches[viewer][space->tag];

		for (uint32_t i = 0; cache->count > 0 && i < CACHE_SIZE; i++)
			if (cache->entries[i].used &&
			    !agrees(viewer, space, &cache->entries[i]))
				return false;
	}
	return true;
}

bool fake_is_reachable(struct phys page)
{
	return reach[page_index(page)] != 0;
}

uint64_t fake_peek(struct phys page)
{
	const uint64_t *words = (const uint64_t *)(ram + page_index(page) * PAGE_BYTES);

	/* Two words that should always be alike; a difference shows as a value of its own. */
	return words[0] == words[511] ? words[0] : ~words[0] ^ words[511];
}

void fake_poke(struct phys page, uint64_t value)
{
	uint64_t *words = (uint64_t *)(ram + page_index(page) * PAGE_BYTES);

	words[0] = value;
	words[511] = value;
}

void arch_lock(struct lock *lock)
{
	if (lock->word)
		stop("lock taken twice", phys_at(0));
	lock->word = 1;
}

void arch_unlock(struct lock *lock)
{
	if (!lock->word)
		stop("lock not held", phys_at(0));
	lock->word = 0;
}

unsigned int arch_processor(void)
{
	return fake_processor;
}

unsigned int arch_processor_count(void)
{
	return 2;
}

uint64_t arch_cycles(void)
{
	static uint64_t cycles;

	return cycles += 7;
}

void *arch_page(struct phys page)
{
	return ram + page_index(page) * PAGE_BYTES;
}

void arch_clear_page(struct phys page)
{
	if (fake_is_reachable(page))
		stop("cleared while a processor or the IOMMU can still reach it", page);
	fake_counters.cleared_pages++;
	memset(arch_page(page), 0, PAGE_BYTES);
}

void arch_copy_page(struct phys to, struct phys from)
{
	memcpy(arch_page(to), arch_page(from), PAGE_BYTES);
}

void arch_flush(const struct address_space *space)
{
	fake_counters.flushes++;
	for (int viewer = 0; viewer < VIEWER_COUNT; viewer++)
		forget(&caches[viewer][space->tag]);
}

void arch_console(const char *text, size_t size_bytes)
{
	size_t length = strlen(fake_console);

	if (length + size_bytes < sizeof(fake_console)) {
		memcpy(fake_console + length, text, size_bytes);
		fake_console[length + size_bytes] = 0;
	}
}

void arch_log_events(void)
{
	fake_counters.event_readings++;
}

unsigned int arch_vcpu_pages(void)
{
	return FAKE_VCPU_PAGES;
}

/* The fake registers: one word of the second page. */
static uint64_t *fake_register(const struct vcpu *vcpu)
{
	return arch_page(phys_plus_pages(vcpu->pages, 1));
}

void arch_vcpu_init(struct vcpu *vcpu)
{
	vcpu->arch = fake_register(vcpu);
}

enum bulkhead_error arch_vcpu_check_state(const void *state)
{
	(void)state;
	return fake_refuse_state ? BULKHEAD_INVALID : BULKHEAD_OK;
}

void arch_vcpu_set_state(struct vcpu *vcpu, const void *state)
{
	memcpy(fake_register(vcpu), state, 8);
}

void arch_vcpu_get_state(const struct vcpu *vcpu, void *state)
{
	memcpy(state, fake_register(vcpu), 8);
}

void arch_vcpu_run(struct vcpu *vcpu)
{
	fake_counters.runs++;
	if (core.lock.word)
		stop("a vCPU runs with the core's lock held", phys_at(0));
	if (fake_on_run)
		fake_on_run(vcpu);
}
