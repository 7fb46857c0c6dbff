/*
 * map.c: see map.h. A page is: kind, number of salts, salts, then
 *   leaf:  runs. varint(length << 2 | how) and, by how,
 *          0 zero blocks; 1 the next frame of the same pack from slot 0; 2 varint pack, varint frame,
 *          varint slot, counting up; 3 as 2, but every block of the run is that one slot.
 *   inner: for each child varint 0 (zero), or varint(pack + 1), varint frame.
 */
#include "store/map.h"
#include "store/bytes.h"

#include <errno.h>

enum page_kind {
	PAGE_LEAF = 1,
	PAGE_INNER = 2,
};

enum run_how {
	RUN_ZERO = 0,
	RUN_NEXT = 1,
	RUN_AT = 2,
	RUN_REPEAT = 3,
};

#define PAGE_PACKS_MAX MAP_LEAF_BLOCKS

/* The salts of one page, while it is encoded. */
struct salts {
	const struct map_packs *packs;
	uint32_t count;
	uint32_t pack[PAGE_PACKS_MAX];
};

static uint32_t salt_index(struct salts *salts, uint32_t pack)
{
	/* The most recent first: runs cluster. */
	for (uint32_t i = salts->count; i-- > 0;)
		if (salts->pack[i] == pack)
			return i;
	salts->pack[salts->count] = pack;
	return salts->count++;
}

/* Puts head and salts before the @body_bytes that lie in @body; returns the page's length. */
static int assemble(enum page_kind kind, const struct salts *salts, const uint8_t *body,
		    size_t body_bytes, uint8_t *page)
{
	size_t at = 0;

	if (6 + (size_t)salts->count * SALT_BYTES + body_bytes > MAP_PAGE_MAX)
		return -EFBIG;
	page[at++] = (uint8_t)kind;
	at += put_varint(page + at, salts->count);
	for (uint32_t i = 0; i < salts->count; i++) {
		memcpy(page + at, salts->packs->salt(salts->packs->context, salts->pack[i]),
		       SALT_BYTES);
		at += SALT_BYTES;
	}
	memcpy(page + at, body, body_bytes);
	return (int)(at + body_bytes);
}

/* How many blocks from @refs on are one run, and of which kind. */
static uint32_t run_length(const struct block_ref *refs, uint32_t count, enum run_how *how)
{
	struct block_ref next = refs[0];
	uint32_t length = 1;

	*how = ref_is_zero(next) ? RUN_ZERO : RUN_AT;
	if (*how == RUN_AT && count > 1 && ref_same(refs[1], refs[0]))
		*how = RUN_REPEAT;
	while (length < count) {
		if (*how == RUN_AT)
			next.slot++;
		if (!ref_same(refs[length], next))
			break;
		length++;
	}
	return length;
}

int map_leaf_write(const struct block_ref *refs, uint32_t count, const struct map_packs *packs,
		   uint8_t *page)
{
	struct salts salts = {.packs = packs};
	/* 4096 runs of at most 2 + 2 + 2 + 2 bytes, and room for longer numbers. */
	uint8_t body[MAP_LEAF_BLOCKS * 10];
	struct block_ref last = {REF_ZERO_PACK, 0, 0};
	size_t at = 0;

	for (uint32_t i = 0; i < count;) {
		enum run_how how;
		uint32_t length = run_length(refs + i, count - i, &how);
		struct block_ref ref = refs[i];

		if (how == RUN_AT && !ref_is_zero(last) && ref.pack == last.pack &&
		    ref.number == last.number + 1 && !ref.slot)
			how = RUN_NEXT;
		at += put_varint(body + at, length << 2 | how);
		if (how == RUN_AT || how == RUN_REPEAT) {
			at += put_varint(body + at, salt_index(&salts, ref.pack));
			at += put_varint(body + at, ref.number);
			at += put_varint(body + at, ref.slot);
		}
		if (how != RUN_ZERO)
			last = ref;
		i += length;
	}
	return assemble(PAGE_LEAF, &salts, body, at, page);
}

/* Reads head and salts into pack numbers. */
static void read_head(struct reader *reader, enum page_kind kind, const struct map_packs *packs,
		      uint32_t *table, uint32_t *table_count)
{
	const uint8_t *at = reader_take(reader, 1);

	if (at && *at != kind)
		reader->bad = true;
	*table_count = reader_varint(reader);
	if (*table_count > PAGE_PACKS_MAX)
		reader->bad = true;
	for (uint32_t i = 0; i < *table_count && !reader->bad; i++) {
		at = reader_take(reader, SALT_BYTES);
		if (at && packs->find(packs->context, at, &table[i]))
			reader->bad = true;
	}
}

/* The first reference of a run; false if the run is malformed. */
static bool read_run(struct reader *reader, enum run_how how, const uint32_t *table,
		     uint32_t table_count, struct block_ref *last)
{
	uint32_t pack, number, slot;

	if (how == RUN_NEXT) {
		if (ref_is_zero(*last) || last->number + 1u >= PACK_FRAMES_MAX)
			return false;
		last->number++;
		last->slot = 0;
		return true;
	}
	pack = reader_varint(reader);
	number = reader_varint(reader);
	slot = reader_varint(reader);
	if (reader->bad || pack >= table_count || number >= PACK_FRAMES_MAX ||
	    slot >= FRAME_BLOCKS_MAX)
		return false;
	last->pack = table[pack];
	last->number = (uint16_t)number;
	last->slot = (uint16_t)slot;
	return true;
}

int map_leaf_read(const uint8_t *page, size_t bytes, uint32_t count, const struct map_packs *packs,
		  struct block_ref *refs)
{
	struct reader reader = {page, bytes, false};
	uint32_t table[PAGE_PACKS_MAX], table_count, done = 0;
	struct block_ref last = {REF_ZERO_PACK, 0, 0};

	read_head(&reader, PAGE_LEAF, packs, table, &table_count);
	while (!reader.bad && done < count) {
		uint32_t head = reader_varint(&reader), length = head >> 2;
		enum run_how how = head & 3;
		struct block_ref ref = {REF_ZERO_PACK, 0, 0};

		if (reader.bad || !length || length > count - done)
			return -EBADMSG;
		if (how != RUN_ZERO) {
			if (!read_run(&reader, how, table, table_count, &last))
				return -EBADMSG;
			ref = last;
		}
		if ((how == RUN_AT || how == RUN_NEXT) && ref.slot + length > FRAME_BLOCKS_MAX)
			return -EBADMSG;
		for (uint32_t i = 0; i < length; i++) {
			refs[done++] = ref;
			if (how == RUN_AT || how == RUN_NEXT)
				ref.slot++;
		}
	}
	return reader.bad || reader.left ? -EBADMSG : 0;
}

int map_inner_write(const struct block_ref *children, uint32_t count, const struct map_packs *packs,
		    uint8_t *page)
{
	struct salts salts = {.packs = packs};
	uint8_t body[MAP_FANOUT * 10];
	size_t at = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (ref_is_zero(children[i])) {
			at += put_varint(body + at, 0);
			continue;
		}
		at += put_varint(body + at, salt_index(&salts, children[i].pack) + 1);
		at += put_varint(body + at, children[i].number);
	}
	return assemble(PAGE_INNER, &salts, body, at, page);
}

int map_inner_read(const uint8_t *page, size_t bytes, uint32_t count, const struct map_packs *packs,
		   struct block_ref *children)
{
	struct reader reader = {page, bytes, false};
	uint32_t table[PAGE_PACKS_MAX], table_count;

	read_head(&reader, PAGE_INNER, packs, table, &table_count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t pack = reader_varint(&reader), number = 0;

		children[i] = (struct block_ref){REF_ZERO_PACK, 0, 0};
		if (!pack || reader.bad)
			continue;
		number = reader_varint(&reader);
		if (reader.bad || pack > table_count || number >= PACK_FRAMES_MAX)
			return -EBADMSG;
		children[i].pack = table[pack - 1];
		children[i].number = (uint16_t)number;
	}
	return reader.bad || reader.left ? -EBADMSG : 0;
}
