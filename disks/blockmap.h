/*
 * What a layer knows of each of its 4 KiB blocks, and which of that is not yet on disk. Pure state: no files, no locks.
 *
 * A block is absent (whatever lies below shows), data (its place in the layer's file holds it) or zero. It is changed if
 * it was written since the last backup. A region of blocks is *loose* once data in it may have been overwritten in
 * place without the change having been journaled: after a crash all its data count as changed.
 */
#ifndef BULKHEAD_DISKS_BLOCKMAP_H
#define BULKHEAD_DISKS_BLOCKMAP_H

#include "store/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCKS_A_REGION	    1024u
#define BLOCKMAP_BLOCKS_MAX (DISK_BYTES_MAX / BLOCK_BYTES)

enum block_state {
	BLOCK_ABSENT,
	BLOCK_DATA,
	BLOCK_ZERO,
};

/** What a journal says of a run of blocks; BLOCKMAP_LOOSE names regions, not blocks. */
enum blockmap_kind {
	BLOCKMAP_DATA = 1,
	BLOCKMAP_ZERO = 2,
	BLOCKMAP_LOOSE = 3,
};

struct blockmap_run {
	uint64_t first;
	uint32_t count;
	uint32_t kind;
};

/** Bitmaps, one bit a block (loose: a region). */
struct blockmap {
	uint64_t blocks, regions;
	uint64_t *data, *zero, *changed, *loose;
	uint64_t *dirty;	/**< changed in memory, not yet in the journal */
	uint64_t *dirty_words;	/**< one bit for each word of dirty that is not 0 */
	uint64_t *sent;		/**< in the backup that runs; still changed until that ends well */
};

/** Returns 0, -EINVAL (no or too many blocks) or -ENOMEM. Release with blockmap_release(). */
int blockmap_make(struct blockmap *map, uint64_t blocks);
void blockmap_release(struct blockmap *map);

enum block_state blockmap_state(const struct blockmap *map, uint64_t block);

/** How many blocks from @block on, at most @limit, share its state. */
uint64_t blockmap_same(const struct blockmap *map, uint64_t block, uint64_t limit);

/** Whether overwriting or discarding these blocks needs a region to be loose on disk first. */
bool blockmap_needs_loose(const struct blockmap *map, uint64_t first, uint64_t count, uint64_t *region);

/** Notes a write (BLOCK_DATA) or a discard (BLOCK_ZERO) of blocks within the map. */
void blockmap_set(struct blockmap *map, uint64_t first, uint64_t count, enum block_state state);

/**
 * Takes up to @max runs of what is dirty; what is taken is no longer dirty.
 * @at  where to look on; 0 first, then as this function leaves it. Returns the number of runs, 0 at the end.
 */
size_t blockmap_take_dirty(struct blockmap *map, uint64_t *at, struct blockmap_run *runs, size_t max);

/** Makes runs dirty again, that could not be written. */
void blockmap_return_dirty(struct blockmap *map, const struct blockmap_run *runs, size_t count);

/** Applies a run from a journal. Returns 0, or -EBADMSG if it does not fit the map. */
int blockmap_apply(struct blockmap *map, const struct blockmap_run *run);

/** After a journal was replayed: what is loose counts as changed. */
void blockmap_settle(struct blockmap *map);

/** The next run of set bits in @bits from @from on; false if there is none. */
bool blockmap_next(const struct blockmap *map, const uint64_t *bits, uint64_t from, uint64_t *first, uint64_t *count);

/** Bytes of one bitmap over blocks, and over regions, as they are written to disk. */
size_t blockmap_bytes(const struct blockmap *map);
size_t blockmap_region_bytes(const struct blockmap *map);

static inline bool blockmap_bit(const uint64_t *bits, uint64_t index)
{
	return bits[index / 64] >> (index % 64) & 1;
}

#endif
