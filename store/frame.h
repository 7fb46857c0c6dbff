/*
 * frame.h: the unit that is compressed, encrypted, named and moved.
 *
 * A frame is its 40-byte header, the ciphertext and the tag. The header names the pack (salt) and the
 * frame's number in it; both are authenticated, the number is the nonce, and the key belongs to the
 * salt. The name of a frame is the SHA-256 of all its bytes.
 */
#ifndef STORE_FRAME_H
#define STORE_FRAME_H

#include "store/domain.h"
#include "store/format.h"

#include <stddef.h>
#include <stdint.h>

struct frame_header {
	uint8_t kind;   /* enum frame_kind */
	uint8_t coding; /* enum frame_coding */
	uint32_t number;
	uint32_t plain_bytes;
	uint32_t stored_bytes; /* the whole frame: header, ciphertext, tag */
	uint8_t salt[SALT_BYTES];
};

/** Compression and cipher contexts of one thread. */
struct frame_codec;

struct frame_codec *frame_codec_new(void);
void frame_codec_free(struct frame_codec *codec);

/** Reads and checks the header of a frame. Returns 0 or -EBADMSG. */
int frame_header_read(const uint8_t *data, size_t bytes, struct frame_header *header);

/** Writes a header. */
void frame_header_write(const struct frame_header *header, uint8_t data[FRAME_HEADER_BYTES]);

/**
 * Compresses and encrypts.
 *
 * @key: of the pack (domain_pack_key()). Never twice with the same @header->number.
 * @header: kind, number and salt are the caller's; the rest is filled in.
 * @plain, @plain_bytes: at most FRAME_PLAIN_MAX.
 * @level: of zstd.
 * @out: room for FRAME_STORED_MAX.
 *
 * Returns 0 or -EIO.
 */
int frame_seal(struct frame_codec *codec, const uint8_t key[32], struct frame_header *header,
	       const void *plain, size_t plain_bytes, int level, uint8_t *out);

/**
 * Checks and decodes a frame whose name the caller has checked or which lies in its own store.
 *
 * @plain: room for @limit bytes; a frame that holds more is refused.
 *
 * Returns 0, -EBADMSG (damaged, forged or malformed) or -EIO.
 */
int frame_open(struct frame_codec *codec, const uint8_t key[32], const uint8_t *data, size_t bytes,
	       struct frame_header *header, void *plain, size_t limit);

#endif
