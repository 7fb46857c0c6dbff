/*
 * index.h: which blocks of a domain are stored, and where: exact, on disk, in bounded memory.
 *
 * Entries are collected in memory and written out as sorted runs; a small fence for every page of a
 * run stays in memory, short runs stay there whole. A run is never changed: several are merged into a
 * new one. Where two runs know a block, the newer is asked first. It can always be rebuilt from packs.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "store/catalogue.h"
#include "store/map.h"

struct index;

/** Opens all runs of a domain. Returns 0, -EUCLEAN (a run is damaged: rebuild) or another errno. */
int index_open(struct store_files *files, struct catalogue *catalogue,
	       const uint8_t domain[DOMAIN_ID_BYTES], struct index **index,
	       struct problem *problem);

void index_close(struct index *index);

/**
 * Finds a block.
 *
 * @alive: says whether a place may be used; others are passed over.
 *
 * Returns 0, -ENOENT or an error of reading.
 */
int index_find(struct index *index, const uint8_t name[NAME_BYTES],
	       bool (*alive)(void *context, struct block_ref ref), void *context,
	       struct block_ref *ref);

/** Adds a block, or moves it; writes a run out when many have been added. */
int index_add(struct index *index, const uint8_t name[NAME_BYTES], struct block_ref ref);

/** Writes what is in memory to a run that is on the disk but not yet known to the catalogue. */
int index_flush(struct index *index);

/** Makes flushed runs known. Call inside the transaction that makes their packs known. */
int index_commit(struct index *index);

/**
 * Merges recent runs if there are many, in a transaction of its own.
 *
 * @exists: whether a pack is still known; entries of others are dropped.
 */
int index_merge(struct index *index, bool (*exists)(void *context, uint32_t pack), void *context);

/** Entries in all runs and in memory. */
uint64_t index_entries(const struct index *index);

#endif
