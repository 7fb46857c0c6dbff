/*
 * bytes.h: little-endian numbers, a bounds-checked reader and bitmaps for the store's formats.
 */
#ifndef STORE_BYTES_H
#define STORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void put_u16(uint8_t *to, uint16_t value)
{
	to[0] = (uint8_t)value;
	to[1] = (uint8_t)(value >> 8);
}

static inline void put_u32(uint8_t *to, uint32_t value)
{
	put_u16(to, (uint16_t)value);
	put_u16(to + 2, (uint16_t)(value >> 16));
}

static inline void put_u64(uint8_t *to, uint64_t value)
{
	put_u32(to, (uint32_t)value);
	put_u32(to + 4, (uint32_t)(value >> 32));
}

static inline uint16_t get_u16(const uint8_t *from)
{
	return (uint16_t)(from[0] | from[1] << 8);
}

static inline uint32_t get_u32(const uint8_t *from)
{
	return get_u16(from) | (uint32_t)get_u16(from + 2) << 16;
}

static inline uint64_t get_u64(const uint8_t *from)
{
	return get_u32(from) | (uint64_t)get_u32(from + 4) << 32;
}

/** What is left to read; @bad sticks once anything was missing or malformed. */
struct reader {
	const uint8_t *at;
	size_t left;
	bool bad;
};

/** Takes @bytes; NULL (and bad) if there are fewer. */
static inline const uint8_t *reader_take(struct reader *reader, size_t bytes)
{
	const uint8_t *at = reader->at;

	if (reader->bad || reader->left < bytes) {
		reader->bad = true;
		return NULL;
	}
	reader->at += bytes;
	reader->left -= bytes;
	return at;
}

static inline uint32_t reader_u32(struct reader *reader)
{
	const uint8_t *at = reader_take(reader, 4);

	return at ? get_u32(at) : 0;
}

static inline uint64_t reader_u64(struct reader *reader)
{
	const uint8_t *at = reader_take(reader, 8);

	return at ? get_u64(at) : 0;
}

/** A variable-length number: 7 bits a byte, lowest first, at most 5 bytes, shortest form only. */
static inline uint32_t reader_varint(struct reader *reader)
{
	uint64_t value = 0;

	for (unsigned int shift = 0; shift < 35; shift += 7) {
		const uint8_t *at = reader_take(reader, 1);

		if (!at)
			return 0;
		value |= (uint64_t)(*at & 0x7f) << shift;
		if (*at & 0x80)
			continue;
		if (value > UINT32_MAX || (shift && !*at))
			break;
		return (uint32_t)value;
	}
	reader->bad = true;
	return 0;
}

/** Writes @value as reader_varint() reads it; returns its length (at most 5). */
static inline size_t put_varint(uint8_t *to, uint32_t value)
{
	size_t length = 0;

	while (value >= 0x80) {
		to[length++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	to[length++] = (uint8_t)value;
	return length;
}

static inline size_t bitmap_bytes(size_t bits)
{
	return (bits + 7) / 8;
}

static inline bool bitmap_get(const uint8_t *map, size_t bit)
{
	return map[bit / 8] >> (bit % 8) & 1;
}

static inline void bitmap_set(uint8_t *map, size_t bit)
{
	map[bit / 8] |= (uint8_t)(1u << (bit % 8));
}

static inline void bitmap_clear(uint8_t *map, size_t bit)
{
	map[bit / 8] &= (uint8_t) ~(1u << (bit % 8));
}

#endif
