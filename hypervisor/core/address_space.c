/* SPDX-License-Identifier: MIT */
/*
 * Page tables of one domain: reading, splitting, changing and merging entries.
 *
 * The service domain's tables carry a number in their frame record: how many of their entries differ
 * from the plain identity mapping of RAM. A split makes a table with none; when the last one that
 * differed is back, the table is merged into a large page again. Tables made at start are marked
 * FIXED_TABLE and stay, because memory types or regions change inside them.
 */
#include "core.h"

/* Added to the number of a table that must not be merged. */
#define FIXED_TABLE 0x10000u

/* Accessed and dirty bits, which the processor sets in its own time, lie outside every mask used. */
static uint64_t *entry_at(struct phys table, struct input_address at, unsigned int level)
{
	return (uint64_t *)arch_page(table) + level_index(at, level);
}

static uint64_t read_entry(const uint64_t *entry)
{
	return READ_ONCE(*entry);
}

/* A table's contents are written before the entry that points to it. */
static void write_entry(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

static struct phys entry_address(const struct table_format *format, uint64_t entry)
{
	return phys_at(entry & format->address_mask);
}

static uint64_t encode_table(const struct table_format *format, struct phys table,
			     unsigned int level)
{
	return table.value | format->table | format->next_level_unit * level;
}

static bool is_zero_table(struct phys table)
{
	return table.value == core.zero.tables[0].value || table.value == core.zero.tables[1].value;
}

/* Whether an entry leads to a table of this space's own. The tables of zeros count as leaves. */
static bool leads_to_table(const struct table_format *format, uint64_t entry, unsigned int level)
{
	if (entry == 0 || level == 0)
		return false;
	if ((entry & format->large_mask) == format->large_leaf)
		return false;
	return !is_zero_table(entry_address(format, entry));
}

static uint64_t encode_leaf(const struct table_format *format, struct phys page,
			    unsigned int level, enum access access, uint8_t type)
{
	uint64_t form = level == 0 ? format->small_leaf : format->large_leaf;

	if (access == ACCESS_NONE)
		return 0;
	if (access == ACCESS_ZERO && level > 0)
		return encode_table(format, core.zero.tables[level - 1], level);
	if (access == ACCESS_ZERO) {
		page = core.zero.page;
		access = ACCESS_READ;
	}
	return page.value | format->leaf[access] | form | format->type_unit * type;
}

static enum access decode_access(const struct table_format *format, uint64_t entry)
{
	static const enum access choices[] = { ACCESS_ALL, ACCESS_CPU };

	for (size_t i = 0; i < ARRAY_COUNT(choices); i++)
		if (((entry ^ format->leaf[choices[i]]) & format->access_mask) == 0)
			return choices[i];
	return ACCESS_READ;
}

/* Memory type of pages in a row: what the machine says of them, ordinary RAM in a guest. */
struct stretch {
	uint8_t type;
	uint64_t end; /* address of the first page that may have another one */
};

static struct stretch stretch_at(const struct address_space *space, struct phys page, enum access access)
{
	if (!space->is_identity || access == ACCESS_ZERO)
		return (struct stretch){ space->format->ram_type, UINT64_MAX };
	for (size_t i = 0; i < core.type_count; i++) {
		const struct type_range *range = &core.types[i];

		if (page.value < range->base.value)
			return (struct stretch){ DEFAULT_MEMORY_TYPE, range->base.value };
		if (page.value - range->base.value < range->size_bytes)
			return (struct stretch){ range->type, range->base.value + range->size_bytes };
	}
	return (struct stretch){ DEFAULT_MEMORY_TYPE, UINT64_MAX };
}

/* Writes leaves for pages in a row; those of one memory type differ in their address alone, or not at all. */
static void write_leaves(const struct address_space *space, uint64_t *entries, unsigned int count, struct phys page,
			 unsigned int level, enum access access)
{
	uint64_t step = access == ACCESS_NONE || access == ACCESS_ZERO ? 0 : level_bytes(level);

	while (count > 0) {
		struct stretch stretch = stretch_at(space, page, access);
		uint64_t entry = encode_leaf(space->format, page, level, access, stretch.type);
		uint64_t left = step ? (stretch.end - 1 - page.value) / step + 1 : count;
		unsigned int alike = left < count ? (unsigned int)left : count;

		for (const uint64_t *end = entries + alike; entries < end; entry += step)
			write_entry(entries++, entry);
		page.value += alike * step;
		count -= alike;
	}
}

/* What a leaf or empty entry means. */
static struct mapping decode(const struct table_format *format, uint64_t entry, unsigned int level)
{
	struct mapping mapping = { .access = ACCESS_NONE, .level = level };
	struct phys page = entry_address(format, entry);

	if (entry == 0)
		return mapping;
	if (page.value == core.zero.page.value || (level > 0 && is_zero_table(page))) {
		mapping.access = ACCESS_ZERO;
		return mapping;
	}
	mapping.access = decode_access(format, entry);
	mapping.page = page;
	return mapping;
}

void table_pool_add(struct table_pool *pool, struct phys page)
{
	uint64_t *words = arch_page(page);

	words[0] = pool->first.value;
	pool->first = page;
	pool->page_count++;
}

struct phys table_pool_take(struct table_pool *pool)
{
	struct phys page = pool->first;
	uint64_t *words = arch_page(page);

	pool->first = phys_at(words[0]);
	pool->page_count--;
	return page;
}

void address_space_init_zero(struct zero_backing *zero, const struct table_format *format,
			     struct phys pages)
{
	zero->page = pages;
	arch_clear_page(pages);
	for (unsigned int level = 0; level < LARGEST_LEAF_LEVEL; level++) {
		struct phys table = phys_plus_pages(pages, level + 1);
		uint64_t *entries = arch_page(table);

		zero->tables[level] = table;
		for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
			entries[i] = encode_leaf(format, pages, level, ACCESS_ZERO,
						 format->ram_type);
	}
}

void address_space_init(struct address_space *space, const struct table_format *format,
			struct phys root, uint32_t tag)
{
	arch_clear_page(root);
	*space = (struct address_space){
		.format = format,
		.root = root,
		.tag = tag,
		.is_identity = tag == SERVICE_TAG,
		.table_count = 1,
	};
}

/* Descends to the entry that decides about an address, at a level not below the asked one. */
struct place {
	uint64_t *entry;
	unsigned int level;
	struct phys table; /* that holds the entry */
};

static struct place find(const struct address_space *space, struct input_address at,
			 unsigned int lowest)
{
	struct place place = { .level = TABLE_LEVELS - 1, .table = space->root };

	for (;;) {
		uint64_t value;

		place.entry = entry_at(place.table, at, place.level);
		value = read_entry(place.entry);
		if (place.level == lowest || !leads_to_table(space->format, value, place.level))
			return place;
		place.table = entry_address(space->format, value);
		place.level--;
	}
}

struct mapping address_space_lookup(const struct address_space *space, struct input_address at)
{
	struct place place = find(space, at, 0);
	struct mapping mapping = decode(space->format, read_entry(place.entry), place.level);

	if (mapping.access != ACCESS_NONE && mapping.access != ACCESS_ZERO)
		mapping.page.value |= at.value & (level_bytes(place.level) - PAGE_BYTES);
	return mapping;
}

/* Format and tables are asked for as little as can be. Whatever is there the guest may write: it has no other leaves. */
bool address_space_find_page(const struct address_space *space, struct input_address at, struct phys *page)
{
	const struct table_format *format = space->format;
	const uint64_t large_mask = format->large_mask, large_leaf = format->large_leaf, mask = format->address_mask;
	uint64_t entry = space->root.value;
	unsigned int shift = PAGE_SHIFT + 9 * TABLE_LEVELS;

	/* Every access of a relay walks: unrolled, the shifts are constants. */
#pragma GCC unroll 4
	do {
		const uint64_t *table = arch_page(phys_at(entry & mask));

		shift -= 9;
		entry = read_entry(&table[at.value >> shift & (TABLE_ENTRIES - 1)]);
		if (entry == 0)
			return false;
	} while (shift > PAGE_SHIFT && (entry & large_mask) != large_leaf);
	*page = phys_at((entry & mask) | (at.value & ((1ull << shift) - PAGE_BYTES)));
	return true;
}

/* The level at which a change of these pages is made: one large entry, or small ones. */
static unsigned int change_level(const struct address_space *space, struct input_address at,
				 unsigned int page_count)
{
	struct place place;

	if (page_count != BULKHEAD_LARGE_PAGE_PAGES)
		return 0;
	place = find(space, at, 1);
	return leads_to_table(space->format, read_entry(place.entry), place.level) ? 0 : 1;
}

unsigned int address_space_tables_needed(const struct address_space *space,
					 struct input_address at, unsigned int page_count)
{
	unsigned int level = change_level(space, at, page_count);

	return find(space, at, level).level - level;
}

static struct frame *table_frame(struct phys table)
{
	return frame_of(&core.frames, table);
}

/* Counts a change of one entry against the table that holds it. */
static void count_difference(const struct address_space *space, struct phys table, int change)
{
	if (space->is_identity)
		table_frame(table)->where += (uint32_t)change;
}

static struct phys take_table(struct address_space *space)
{
	space->table_count++;
	return table_pool_take(space->own.page_count > 0 ? &space->own : &space->paid);
}

void address_space_add_table(struct address_space *space, struct phys page)
{
	bool is_paid = table_frame(page)->state == FRAME_TABLE;

	table_pool_add(is_paid ? &space->paid : &space->own, page);
}

void address_space_collect(struct address_space *space)
{
	while (space->retired.page_count > 0)
		address_space_add_table(space, table_pool_take(&space->retired));
}

/* Puts a table of 512 equal parts where a leaf or nothing was. */
static void split(struct address_space *space, struct place place)
{
	struct mapping mapping = decode(space->format, read_entry(place.entry), place.level);
	struct phys table = take_table(space);
	bool was_plain = mapping.access == ACCESS_ALL;

	if (mapping.access == ACCESS_NONE)
		arch_clear_page(table);
	else
		write_leaves(space, arch_page(table), TABLE_ENTRIES, mapping.page, place.level - 1, mapping.access);
	table_frame(table)->where = was_plain ? 0 : TABLE_ENTRIES;
	count_difference(space, place.table, was_plain);
	write_entry(place.entry, encode_table(space->format, table, place.level));
}

/* Replaces tables that hold nothing but plain RAM again by a large page, upwards. */
static void merge(struct address_space *space, struct input_address at)
{
	for (unsigned int level = 1; level <= LARGEST_LEAF_LEVEL; level++) {
		struct place place = find(space, at, level);
		struct phys base = phys_at(at.value & ~(level_bytes(level) - 1));
		uint64_t entry = read_entry(place.entry);
		struct phys table = entry_address(space->format, entry);

		if (!leads_to_table(space->format, entry, place.level))
			continue;
		if (table_frame(table)->where != 0)
			return;
		write_leaves(space, place.entry, 1, base, level, ACCESS_ALL);
		count_difference(space, place.table, -1);
		table_pool_add(&space->retired, table);
		space->table_count--;
	}
}

/* Descends to the entry that a change of these pages begins at, through tables that are made where they lack. */
static struct place descend(struct address_space *space, struct input_address at, unsigned int level)
{
	struct place place = find(space, at, level);

	while (place.level > level) {
		split(space, place);
		place = find(space, at, level);
	}
	return place;
}

void address_space_prepare(struct address_space *space, struct input_address at, unsigned int page_count)
{
	(void)descend(space, at, change_level(space, at, page_count));
}

/* After the entries: whoever sees the number sees them. Before the flush that lets the old page be used again. */
static void count_change(struct address_space *space)
{
	__atomic_store_n(&space->generation, space->generation + 1, __ATOMIC_RELEASE);
}

void address_space_set(struct address_space *space, struct input_address at, struct phys page,
		       unsigned int page_count, enum access access)
{
	unsigned int level = change_level(space, at, page_count);
	unsigned int entry_count = level == 0 ? page_count : 1;
	struct place place = descend(space, at, level);

	write_leaves(space, place.entry, entry_count, page, level, access);
	count_difference(space, place.table, access == ACCESS_ALL ? -(int)entry_count : (int)entry_count);
	if (space->is_identity)
		merge(space, at);
	count_change(space);
}

void address_space_place(struct address_space *space, struct input_address at, unsigned int level,
			 enum access access)
{
	struct place place = find(space, at, level);

	while (place.level > level) {
		struct phys table = take_table(space);

		arch_clear_page(table);
		table_frame(table)->where = FIXED_TABLE;
		write_entry(place.entry, encode_table(space->format, table, place.level));
		place = find(space, at, level);
	}
	write_leaves(space, place.entry, 1, phys_at(at.value), level, access);
}

bool address_space_is_empty(const struct address_space *space, struct input_address at,
			    unsigned int page_count)
{
	struct place place = find(space, at, 0);

	if (place.level > 0)
		return read_entry(place.entry) == 0;
	for (unsigned int i = 0; i < page_count; i++)
		if (read_entry(&place.entry[i]) != 0)
			return false;
	return true;
}

enum bulkhead_error address_space_next_leaf(const struct address_space *space,
					    struct input_address *at, uint64_t limit)
{
	struct place place = find(space, *at, 0);
	uint64_t step = level_bytes(place.level);

	for (unsigned int i = level_index(*at, place.level); i < TABLE_ENTRIES && at->value < limit; i++) {
		uint64_t entry = read_entry(place.entry++);

		if (entry != 0)
			return leads_to_table(space->format, entry, place.level) ? BULKHEAD_AGAIN : BULKHEAD_OK;
		at->value = (at->value & ~(step - 1)) + step;
	}
	return at->value < limit ? BULKHEAD_AGAIN : BULKHEAD_NOT_FILLED;
}

/* The first entry of a table that is in use, or NULL. */
static uint64_t *first_used(struct phys table)
{
	uint64_t *entries = arch_page(table);

	for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
		if (read_entry(&entries[i]) != 0)
			return &entries[i];
	return NULL;
}

bool address_space_unlink_table(struct address_space *space, struct phys *table)
{
	struct phys lowest = space->root;
	uint64_t *parent = NULL;

	for (unsigned int level = TABLE_LEVELS - 1; level > 0; level--) {
		uint64_t *used = first_used(lowest);

		if (!used)
			break;
		parent = used;
		lowest = entry_address(space->format, read_entry(used));
	}
	if (!parent)
		return false;
	write_entry(parent, 0);
	space->table_count--;
	*table = lowest;
	return true;
}
