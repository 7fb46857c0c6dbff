/* publish_private.h: the state of one publication, for publish*.c only. */
#ifndef STORE_PUBLISH_PRIVATE_H
#define STORE_PUBLISH_PRIVATE_H

#include "store/frame.h"
#include "store/hash.h"
#include "store/image.h"
#include "store/index.h"
#include "store/pack_writer.h"
#include "store/publish.h"
#include "store/store_private.h"
#include "store/tree.h"

#include <pthread.h>
#include <stdio.h>

#define SEGMENT_BLOCKS	256u /* read and hashed at a time by one thread: 1 MiB */
#define FRAME_BLOCKS	(FRAME_PLAIN_DEFAULT / BLOCK_BYTES)
#define CHECKPOINT_PACKS 24u
#define PUBLISH_THREADS_MAX 16u

/** A pack that blocks may be found in, or that is being written. Ascending by id. */
struct known_pack {
	uint32_t id;
	uint8_t salt[SALT_BYTES];
	uint8_t table_name[NAME_BYTES];
	uint32_t table_offset;
	uint32_t frame_count; /* 0 while it is written */
	bool fresh;	      /* this publication's own */
	uint8_t *usable;      /* which frames may be referred to */
	uint8_t *rejected;    /* which of them are used too little */
	uint64_t *slots;      /* for each frame, the slots that are referred to */
};

/** A frame that is being filled, or waits to be sealed. */
struct open_frame {
	struct open_frame *next;
	struct pack_writer *writer;
	uint32_t number;
	uint32_t blocks;
	uint8_t plain[FRAME_PLAIN_DEFAULT];
};

struct publication {
	struct store *store;
	const struct domain *domain;
	const struct publish_source *source;
	const struct publish_options *options;
	struct publish_result *result;
	struct problem *problem;
	struct image *base;
	uint32_t *base_ids; /* the catalogue's id of each of the base's packs */
	struct index *index;
	uint64_t session;
	uint64_t blocks;
	bool incremental;

	struct known_pack *packs;
	uint32_t pack_count, pack_room;
	struct pack_writer *writers; /* all, newest first; only the newest is given new frames */
	struct open_frame *filling, *free_frames;

	pthread_mutex_t lock; /* error, free_frames, sealed, results */
	int error;
	uint32_t sealed; /* since the last checkpoint */

	/* The part that runs in disk order, one segment after the other. */
	pthread_mutex_t order;
	pthread_cond_t turn;
	uint64_t next_segment, turn_segment;
	struct tree tree;
	struct block_ref leaf[MAP_LEAF_BLOCKS];
	FILE *spill; /* the runs of every leaf, in order */
	size_t next_change;

	/* The map. */
	struct frame_codec *codec;
	struct block_ref children[MAP_LEVELS_MAX][MAP_FANOUT];
	uint32_t child_count[MAP_LEVELS_MAX];
	uint64_t data_blocks;
	uint64_t used_bytes;
};

/* publish_packs.c */
int publish_load_packs(struct publication *work);
void publish_release_packs(struct publication *work);
struct known_pack *publish_pack(const struct publication *work, uint32_t id);
bool publish_alive(void *context, struct block_ref ref);
void publish_mark(struct publication *work, struct block_ref ref);
int publish_store_block(struct publication *work, const uint8_t *block, struct block_ref *ref,
			struct open_frame **full);
int publish_seal_frames(struct publication *work, struct frame_codec *codec, uint8_t *scratch,
			struct open_frame *frames);
int publish_store_page(struct publication *work, const uint8_t *page, size_t bytes,
		       struct block_ref *ref);
struct open_frame *publish_take_filling(struct publication *work);
int publish_close_writers(struct publication *work);
int publish_settle(struct publication *work);
int publish_checkpoint(struct publication *work);
int publish_fail(struct publication *work, int error);

/* publish_read.c */
int publish_read_disk(struct publication *work);

/* publish_map.c */
int publish_write_map(struct publication *work, struct frame_address *root);
int publish_base_leaf(struct publication *work, uint64_t leaf, struct block_ref *refs);
int publish_spill_leaf(FILE *spill, const struct block_ref *refs, uint32_t count);
int publish_unspill_leaf(FILE *spill, struct block_ref *refs, uint32_t count);

#endif
