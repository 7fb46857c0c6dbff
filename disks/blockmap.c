/*
 * The state of a layer's blocks; see blockmap.h.
 */
#include "blockmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t words(uint64_t bits)
{
	return (size_t)((bits + 63) / 64);
}

int blockmap_make(struct blockmap *map, uint64_t blocks)
{
	memset(map, 0, sizeof(*map));
	if (blocks == 0 || blocks > BLOCKMAP_BLOCKS_MAX)
		return -EINVAL;
	map->blocks = blocks;
	map->regions = (blocks + BLOCKS_A_REGION - 1) / BLOCKS_A_REGION;
	map->data = calloc(words(blocks), 8);
	map->zero = calloc(words(blocks), 8);
	map->changed = calloc(words(blocks), 8);
	map->dirty = calloc(words(blocks), 8);
	map->sent = calloc(words(blocks), 8);
	map->loose = calloc(words(map->regions), 8);
	map->dirty_words = calloc(words(words(blocks)), 8);
	if (map->data && map->zero && map->changed && map->dirty && map->sent && map->loose && map->dirty_words)
		return 0;
	blockmap_release(map);
	return -ENOMEM;
}

void blockmap_release(struct blockmap *map)
{
	free(map->data);
	free(map->zero);
	free(map->changed);
	free(map->dirty);
	free(map->sent);
	free(map->loose);
	free(map->dirty_words);
	memset(map, 0, sizeof(*map));
}

static void set_bit(uint64_t *bits, uint64_t index)
{
	bits[index / 64] |= 1ull << (index % 64);
}

static void clear_bit(uint64_t *bits, uint64_t index)
{
	bits[index / 64] &= ~(1ull << (index % 64));
}

enum block_state blockmap_state(const struct blockmap *map, uint64_t block)
{
	if (blockmap_bit(map->data, block))
		return BLOCK_DATA;
	return blockmap_bit(map->zero, block) ? BLOCK_ZERO : BLOCK_ABSENT;
}

uint64_t blockmap_same(const struct blockmap *map, uint64_t block, uint64_t limit)
{
	enum block_state state = blockmap_state(map, block);
	uint64_t count = 1;

	while (count < limit && blockmap_state(map, block + count) == state)
		count++;
	return count;
}

bool blockmap_needs_loose(const struct blockmap *map, uint64_t first, uint64_t count, uint64_t *region)
{
	for (uint64_t block = first; block < first + count; block++) {
		if (!blockmap_bit(map->data, block) || blockmap_bit(map->loose, block / BLOCKS_A_REGION))
			continue;
		if (blockmap_bit(map->changed, block) && !blockmap_bit(map->dirty, block))
			continue; /* known to have changed, on disk */
		*region = block / BLOCKS_A_REGION;
		return true;
	}
	return false;
}

static void set_dirty(struct blockmap *map, uint64_t block)
{
	set_bit(map->dirty, block);
	set_bit(map->dirty_words, block / 64);
}

void blockmap_set(struct blockmap *map, uint64_t first, uint64_t count, enum block_state state)
{
	for (uint64_t block = first; block < first + count; block++) {
		if (blockmap_state(map, block) == state && blockmap_bit(map->changed, block))
			continue; /* already on disk, or dirty */
		if (state == BLOCK_DATA) {
			set_bit(map->data, block);
			clear_bit(map->zero, block);
		} else {
			clear_bit(map->data, block);
			set_bit(map->zero, block);
		}
		set_bit(map->changed, block);
		set_dirty(map, block);
	}
}

static enum blockmap_kind kind_of(const struct blockmap *map, uint64_t block)
{
	return blockmap_bit(map->data, block) ? BLOCKMAP_DATA : BLOCKMAP_ZERO;
}

size_t blockmap_take_dirty(struct blockmap *map, uint64_t *at, struct blockmap_run *runs, size_t max)
{
	uint64_t last_word = words(map->blocks);
	size_t count = 0;

	while (*at < map->blocks) {
		uint64_t word = *at / 64, bits;

		if (!(map->dirty_words[word / 64] >> (word % 64))) {
			*at = (word / 64 + 1) * 64 * 64; /* nothing in the rest of this group of words */
			continue;
		}
		bits = map->dirty[word] >> (*at % 64);
		if (!bits) {
			clear_bit(map->dirty_words, word);
			if (map->dirty[word])
				set_bit(map->dirty_words, word);
			*at = word + 1 < last_word ? (word + 1) * 64 : map->blocks;
			continue;
		}
		*at += (uint64_t)__builtin_ctzll(bits);
		enum blockmap_kind kind = kind_of(map, *at);
		struct blockmap_run *run = count ? &runs[count - 1] : NULL;

		if (run && run->first + run->count == *at && run->kind == kind && run->count < UINT32_MAX) {
			run->count++;
		} else {
			if (count == max)
				break;
			runs[count++] = (struct blockmap_run){.first = *at, .count = 1, .kind = kind};
		}
		clear_bit(map->dirty, *at);
		++*at;
	}
	return count;
}

void blockmap_return_dirty(struct blockmap *map, const struct blockmap_run *runs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (uint64_t block = runs[i].first; block < runs[i].first + runs[i].count; block++)
			set_dirty(map, block);
}

int blockmap_apply(struct blockmap *map, const struct blockmap_run *run)
{
	uint64_t limit = run->kind == BLOCKMAP_LOOSE ? map->regions : map->blocks;

	if (run->kind < BLOCKMAP_DATA || run->kind > BLOCKMAP_LOOSE || run->first >= limit ||
	    run->count > limit - run->first)
		return -EBADMSG;
	for (uint64_t i = run->first; i < run->first + run->count; i++) {
		if (run->kind == BLOCKMAP_LOOSE) {
			set_bit(map->loose, i);
			continue;
		}
		set_bit(map->changed, i);
		if (run->kind == BLOCKMAP_DATA) {
			set_bit(map->data, i);
			clear_bit(map->zero, i);
		} else {
			clear_bit(map->data, i);
			set_bit(map->zero, i);
		}
	}
	return 0;
}

void blockmap_settle(struct blockmap *map)
{
	for (uint64_t region = 0; region < map->regions; region++) {
		if (!blockmap_bit(map->loose, region))
			continue;
		/* A region is 16 whole words of the bitmaps over blocks. */
		for (uint64_t word = region * (BLOCKS_A_REGION / 64);
		     word < (region + 1) * (BLOCKS_A_REGION / 64) && word < words(map->blocks); word++)
			map->changed[word] |= map->data[word];
	}
}

bool blockmap_next(const struct blockmap *map, const uint64_t *bits, uint64_t from, uint64_t *first, uint64_t *count)
{
	while (from < map->blocks && !blockmap_bit(bits, from))
		from = bits[from / 64] >> (from % 64) ? from + 1 : (from / 64 + 1) * 64;
	if (from >= map->blocks)
		return false;
	*first = from;
	while (from < map->blocks && blockmap_bit(bits, from))
		from++;
	*count = from - *first;
	return true;
}

size_t blockmap_bytes(const struct blockmap *map)
{
	return words(map->blocks) * 8;
}

size_t blockmap_region_bytes(const struct blockmap *map)
{
	return words(map->regions) * 8;
}
