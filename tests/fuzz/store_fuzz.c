/*
 * store_fuzz.c: everything of the store's that comes from elsewhere, one parser a build (-DTARGET=n):
 * 1 manifest, 2 map pages, 3 pack tables with header and trailer, 4 frames.
 *
 * A first byte and a hash of the rest make some inputs reach past checks that random bytes would not.
 */
#include "store/bytes.h"
#include "store/frame.h"
#include "store/map.h"
#include "store/manifest.h"
#include "store/pack.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#if TARGET == 1
/* What is read writes back to the same bytes: a version has one encoding. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct manifest manifest;
	uint8_t *again;
	size_t again_bytes;

	if (manifest_read(data, bytes, &manifest))
		return 0;
	if (manifest_write(&manifest, &again, &again_bytes) || again_bytes != bytes ||
	    memcmp(again, data, bytes))
		abort();
	free(again);
	manifest_release(&manifest);
	return 0;
}
#elif TARGET == 2
static int find(void *context, const uint8_t salt[SALT_BYTES], uint32_t *pack)
{
	*pack = salt[0];
	return salt[1] == 0xff ? -1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct block_ref refs[MAP_LEAF_BLOCKS];
	struct map_packs packs = {.find = find};

	if (bytes < 3)
		return 0;
	/* The expected count is ours, never the page's. */
	if (data[0] & 1) {
		uint32_t count = 1 + get_u16(data + 1) % MAP_LEAF_BLOCKS;

		if (!map_leaf_read(data + 3, bytes - 3, count, &packs, refs))
			for (uint32_t i = 0; i < count; i++)
				if (!ref_is_zero(refs[i]) && (refs[i].slot >= FRAME_BLOCKS_MAX ||
							      refs[i].number >= PACK_FRAMES_MAX))
					abort();
	} else {
		map_inner_read(data + 3, bytes - 3, 1 + data[1] % MAP_FANOUT, &packs, refs);
	}
	return 0;
}
#elif TARGET == 3
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct pack_header header;
	struct pack_table table;
	uint32_t frames;

	if (bytes >= PACK_TRAILER_BYTES)
		pack_trailer_read(data, &frames);
	if (bytes >= PACK_HEADER_BYTES)
		pack_header_read(data, &header);
	if (bytes < 4 || pack_table_read(data + 4, bytes - 4, get_u32(data), &table))
		return 0;
	for (uint32_t i = 0; i < table.frame_count; i++)
		if ((uint64_t)table.entries[i].offset + table.entries[i].stored_bytes >
		    table.table_offset)
			abort();
	pack_table_release(&table);
	return 0;
}
#else
/* Damaged frames, and correctly sealed ones whose compressed text is the fuzzer's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct frame_codec *codec;
	static uint8_t plain[FRAME_PLAIN_MAX], sealed[FRAME_STORED_MAX];
	static const uint8_t key[32];
	struct frame_header header = {.kind = FRAME_DATA};

	if (!codec)
		codec = frame_codec_new();
	if (!frame_open(codec, key, data, bytes, &header, plain, FRAME_PLAIN_MAX))
		abort(); /* nobody can make a tag without the key */
	if (!bytes || bytes > FRAME_PLAIN_MAX)
		return 0;
	header = (struct frame_header){.kind = FRAME_MAP, .number = data[0]};
	if (frame_seal(codec, key, &header, data, bytes, 1, sealed) ||
	    frame_open(codec, key, sealed, header.stored_bytes, &header, plain, FRAME_PLAIN_MAX) ||
	    header.plain_bytes != bytes || memcmp(plain, data, bytes))
		abort();
	sealed[data[bytes - 1] % header.stored_bytes] ^= 1 | data[bytes / 2];
	if (!frame_open(codec, key, sealed, header.stored_bytes, &header, plain, FRAME_PLAIN_MAX))
		abort();
	return 0;
}
#endif
