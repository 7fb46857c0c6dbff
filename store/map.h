/*
 * map.h: pages of a version's map: which frame and slot each block of the disk is in.
 *
 * A leaf describes MAP_LEAF_BLOCKS blocks as runs, an inner page the pages below it; both name packs
 * through a table of salts of their own, so that a page stays valid, byte for byte, in every later
 * version in which its part of the disk did not change.
 */
#ifndef STORE_MAP_H
#define STORE_MAP_H

#include "store/manifest.h"

/** A place in the packs of one store: pack is the caller's number for a salt. */
struct block_ref {
	uint32_t pack; /* REF_ZERO_PACK: the block is zero */
	uint16_t number;
	uint16_t slot;
};

#define REF_ZERO_PACK UINT32_MAX

static inline bool ref_is_zero(struct block_ref ref)
{
	return ref.pack == REF_ZERO_PACK;
}

static inline bool ref_same(struct block_ref a, struct block_ref b)
{
	return a.pack == b.pack && a.number == b.number && a.slot == b.slot;
}

/** How a page's salts become the caller's pack numbers and back. */
struct map_packs {
	/** Returns the salt of @pack, valid until the next call. */
	const uint8_t *(*salt)(void *context, uint32_t pack);
	/** Finds the number of a salt: 0 or -ENOENT. */
	int (*find)(void *context, const uint8_t salt[SALT_BYTES], uint32_t *pack);
	void *context;
};

/**
 * Encodes a leaf of @count blocks (1 to MAP_LEAF_BLOCKS).
 *
 * @page: room for MAP_PAGE_MAX.
 *
 * Returns the length or -EFBIG.
 */
int map_leaf_write(const struct block_ref *refs, uint32_t count, const struct map_packs *packs,
		   uint8_t *page);

/** Decodes a leaf that must describe exactly @count blocks. Returns 0 or -EBADMSG. */
int map_leaf_read(const uint8_t *page, size_t bytes, uint32_t count, const struct map_packs *packs,
		  struct block_ref *refs);

/**
 * Encodes an inner page of @count children (1 to MAP_FANOUT); a child that is all zero blocks is
 * given as a zero reference and has no page.
 */
int map_inner_write(const struct block_ref *children, uint32_t count, const struct map_packs *packs,
		    uint8_t *page);

/** Decodes an inner page of exactly @count children. Returns 0 or -EBADMSG. */
int map_inner_read(const uint8_t *page, size_t bytes, uint32_t count, const struct map_packs *packs,
		   struct block_ref *children);

#endif
