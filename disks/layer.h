/*
 * A layer: the blocks that were written above something else, or a whole disk of its own. It is a folder with
 *   data    sparse, block n at n * 4096, AES-256-XTS
 *   tags    only for sealed layers: 16 bytes a block, AES-256-GMAC of what is in data
 *   map     which blocks are here, which changed since the last backup: checkpoints and a journal (layer_map.c)
 *
 * An overlay and a user disk are layers that the guest writes: its flush is data, then journal. What it did not flush
 * may be lost, what it flushed may not, and no change ever escapes the change map. A *sealed* layer holds arrived
 * blocks of a version: each block ever has one content, and what is read is checked against its tag.
 */
#ifndef BULKHEAD_DISKS_LAYER_H
#define BULKHEAD_DISKS_LAYER_H

#include "blockmap.h"

#include "store/file.h"
#include "store/problem.h"

#define LAYER_KEY_BYTES	    32u
#define LAYER_JOURNAL_BYTES (4u << 20)

struct layer;

enum layer_kind {
	LAYER_WRITABLE = 0,
	LAYER_SEALED = 1,
};

/**
 * Makes a layer in @folder, which must hold none.
 * @files    where it lives; outlives the layer.
 * @folder   path in @files; made if missing.
 * @blocks   size of the disk in blocks.
 * @journal_bytes  LAYER_JOURNAL_BYTES, or less (a multiple of 512, at least 4096) in tests.
 * @key      secret of this layer alone.
 * Returns 0 or a negative errno: whole or not at all.
 */
int layer_create(struct store_files *files, const char *folder, enum layer_kind kind, uint64_t blocks,
		 uint32_t journal_bytes, const uint8_t key[LAYER_KEY_BYTES], struct problem *problem);

/** Opens a layer for this process alone. -EBADMSG: damaged, or not this key. -EAGAIN: open elsewhere. */
int layer_open(struct store_files *files, const char *folder, const uint8_t key[LAYER_KEY_BYTES],
	       struct layer **layer, struct problem *problem);

/** Flushes, writes a checkpoint and closes. Returns the error of the last writes; the layer is closed in any case. */
int layer_close(struct layer *layer);

/** Closes as a crash would: nothing more is written. */
void layer_abandon(struct layer *layer);

uint64_t layer_blocks(const struct layer *layer);

/** How many of blocks @first.., at most @limit, share a state; *@state tells which. */
uint64_t layer_run(struct layer *layer, uint64_t first, uint64_t limit, enum block_state *state);

/**
 * Reads blocks that are all BLOCK_DATA (ask layer_run()). Returns 0, -EBADMSG (sealed: a tag does not hold; *@bad is
 * the block), -EIO.
 */
int layer_read(struct layer *layer, uint64_t first, uint64_t count, void *buffer, uint64_t *bad);

/** Writes whole blocks. Returns 0 or a negative errno; on error any part may have been written. */
int layer_write(struct layer *layer, uint64_t first, uint64_t count, const void *buffer);

/** Makes blocks zero and gives their space back. */
int layer_zero(struct layer *layer, uint64_t first, uint64_t count);

/** All writes that returned before this call survive a power cut once it has returned 0. */
int layer_flush(struct layer *layer);

/** Bytes that the layer takes: blocks of data. */
uint64_t layer_data_blocks(struct layer *layer);

/*
 * Backup of a writable layer. Begin freezes contents and changes at one moment (what the guest then overwrites is put
 * aside first); the reader asks for runs and reads them; end says whether the backup was acknowledged. Changes are
 * forgotten only then; a crash in between forgets nothing.
 */
int layer_backup_begin(struct layer *layer, struct problem *problem);
/** The next run of changed blocks from @from on; false if there is none. *@state: data or zero. */
bool layer_backup_next(struct layer *layer, uint64_t from, uint64_t *first, uint64_t *count, enum block_state *state);
/** The next run of blocks from @from on that had data at begin, changed or not; false if there is none. */
bool layer_backup_next_data(struct layer *layer, uint64_t from, uint64_t *first, uint64_t *count);
/** Reads blocks as they were at begin; blocks that were absent or zero read as zeros. */
int layer_backup_read(struct layer *layer, uint64_t first, uint64_t count, void *buffer);
int layer_backup_end(struct layer *layer, bool acknowledged);

#endif
