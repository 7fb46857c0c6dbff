/*
 * pack_writer.h: writes one new pack, frames from several threads.
 *
 * Numbers are given out in order by one caller; frames are sealed and appended in any order. The pack
 * gets its final name only when it is whole and on the disk, and is never opened for writing again.
 */
#ifndef STORE_PACK_WRITER_H
#define STORE_PACK_WRITER_H

#include "store/domain.h"
#include "store/file.h"
#include "store/pack.h"

#include <pthread.h>
#include <stdbool.h>

struct pack_writer {
	struct pack_writer *next; /* the caller's list */
	struct store_files *files;
	struct store_file *file;
	uint32_t id; /* the catalogue's */
	uint8_t key[32];
	struct pack_table table;
	uint32_t capacity;    /* of table.entries */
	uint32_t allocated;   /* numbers given out */
	uint32_t appended;    /* frames written */
	uint64_t plain_bytes; /* behind the numbers given out */
	uint64_t offset;      /* where the next frame goes */
	uint64_t hinted;      /* up to where writing out was started */
	bool closed, sealing; /* no more numbers; someone seals it */
	bool failed;	      /* a frame could not be written: never sealed */
	bool sealed;
	bool settling; /* the caller's mark */
	pthread_mutex_t lock;
};

/** Makes the file "<salt>.part" with its header. The salt is new and random. */
int pack_writer_new(struct store_files *files, const struct domain *domain,
		    const uint8_t salt[SALT_BYTES], uint32_t id, struct pack_writer **writer);

/** Whether another @plain_bytes would be too much for this pack. */
bool pack_writer_full(const struct pack_writer *writer, uint32_t plain_bytes);

/** Gives out the next number. */
uint32_t pack_writer_allocate(struct pack_writer *writer, uint32_t plain_bytes);

/** Appends a sealed frame. Threads may call this at the same time. Returns 0 or an errno. */
int pack_writer_append(struct pack_writer *writer, uint32_t number, uint8_t kind, uint16_t blocks,
		       const uint8_t *frame, uint32_t bytes);

/**
 * No further numbers will be asked for. Returns whether the caller has to seal it now; otherwise
 * pack_writer_complete() tells the one who appends the last frame.
 */
bool pack_writer_close(struct pack_writer *writer);

/** After an append: whether that was the last frame of a closed pack. True once. */
bool pack_writer_complete(struct pack_writer *writer);

/** All numbers are used: writes the table, syncs, gives the file its name (not yet synced). */
int pack_writer_seal(struct pack_writer *writer);

/** Whether it has its final name. */
bool pack_writer_sealed(struct pack_writer *writer);

/** Frees; a pack that was not sealed is deleted. */
void pack_writer_free(struct pack_writer *writer);

#endif
