/* frame.c: see frame.h. */
#include "store/frame.h"
#include "store/bytes.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <zstd.h>

static const uint8_t magic[4] = {'B', 'H', 'F', '1'};

struct frame_codec {
	ZSTD_CCtx *compressor;
	ZSTD_DCtx *decompressor;
	EVP_CIPHER_CTX *cipher;
	uint8_t *scratch;
};

struct frame_codec *frame_codec_new(void)
{
	struct frame_codec *codec = calloc(1, sizeof(*codec));

	if (!codec)
		return NULL;
	codec->compressor = ZSTD_createCCtx();
	codec->decompressor = ZSTD_createDCtx();
	codec->cipher = EVP_CIPHER_CTX_new();
	codec->scratch = malloc(FRAME_STORED_MAX);
	if (codec->compressor && codec->decompressor && codec->cipher && codec->scratch)
		return codec;
	frame_codec_free(codec);
	return NULL;
}

void frame_codec_free(struct frame_codec *codec)
{
	if (!codec)
		return;
	ZSTD_freeCCtx(codec->compressor);
	ZSTD_freeDCtx(codec->decompressor);
	EVP_CIPHER_CTX_free(codec->cipher);
	free(codec->scratch);
	free(codec);
}

void frame_header_write(const struct frame_header *header, uint8_t data[FRAME_HEADER_BYTES])
{
	memset(data, 0, FRAME_HEADER_BYTES);
	memcpy(data, magic, sizeof(magic));
	data[4] = header->kind;
	data[5] = header->coding;
	put_u32(data + 8, header->number);
	put_u32(data + 12, header->plain_bytes);
	put_u32(data + 16, header->stored_bytes);
	memcpy(data + 24, header->salt, SALT_BYTES);
}

static bool header_plausible(const struct frame_header *header)
{
	uint32_t least = FRAME_HEADER_BYTES;

	if (header->kind < FRAME_DATA || header->kind > FRAME_TABLE || header->coding > FRAME_ZSTD)
		return false;
	if (header->kind == FRAME_TABLE) {
		if (header->coding != FRAME_RAW ||
		    header->plain_bytes > PACK_FRAMES_MAX * PACK_ENTRY_BYTES)
			return false;
	} else {
		least += FRAME_TAG_BYTES;
		if (!header->plain_bytes || header->plain_bytes > FRAME_PLAIN_MAX)
			return false;
		if (header->kind == FRAME_DATA && header->plain_bytes % BLOCK_BYTES)
			return false;
	}
	if (header->stored_bytes < least || header->stored_bytes > FRAME_STORED_MAX)
		return false;
	return header->coding == FRAME_ZSTD || header->stored_bytes == least + header->plain_bytes;
}

int frame_header_read(const uint8_t *data, size_t bytes, struct frame_header *header)
{
	if (bytes < FRAME_HEADER_BYTES || memcmp(data, magic, sizeof(magic)) || data[6] ||
	    data[7] || get_u32(data + 20))
		return -EBADMSG;
	header->kind = data[4];
	header->coding = data[5];
	header->number = get_u32(data + 8);
	header->plain_bytes = get_u32(data + 12);
	header->stored_bytes = get_u32(data + 16);
	memcpy(header->salt, data + 24, SALT_BYTES);
	return header_plausible(header) ? 0 : -EBADMSG;
}

/* AES-256-GCM in either direction; the tag lies behind the text. */
static int gcm(EVP_CIPHER_CTX *cipher, int encrypt, const uint8_t key[32],
	       const uint8_t header[FRAME_HEADER_BYTES], uint32_t number, const uint8_t *from,
	       size_t bytes, uint8_t *to, uint8_t tag[FRAME_TAG_BYTES])
{
	uint8_t nonce[12] = {0};
	int length;

	put_u32(nonce, number);
	if (EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, nonce, encrypt) != 1)
		return -EIO;
	if (!encrypt &&
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, FRAME_TAG_BYTES, tag) != 1)
		return -EIO;
	if (EVP_CipherUpdate(cipher, NULL, &length, header, FRAME_HEADER_BYTES) != 1 ||
	    EVP_CipherUpdate(cipher, to, &length, from, (int)bytes) != 1)
		return -EIO;
	if (EVP_CipherFinal_ex(cipher, to + length, &length) != 1)
		return encrypt ? -EIO : -EBADMSG;
	if (encrypt &&
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, FRAME_TAG_BYTES, tag) != 1)
		return -EIO;
	return 0;
}

int frame_seal(struct frame_codec *codec, const uint8_t key[32], struct frame_header *header,
	       const void *plain, size_t plain_bytes, int level, uint8_t *out)
{
	const uint8_t *text = codec->scratch;
	size_t text_bytes;

	if (!plain_bytes || plain_bytes > FRAME_PLAIN_MAX)
		return -EIO;
	text_bytes = ZSTD_compressCCtx(codec->compressor, codec->scratch, FRAME_STORED_MAX, plain,
				       plain_bytes, level);
	header->coding = FRAME_ZSTD;
	if (ZSTD_isError(text_bytes) || text_bytes >= plain_bytes) {
		header->coding = FRAME_RAW;
		text = plain;
		text_bytes = plain_bytes;
	}
	header->plain_bytes = (uint32_t)plain_bytes;
	header->stored_bytes = (uint32_t)(FRAME_HEADER_BYTES + text_bytes + FRAME_TAG_BYTES);
	frame_header_write(header, out);
	return gcm(codec->cipher, 1, key, out, header->number, text, text_bytes,
		   out + FRAME_HEADER_BYTES, out + FRAME_HEADER_BYTES + text_bytes);
}

int frame_open(struct frame_codec *codec, const uint8_t key[32], const uint8_t *data, size_t bytes,
	       struct frame_header *header, void *plain, size_t limit)
{
	uint8_t tag[FRAME_TAG_BYTES];
	uint8_t *text;
	size_t text_bytes, got;
	int error = frame_header_read(data, bytes, header);

	if (error)
		return error;
	if (header->kind == FRAME_TABLE || header->stored_bytes != bytes ||
	    header->plain_bytes > limit)
		return -EBADMSG;
	text_bytes = bytes - FRAME_HEADER_BYTES - FRAME_TAG_BYTES;
	memcpy(tag, data + bytes - FRAME_TAG_BYTES, FRAME_TAG_BYTES);
	text = header->coding == FRAME_RAW ? plain : codec->scratch;
	error = gcm(codec->cipher, 0, key, data, header->number, data + FRAME_HEADER_BYTES,
		    text_bytes, text, tag);
	if (error || header->coding == FRAME_RAW)
		return error;
	got = ZSTD_decompressDCtx(codec->decompressor, plain, header->plain_bytes, text, text_bytes);
	return !ZSTD_isError(got) && got == header->plain_bytes ? 0 : -EBADMSG;
}
