/*
 * image.h: a version's blocks, read at random.
 *
 * One image is used by one thread at a time; open one for each thread. A version that is still
 * arriving can be opened: what is missing is named, so that it can be fetched first.
 */
#ifndef STORE_IMAGE_H
#define STORE_IMAGE_H

#include "store/frame.h"
#include "store/map.h"
#include "store/store.h"

struct image;

/** Which frame is meant, and where it lies in its pack. */
struct image_frame {
	uint32_t pack; /* index in the manifest's list */
	struct frame_address address;
	uint32_t offset;
	uint32_t stored_bytes;
};

/**
 * Opens a version for reading.
 *
 * Returns 0, -ENOENT, -EKEYREJECTED (another domain's), -EBADMSG (a table is damaged: repair) or
 * another errno. Close with image_close().
 */
int image_open(struct store *store, const struct domain *domain,
	       const uint8_t version[VERSION_ID_BYTES], struct image **image,
	       struct problem *problem);

void image_close(struct image *image);

/** The manifest, owned by the image. */
const struct manifest *image_manifest(const struct image *image);

/**
 * Reads @count blocks from @first on; beyond the end is -EINVAL.
 *
 * @missing: may be NULL; filled in with the frame to fetch when the result is -ENODATA.
 *
 * Returns 0, -ENODATA (a frame is not here), -EBADMSG (a frame is damaged; @missing names it) or
 * another errno.
 */
int image_read(struct image *image, uint64_t first, uint32_t count, void *buffer,
	       struct image_frame *missing);

/**
 * Says where blocks come from: @refs receives @count references (map.h), whose pack is the index
 * in the manifest's list. The map pages on the way must be here, or -ENODATA and @missing.
 */
int image_locate(struct image *image, uint64_t first, uint32_t count, struct block_ref *refs,
		 struct image_frame *missing);

/** Fills in where a frame lies. -EINVAL if the version has no such frame. */
int image_frame_at(struct image *image, struct block_ref ref, struct image_frame *frame);

/** Whether a frame is here; looks again at the catalogue if it was not. */
bool image_has_frame(struct image *image, struct block_ref ref);

/**
 * Reads and decodes one frame. Threads may call this at the same time, each with its own codec and
 * buffers, as long as no other function is in progress.
 *
 * @scratch: FRAME_STORED_MAX bytes. @plain: FRAME_PLAIN_MAX bytes.
 *
 * Returns the decoded length, -ENODATA, -EBADMSG or another errno.
 */
int image_load_frame(struct image *image, struct frame_codec *codec, struct block_ref ref,
		     uint8_t *scratch, uint8_t *plain);

/** Reads one leaf of the map: @refs has room for MAP_LEAF_BLOCKS. Returns the count or an errno. */
int image_leaf(struct image *image, uint64_t leaf, struct block_ref *refs,
	       struct image_frame *missing);

/** Where a leaf page itself is stored (a zero reference if it has none). */
int image_leaf_ref(struct image *image, uint64_t leaf, struct block_ref *ref,
		   struct image_frame *missing);

#endif
