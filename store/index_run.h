/*
 * index_run.h: one sorted run of the index: pages of 127 entries, each with a check sum, then the
 * fences. Opening a run reads the fences only: an index of 2^28 blocks has 8.6 GB of pages.
 */
#ifndef STORE_INDEX_RUN_H
#define STORE_INDEX_RUN_H

#include "store/file.h"
#include "store/map.h"

#define RUN_KEY_BYTES   24u /* the first 192 bits of a block's name */
#define RUN_ENTRY_BYTES 32u
#define RUN_PAGE_ROOM   127u
#define RUN_TAIL_BYTES  64u

struct run_entry {
	uint8_t key[RUN_KEY_BYTES];
	struct block_ref ref;
};

_Static_assert(sizeof(struct run_entry) == RUN_ENTRY_BYTES, "entries are used in place");

struct run {
	struct run *older;
	struct store_file *file;
	uint64_t id; /* the catalogue's; 0 while unknown to it */
	char path[48];
	uint64_t entries;
	uint64_t pages;
	uint64_t *fences; /* first 8 bytes of each page's first key, big-endian */
	uint8_t *whole;	  /* the checked pages, if the run is kept in memory */
	uint64_t cached_page;
	uint8_t cached[BLOCK_BYTES];
};

/** Opens a run and reads its fences. @keep: keep all pages in memory. -EUCLEAN if damaged. */
int run_open(struct store_files *files, const char *path, bool keep, struct run **run);
void run_close(struct run *run);

/** Returns 0, -ENOENT, -EUCLEAN or an error of reading. */
int run_find(struct run *run, const uint8_t key[RUN_KEY_BYTES], struct block_ref *ref);

/** The @number-th entry in order. Returns 0 or an error. */
int run_entry_at(struct run *run, uint64_t number, struct run_entry *entry);

/** Writes entries in ascending order. */
struct run_writer {
	struct store_file *file;
	uint8_t page[BLOCK_BYTES];
	uint32_t filled;
	uint64_t pages;
	uint64_t entries;
	uint64_t *fences;
	uint64_t room;
};

/** The file's bytes for so many entries. */
uint64_t run_file_bytes(uint64_t entries);

/**
 * Makes a page and the end of a run, for who writes one without run_writer (tests of large ones).
 *
 * @page: RUN_PAGE_ROOM * RUN_ENTRY_BYTES of entries, completed to BLOCK_BYTES.
 */
int run_page_finish(uint8_t page[BLOCK_BYTES], uint32_t entries, uint64_t number);
/** @fences: of all pages, as they stand in the file; @tail: RUN_TAIL_BYTES. */
int run_tail_write(const uint64_t *fences, uint64_t pages, uint64_t entries, uint8_t *tail);

int run_writer_start(struct run_writer *writer, struct store_files *files, const char *path);
int run_writer_add(struct run_writer *writer, const struct run_entry *entry);
/** Writes the rest and syncs; closes the file in any case. */
int run_writer_finish(struct run_writer *writer, int error);

#endif
