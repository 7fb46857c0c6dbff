/*
 * publish_map.c: from where every block is to the pages of the map and the list of used frames.
 *
 * Before pages are written, old frames of which too little is used are given up: their blocks are
 * stored anew, so that a PC which has nothing does not fetch whole frames for single blocks.
 */
#include "store/bytes.h"
#include "store/publish_private.h"

#include <errno.h>
#include <stdlib.h>

/*
 * Old frames are given up from the least used on. As many as it takes until what a fresh PC would
 * fetch of them in vain is at most 4.5 % of what the version needs; further ones that are used by
 * less than one half (measured: a fresh fetch is then at most 1.01 of what it needs) while their
 * blocks, stored anew, add at most 15 % to what a PC with the version before it must fetch.
 */
#define USE_STEPS	64u
#define USE_HALF	(USE_STEPS / 2)
#define WASTE_PERMILLE	45u
#define AGAIN_PERMILLE	150u
#define MOVES_MAX	(1u << 21)

struct spill_run {
	struct block_ref ref;
	uint32_t count; /* highest bit: the same slot again and again */
};

#define SPILL_REPEAT 0x80000000u

int publish_spill_leaf(FILE *spill, const struct block_ref *refs, uint32_t count)
{
	for (uint32_t i = 0; i < count;) {
		bool repeat = ref_is_zero(refs[i]) ||
			      (i + 1 < count && ref_same(refs[i], refs[i + 1]));
		struct spill_run run = {refs[i], 1};
		struct block_ref next = refs[i];

		for (; i + run.count < count; run.count++) {
			if (!repeat)
				next.slot++;
			if (!ref_same(refs[i + run.count], next))
				break;
		}
		i += run.count;
		if (repeat)
			run.count |= SPILL_REPEAT;
		if (fwrite(&run, sizeof(run), 1, spill) != 1)
			return errno ? -errno : -EIO;
	}
	return 0;
}

int publish_unspill_leaf(FILE *spill, struct block_ref *refs, uint32_t count)
{
	uint32_t done = 0;

	while (done < count) {
		struct spill_run run;
		uint32_t length;

		if (fread(&run, sizeof(run), 1, spill) != 1)
			return -EIO;
		length = run.count & ~SPILL_REPEAT;
		for (uint32_t i = 0; i < length && done < count; i++) {
			refs[done++] = run.ref;
			if (!(run.count & SPILL_REPEAT))
				run.ref.slot++;
		}
	}
	return 0;
}

/* A leaf of the base with the catalogue's pack numbers; zeros beyond its end. */
int publish_base_leaf(struct publication *work, uint64_t leaf, struct block_ref *refs)
{
	int count = image_leaf(work->base, leaf, refs, NULL);

	if (count == -EINVAL)
		count = 0;
	if (count < 0)
		return count;
	for (int i = 0; i < count; i++)
		if (!ref_is_zero(refs[i]))
			refs[i].pack = work->base_ids[refs[i].pack];
	for (uint32_t i = (uint32_t)count; i < MAP_LEAF_BLOCKS; i++)
		refs[i] = (struct block_ref){REF_ZERO_PACK, 0, 0};
	return 0;
}

/* What is used and not used of old frames, by how many of USE_STEPS parts of them are used. */
struct usage {
	uint64_t used_bytes[USE_STEPS + 1];
	uint64_t wasted_bytes[USE_STEPS + 1];
	uint32_t least; /* frames below this are given up */
	uint64_t moves;
};

static void count_frame(struct usage *usage, struct known_pack *pack, uint32_t number,
			const struct pack_entry *entry)
{
	uint32_t used = (uint32_t)__builtin_popcountll(pack->slots[number]);
	uint64_t needed;

	if (!used || entry->kind != FRAME_DATA || used > entry->blocks)
		return;
	needed = (uint64_t)entry->stored_bytes * used / entry->blocks;
	usage->used_bytes[used * USE_STEPS / entry->blocks] += needed;
	usage->wasted_bytes[used * USE_STEPS / entry->blocks] += entry->stored_bytes - needed;
}

static void reject_frame(struct usage *usage, struct known_pack *pack, uint32_t number,
			 const struct pack_entry *entry)
{
	uint32_t used = (uint32_t)__builtin_popcountll(pack->slots[number]);

	if (used && entry->kind == FRAME_DATA && usage->moves + used <= MOVES_MAX &&
	    used * USE_STEPS < usage->least * entry->blocks) {
		bitmap_set(pack->rejected, number);
		usage->moves += used;
	}
}

/* Calls @each for every frame of the old packs that the version uses anything of. */
static int each_old_frame(struct publication *work, struct usage *usage,
			  void (*each)(struct usage *usage, struct known_pack *pack, uint32_t number,
				       const struct pack_entry *entry))
{
	for (uint32_t p = 0; p < work->pack_count; p++) {
		struct known_pack *pack = &work->packs[p];
		struct pack_row row = {.id = pack->id};
		struct pack_table table;
		bool any = false;
		int error;

		for (uint32_t i = 0; !pack->fresh && i < pack->frame_count && !any; i++)
			any = pack->slots[i];
		if (!any)
			continue;
		row.frame_count = pack->frame_count;
		row.table_offset = pack->table_offset;
		memcpy(row.salt, pack->salt, SALT_BYTES);
		memcpy(row.table_name, pack->table_name, NAME_BYTES);
		error = store_read_table(work->store, &row, &table);
		if (error)
			return error;
		for (uint32_t i = 0; i < pack->frame_count; i++)
			each(usage, pack, i, &table.entries[i]);
		pack_table_release(&table);
	}
	return 0;
}

static uint32_t choose_least(const struct usage *usage, uint64_t new_bytes)
{
	uint64_t needed = new_bytes, wasted = 0, again = 0;
	uint32_t least = 0;

	for (uint32_t step = 0; step <= USE_STEPS; step++) {
		needed += usage->used_bytes[step];
		wasted += usage->wasted_bytes[step];
	}
	for (; least < USE_STEPS; least++) {
		again += usage->used_bytes[least];
		if (wasted * 1000 <= needed * WASTE_PERMILLE &&
		    (least >= USE_HALF || again * 1000 > new_bytes * AGAIN_PERMILLE))
			break;
		wasted -= usage->wasted_bytes[least];
	}
	return least;
}

/* Finds the old frames that are used too little. */
static int reject_frames(struct publication *work)
{
	struct usage usage = {.least = 0};
	uint64_t new_bytes = 0;
	int error = each_old_frame(work, &usage, count_frame);

	for (const struct pack_writer *writer = work->writers; writer; writer = writer->next)
		new_bytes += writer->offset;
	usage.least = choose_least(&usage, new_bytes);
	return error || !usage.least ? error : each_old_frame(work, &usage, reject_frame);
}

/* Where blocks of given-up frames went. */
struct move {
	struct block_ref from, to;
};

struct moves {
	struct move *slots;
	uint32_t room, count;
	struct hasher *hasher;
	uint8_t *scratch;
};

static struct move *move_slot(const struct moves *moves, struct block_ref from)
{
	uint64_t hash = ((uint64_t)from.pack << 32 | (uint64_t)from.number << 16 | from.slot) *
			0x9e3779b97f4a7c15ull;
	uint32_t at = (uint32_t)(hash >> 32) & (moves->room - 1);

	while (moves->slots[at].from.pack && !ref_same(moves->slots[at].from, from))
		at = (at + 1) & (moves->room - 1);
	return &moves->slots[at];
}

static int grow_moves(struct moves *moves)
{
	struct moves grown = *moves;

	if (2 * moves->count < moves->room)
		return 0;
	grown.room = moves->room ? 2 * moves->room : 1024;
	grown.slots = calloc(grown.room, sizeof(*grown.slots));
	if (!grown.slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < moves->room; i++)
		if (moves->slots[i].from.pack)
			*move_slot(&grown, moves->slots[i].from) = moves->slots[i];
	free(moves->slots);
	*moves = grown;
	return 0;
}

static bool any_place(void *context, struct block_ref ref)
{
	return true;
}

/* Reads one block again and stores it in a new frame. */
static int move_block(struct publication *work, struct moves *moves, uint64_t block,
		      struct block_ref from, struct block_ref *to)
{
	uint8_t data[BLOCK_BYTES], plain[1][NAME_BYTES], name[1][NAME_BYTES];
	const uint8_t *blocks[1] = {data};
	uint64_t offset = block * BLOCK_BYTES;
	uint64_t bytes = work->source->bytes - offset;
	struct open_frame *full = NULL;
	struct block_ref known;
	int error;

	memset(data, 0, sizeof(data));
	error = work->source->read(work->source->context, data,
				   bytes < BLOCK_BYTES ? bytes : BLOCK_BYTES, offset);
	if (!error)
		error = hasher_run(moves->hasher, blocks, 1, plain, name);
	if (!error)
		error = index_find(work->index, name[0], any_place, NULL, &known);
	if (error == -ENOENT || (!error && publish_alive(work, known) && !ref_same(known, from)))
		return problem_set(work->problem, -ESTALE,
				   "the disk changed while it was read; publish from a snapshot, or "
				   "with its machine stopped");
	if (!error)
		error = publish_store_block(work, data, to, &full);
	if (!error)
		error = index_add(work->index, name[0], *to);
	if (full)
		publish_seal_frames(work, work->codec, moves->scratch, full);
	work->result->new_blocks--;
	work->result->moved_blocks++;
	return error;
}

static int move_refs(struct publication *work, struct moves *moves, struct block_ref *refs,
		     uint32_t count, uint64_t first)
{
	for (uint32_t i = 0; i < count; i++) {
		struct known_pack *pack;
		struct move *move;
		int error;

		if (ref_is_zero(refs[i]))
			continue;
		pack = publish_pack(work, refs[i].pack);
		if (!pack)
			return -ESTALE;
		if (pack->fresh || !bitmap_get(pack->rejected, refs[i].number))
			continue;
		error = grow_moves(moves);
		if (error)
			return error;
		move = move_slot(moves, refs[i]);
		if (!move->from.pack) {
			error = move_block(work, moves, first + i, refs[i], &move->to);
			if (error)
				return error;
			move->from = refs[i];
			moves->count++;
		}
		refs[i] = move->to;
	}
	return 0;
}

static const uint8_t *salt_of(void *context, uint32_t id)
{
	return publish_pack(context, id)->salt;
}

static int store_inner(struct publication *work, uint32_t level, struct block_ref *ref)
{
	struct map_packs packs = {.salt = salt_of, .context = work};
	uint32_t count = work->child_count[level];
	/* The root is a page even of an empty disk. */
	bool zero = level + 1 < manifest_map_levels(work->blocks);
	uint8_t *page;
	int bytes, error;

	for (uint32_t i = 0; i < count && zero; i++)
		zero = ref_is_zero(work->children[level][i]);
	*ref = (struct block_ref){REF_ZERO_PACK, 0, 0};
	work->child_count[level] = 0;
	if (zero)
		return 0;
	page = malloc(MAP_PAGE_MAX);
	if (!page)
		return -ENOMEM;
	bytes = map_inner_write(work->children[level], count, &packs, page);
	error = bytes < 0 ? bytes : publish_store_page(work, page, (size_t)bytes, ref);
	free(page);
	return error;
}

/* Adds a page to the level above it; full levels are written and move up. */
static int add_child(struct publication *work, uint32_t level, struct block_ref ref)
{
	for (; level < MAP_LEVELS_MAX; level++) {
		int error;

		work->children[level][work->child_count[level]++] = ref;
		if (work->child_count[level] < MAP_FANOUT)
			return 0;
		error = store_inner(work, level, &ref);
		if (error)
			return error;
	}
	return -EFBIG;
}

/* The base's page serves again if it says the same. */
static int base_page(struct publication *work, uint64_t leaf, const struct block_ref *refs,
		     uint32_t count, struct block_ref *ref)
{
	struct block_ref *old;
	int error;

	*ref = (struct block_ref){REF_ZERO_PACK, 0, 0};
	if (!work->base || leaf * MAP_LEAF_BLOCKS + count > manifest_blocks(image_manifest(work->base)))
		return -ENOENT;
	/* The last page of a disk of another size describes another number of blocks. */
	if (count < MAP_LEAF_BLOCKS && work->blocks != manifest_blocks(image_manifest(work->base)))
		return -ENOENT;
	old = malloc(MAP_LEAF_BLOCKS * sizeof(*old));
	if (!old)
		return -ENOMEM;
	error = publish_base_leaf(work, leaf, old);
	for (uint32_t i = 0; i < count && !error; i++)
		if (!ref_same(old[i], refs[i]))
			error = -ENOENT;
	free(old);
	if (!error)
		error = image_leaf_ref(work->base, leaf, ref, NULL);
	if (error || ref_is_zero(*ref))
		return error ? error : -ENOENT;
	ref->pack = work->base_ids[ref->pack];
	if (!publish_alive(work, *ref))
		return -ENOENT;
	publish_mark(work, *ref);
	return 0;
}

static int write_leaf(struct publication *work, uint64_t leaf, const struct block_ref *refs,
		      uint32_t count)
{
	struct map_packs packs = {.salt = salt_of, .context = work};
	struct block_ref ref = {REF_ZERO_PACK, 0, 0};
	uint32_t data = 0;
	uint8_t *page;
	int bytes, error;

	for (uint32_t i = 0; i < count; i++)
		data += !ref_is_zero(refs[i]);
	work->data_blocks += data;
	if (!data && work->blocks > MAP_LEAF_BLOCKS)
		return add_child(work, 1, ref);
	error = base_page(work, leaf, refs, count, &ref);
	if (error == -ENOENT) {
		page = malloc(MAP_PAGE_MAX);
		if (!page)
			return -ENOMEM;
		bytes = map_leaf_write(refs, count, &packs, page);
		error = bytes < 0 ? bytes : publish_store_page(work, page, (size_t)bytes, &ref);
		free(page);
	}
	return error ? error : add_child(work, 1, ref);
}

/* Closes every level up to the root. */
static int close_levels(struct publication *work, struct frame_address *root)
{
	uint32_t levels = manifest_map_levels(work->blocks);
	struct block_ref ref;
	int error = 0;

	for (uint32_t level = 1; level < levels && !error; level++) {
		if (!work->child_count[level])
			continue;
		error = store_inner(work, level, &ref);
		if (!error)
			error = add_child(work, level + 1, ref);
	}
	if (error)
		return error;
	ref = work->children[levels][0];
	if (work->child_count[levels] != 1 || ref_is_zero(ref))
		return -EIO;
	memcpy(root->salt, publish_pack(work, ref.pack)->salt, SALT_BYTES);
	root->number = ref.number;
	return 0;
}

static int write_leaves(struct publication *work, struct moves *moves)
{
	struct block_ref *refs = calloc(MAP_LEAF_BLOCKS, sizeof(*refs));
	int error = refs ? 0 : -ENOMEM;

	for (uint64_t leaf = 0; leaf * MAP_LEAF_BLOCKS < work->blocks && !error; leaf++) {
		uint64_t first = leaf * MAP_LEAF_BLOCKS;
		uint32_t count = work->blocks - first < MAP_LEAF_BLOCKS
				     ? (uint32_t)(work->blocks - first)
				     : MAP_LEAF_BLOCKS;

		error = publish_unspill_leaf(work->spill, refs, count);
		if (!error)
			error = move_refs(work, moves, refs, count, first);
		if (!error)
			error = write_leaf(work, leaf, refs, count);
	}
	free(refs);
	return error;
}

int publish_write_map(struct publication *work, struct frame_address *root)
{
	struct moves moves = {.hasher = hasher_new(work->domain), .scratch = malloc(FRAME_STORED_MAX)};
	int error = moves.hasher && moves.scratch ? 0 : -ENOMEM;

	/* An incremental version reads nothing but changes, so it moves nothing. */
	if (!error && !work->incremental)
		error = reject_frames(work);
	if (!error && fflush(work->spill))
		error = -errno;
	rewind(work->spill);
	if (!error)
		error = write_leaves(work, &moves);
	if (!error)
		error = publish_seal_frames(work, work->codec, moves.scratch,
					    publish_take_filling(work));
	if (!error)
		error = close_levels(work, root);
	free(moves.slots);
	free(moves.scratch);
	hasher_free(moves.hasher);
	return error;
}
