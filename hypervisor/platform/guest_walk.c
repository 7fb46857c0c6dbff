/* SPDX-License-Identifier: MIT */
/*
 * Walks 4-level, PAE and 32-bit page tables; see guest_walk.h. Section numbers are APM volume 2's.
 */
#include "guest_walk.h"

#define CR0_PG (1ull << 31)
#define CR0_WP (1ull << 16)
#define CR4_PSE (1ull << 4)
#define CR4_PAE (1ull << 5)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)
#define RFLAGS_AC (1ull << 18)

#define ENTRY_PRESENT  (1ull << 0)
#define ENTRY_WRITABLE (1ull << 1)
#define ENTRY_USER     (1ull << 2)
#define ENTRY_ACCESSED (1ull << 5)
#define ENTRY_DIRTY    (1ull << 6)
#define ENTRY_LARGE    (1ull << 7)
#define ENTRY_NX       (1ull << 63)
#define ADDRESS_MASK   0x000ffffffffff000ull

#define PAGE_BYTES 4096u

/** How the tables are laid out in a mode. */
struct layout {
	unsigned int levels, index_bits, entry_bytes;
};

/** Where a walk has come. */
struct walk {
	struct memory *memory;
	const struct guest_paging *paging;
	struct layout layout;
	uint64_t rights; /* ENTRY_WRITABLE, ENTRY_USER: allowed so far; ENTRY_NX: forbidden so far */
	uint64_t entry, entry_at;
	struct memory_word *words; /* NULL: nobody asks */
	unsigned int word_count;
};

static struct layout layout_of(const struct guest_paging *paging)
{
	if (paging->efer & EFER_LMA)
		return (struct layout){ 4, 9, 8 };
	if (paging->cr4 & CR4_PAE)
		return (struct layout){ 3, 9, 8 };
	return (struct layout){ 2, 10, 4 };
}

static uint64_t root_of(const struct guest_paging *paging, struct layout layout)
{
	if (layout.levels == 4)
		return paging->cr3 & ADDRESS_MASK;
	return paging->cr3 & (layout.levels == 3 ? 0xffffffe0ull : 0xfffff000ull);
}

static bool read_entry(struct walk *walk, uint64_t table, unsigned int index)
{
	struct memory_word word;

	walk->entry_at = table + (uint64_t)index * walk->layout.entry_bytes;
	if (!memory_look(walk->memory, walk->entry_at & ~7ull, &word))
		return false;
	walk->entry = walk->layout.entry_bytes == 8 ? word.value : (uint32_t)(word.value >> 8 * (walk->entry_at & 4));
	if (walk->words)
		walk->words[walk->word_count++] = word;
	return true;
}

/* Page-directory-pointer entries outside 64-bit mode carry no rights (5.2.3). */
static bool carries_rights(const struct walk *walk, unsigned int level)
{
	return !(walk->layout.levels == 3 && level == 3);
}

static void narrow_rights(struct walk *walk, unsigned int level)
{
	if (!carries_rights(walk, level))
		return;
	walk->rights &= walk->entry | ~(ENTRY_WRITABLE | ENTRY_USER);
	if (walk->layout.entry_bytes == 8 && (walk->paging->efer & EFER_NXE))
		walk->rights |= walk->entry & ENTRY_NX;
}

static bool is_leaf(const struct walk *walk, unsigned int level)
{
	if (level == 1)
		return true;
	if (!(walk->entry & ENTRY_LARGE))
		return false;
	if (walk->layout.entry_bytes == 4)
		return walk->paging->cr4 & CR4_PSE;
	return level == 2 || (level == 3 && walk->layout.levels == 4);
}

/* 5.6: what the combined rights allow at this privilege level. */
static bool is_allowed(const struct walk *walk, enum guest_access access)
{
	const struct guest_paging *paging = walk->paging;
	bool is_user_page = walk->rights & ENTRY_USER, is_user = paging->cpl == 3;

	if (is_user && !is_user_page)
		return false;
	if (access == GUEST_FETCH)
		return !(walk->rights & ENTRY_NX) && (is_user || !is_user_page || !(paging->cr4 & CR4_SMEP));
	if (!is_user && is_user_page && (paging->cr4 & CR4_SMAP) && !(paging->rflags & RFLAGS_AC))
		return false;
	if (access == GUEST_READ || (walk->rights & ENTRY_WRITABLE))
		return true;
	return !is_user && !(paging->cr0 & CR0_WP);
}

/* Marks the last entry as its processor would; another processor's change in between is not lost. */
static bool mark(struct walk *walk, enum guest_access access)
{
	uint64_t wanted = walk->entry | ENTRY_ACCESSED | (access == GUEST_WRITE ? ENTRY_DIRTY : 0);

	if (access != GUEST_WRITE || wanted == walk->entry)
		return true;
	return memory_exchange(walk->memory, walk->entry_at, walk->layout.entry_bytes, walk->entry, wanted);
}

static uint64_t leaf_address(const struct walk *walk, unsigned int level, uint64_t linear)
{
	unsigned int shift = 12 + (level - 1) * walk->layout.index_bits;
	uint64_t inside = (1ull << shift) - 1, address = walk->entry & ADDRESS_MASK & ~inside;

	/* 4 MiB pages keep address bits 39:32 in entry bits 20:13 (5.3.2). */
	if (walk->layout.entry_bytes == 4 && level == 2)
		address |= (walk->entry >> 13 & 0xff) << 32;
	return address | (linear & inside);
}

static bool follow(struct walk *walk, uint64_t linear, enum guest_access access, uint64_t *physical)
{
	uint64_t table = root_of(walk->paging, walk->layout);

	if (!(walk->paging->efer & EFER_LMA))
		linear = (uint32_t)linear;
	if (!(walk->paging->cr0 & CR0_PG)) {
		*physical = linear;
		return true;
	}
	for (unsigned int level = walk->layout.levels; level > 0; level--) {
		unsigned int shift = 12 + (level - 1) * walk->layout.index_bits;
		unsigned int index = (unsigned int)(linear >> shift) & ((1u << walk->layout.index_bits) - 1);

		if (!read_entry(walk, table, index) || !(walk->entry & ENTRY_PRESENT))
			return false;
		narrow_rights(walk, level);
		if (!is_leaf(walk, level)) {
			table = walk->entry & ADDRESS_MASK;
			continue;
		}
		if (!is_allowed(walk, access) || !mark(walk, access))
			return false;
		*physical = leaf_address(walk, level, linear);
		return true;
	}
	return false;
}

static struct walk start(struct memory *memory, const struct guest_paging *paging)
{
	return (struct walk){
		.memory = memory, .paging = paging, .layout = layout_of(paging), .rights = ENTRY_WRITABLE | ENTRY_USER,
	};
}

bool guest_walk(struct memory *memory, const struct guest_paging *paging, uint64_t linear, enum guest_access access,
		uint64_t *physical)
{
	struct walk walk = start(memory, paging);

	return follow(&walk, linear, access, physical);
}

bool guest_walk_to_code(struct memory *memory, const struct guest_paging *paging, uint64_t linear, uint64_t *physical,
			struct memory_word *words, unsigned int *word_count)
{
	struct walk walk = start(memory, paging);
	bool is_there;

	walk.words = words;
	is_there = follow(&walk, linear, GUEST_FETCH, physical);
	*word_count = walk.word_count;
	return is_there;
}

uint32_t guest_fetch(struct memory *memory, const struct guest_paging *paging, uint64_t linear, uint8_t *bytes,
		     uint32_t size_bytes)
{
	uint32_t done = 0;

	while (done < size_bytes) {
		uint32_t left = PAGE_BYTES - (uint32_t)((linear + done) & (PAGE_BYTES - 1));
		uint32_t size = size_bytes - done < left ? size_bytes - done : left;
		uint64_t physical;

		if (!guest_walk(memory, paging, linear + done, GUEST_FETCH, &physical) ||
		    !memory_read(memory, physical, bytes + done, size))
			break;
		done += size;
	}
	return done;
}
