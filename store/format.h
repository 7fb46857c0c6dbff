/*
 * format.h: sizes and numbers of the store's on-disk and on-wire format; docs/store-format.md says
 * what each means. Everything here is part of the format: a change is a new format number.
 */
#ifndef STORE_FORMAT_H
#define STORE_FORMAT_H

#include <stdint.h>

#define STORE_FORMAT 1

#define BLOCK_BYTES      4096u
#define NAME_BYTES       32u /* SHA-256 and HMAC-SHA-256 */
#define SALT_BYTES       16u
#define DOMAIN_ID_BYTES  16u
#define VERSION_ID_BYTES 32u

/* Frames. */
#define FRAME_HEADER_BYTES   40u
#define FRAME_TAG_BYTES      16u
#define FRAME_PLAIN_DEFAULT  (64u * BLOCK_BYTES)
#define FRAME_PLAIN_MAX      (256u * BLOCK_BYTES)
#define FRAME_STORED_MAX     (FRAME_PLAIN_MAX + (FRAME_PLAIN_MAX >> 7) + 1024u)
#define FRAME_BLOCKS_MAX     256u

enum frame_kind {
	FRAME_DATA = 1,  /* blocks */
	FRAME_MAP = 2,   /* one page of a version's map */
	FRAME_TABLE = 3, /* a pack's table, readable without keys */
};

enum frame_coding {
	FRAME_RAW = 0,
	FRAME_ZSTD = 1,
};

/* Packs. */
#define PACK_HEADER_BYTES   64u
#define PACK_TRAILER_BYTES  16u
#define PACK_ENTRY_BYTES    44u
#define PACK_FRAMES_MAX     4096u
#define PACK_BYTES_MAX      (1u << 30)
/* What a writer puts in one pack: at most 64 MiB even if nothing compresses. */
#define PACK_PLAIN_TARGET   (62u << 20)

/* Maps: one leaf page describes 4096 blocks (16 MiB of disk), an inner page 128 pages below it. */
#define MAP_LEAF_BLOCKS 4096u
#define MAP_FANOUT      128u
#define MAP_LEVELS_MAX  5u
#define MAP_PAGE_MAX    (128u << 10)

/* Manifests. */
#define MANIFEST_FIXED_BYTES     216u
#define MANIFEST_LABEL_MAX       255u
#define MANIFEST_DESCRIPTION_MAX (256u << 10)
#define MANIFEST_BYTES_MAX       (4u << 20)
#define MANIFEST_PACKS_MAX       65536u
#define DISK_BYTES_MAX           (1ull << 44)

/* The tree over the SHA-256 of every plain block. */
#define TREE_FANOUT 128u

#endif
