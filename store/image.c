/* image.c: see image.h. Caches a few map pages and decoded frames, the oldest of each is replaced. */
#include "store/image.h"
#include "store/bytes.h"
#include "store/store_private.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#define CACHED_FRAMES 16
#define CACHED_LEAVES 16

struct image_pack {
	struct pack_table table;
	uint8_t *present;
	bool is_here; /* its file was there when last asked */
	uint8_t key[32];
};

struct cached_frame {
	uint8_t *plain;
	struct block_ref ref;
	int bytes;
	uint64_t used;
};

struct cached_leaf {
	struct block_ref *refs;
	uint64_t leaf;
	uint64_t used;
};

/* The inner pages on the way to the last leaf: one for each level above the leaves. */
struct cached_inner {
	uint64_t page;
	struct block_ref children[MAP_FANOUT];
};

struct image {
	struct store *store;
	struct manifest manifest;
	struct image_pack *packs;
	struct frame_codec *codec;
	uint8_t *scratch, *page;
	struct cached_frame frames[CACHED_FRAMES];
	struct cached_leaf leaves[CACHED_LEAVES];
	struct cached_inner inner[MAP_LEVELS_MAX];
	uint64_t clock;
};

static int look_for_file(struct image *image, struct image_pack *pack, const uint8_t salt[SALT_BYTES])
{
	struct pack_file *use;
	int error = pack_files_take(&image->store->packs, salt, STORE_OPEN_READ, &use);

	if (error)
		return error == -ENOENT ? -ENODATA : error;
	pack_files_give_back(&image->store->packs, use);
	pack->is_here = true;
	return 0;
}

/* Takes what the catalogue says now. */
static int refresh_pack(struct image *image, uint32_t number)
{
	const struct manifest_pack *wanted = &image->manifest.packs[number];
	struct image_pack *pack = &image->packs[number];
	struct pack_row row;
	int error = catalogue_find_pack(image->store->catalogue, wanted->salt, &row);

	if (error)
		return error == -ENOENT ? -ENODATA : error;
	if (row.frame_count != wanted->frame_count || row.table_offset != wanted->table_offset ||
	    memcmp(row.table_name, wanted->table_name, NAME_BYTES))
		error = -EBADMSG;
	if (!error && !pack->is_here)
		error = look_for_file(image, pack, row.salt);
	if (!error && !pack->table.entries)
		error = store_read_table(image->store, &row, &pack->table);
	if (!error) {
		for (size_t i = 0; i < bitmap_bytes(row.frame_count); i++)
			row.present[i] &= (uint8_t)~row.leaving[i];
		free(pack->present);
		pack->present = row.present;
		row.present = NULL;
	}
	pack_row_release(&row);
	return error;
}

static int open_packs(struct image *image, const struct domain *domain)
{
	int error = 0;

	image->packs = calloc(image->manifest.pack_count, sizeof(*image->packs));
	if (!image->packs)
		return -ENOMEM;
	for (uint32_t i = 0; i < image->manifest.pack_count && !error; i++) {
		error = domain_pack_key(domain, image->manifest.packs[i].salt,
					image->packs[i].key);
		if (!error)
			error = refresh_pack(image, i);
		if (error == -ENODATA)
			error = 0;
	}
	return error;
}

int image_open(struct store *store, const struct domain *domain,
	       const uint8_t version[VERSION_ID_BYTES], struct image **opened,
	       struct problem *problem)
{
	struct image *image = calloc(1, sizeof(*image));
	int error;

	if (!image)
		return -ENOMEM;
	image->store = store;
	for (uint32_t i = 0; i < MAP_LEVELS_MAX; i++)
		image->inner[i].page = UINT64_MAX;
	error = store_read_manifest(store, version, &image->manifest, problem);
	if (!error && memcmp(image->manifest.domain_id, domain->id, DOMAIN_ID_BYTES))
		error = problem_set(problem, -EKEYREJECTED, "the version %s belongs to another "
							    "domain; give that domain's key",
				    image->manifest.label);
	if (!error)
		error = open_packs(image, domain);
	image->codec = frame_codec_new();
	image->scratch = malloc(FRAME_STORED_MAX);
	image->page = malloc(FRAME_PLAIN_MAX);
	if (!error && (!image->codec || !image->scratch || !image->page))
		error = -ENOMEM;
	if (!error) {
		*opened = image;
		return 0;
	}
	problem_errno(problem, error, "cannot open the version");
	image_close(image);
	return error;
}

void image_close(struct image *image)
{
	if (!image)
		return;
	for (uint32_t i = 0; image->packs && i < image->manifest.pack_count; i++) {
		struct image_pack *pack = &image->packs[i];

		pack_table_release(&pack->table);
		free(pack->present);
		OPENSSL_cleanse(pack->key, sizeof(pack->key));
	}
	free(image->packs);
	for (int i = 0; i < CACHED_FRAMES; i++)
		free(image->frames[i].plain);
	for (int i = 0; i < CACHED_LEAVES; i++)
		free(image->leaves[i].refs);
	frame_codec_free(image->codec);
	free(image->scratch);
	free(image->page);
	manifest_release(&image->manifest);
	free(image);
}

const struct manifest *image_manifest(const struct image *image)
{
	return &image->manifest;
}

static bool ref_valid(const struct image *image, struct block_ref ref)
{
	return ref.pack < image->manifest.pack_count &&
	       ref.number < image->manifest.packs[ref.pack].frame_count;
}

int image_frame_at(struct image *image, struct block_ref ref, struct image_frame *frame)
{
	struct pack_table *table;

	if (!ref_valid(image, ref))
		return -EINVAL;
	table = &image->packs[ref.pack].table;
	memset(frame, 0, sizeof(*frame));
	frame->pack = ref.pack;
	memcpy(frame->address.salt, image->manifest.packs[ref.pack].salt, SALT_BYTES);
	frame->address.number = ref.number;
	/* Without the table there is no place yet: fetching the version brings tables first. */
	if (table->entries) {
		frame->offset = table->entries[ref.number].offset;
		frame->stored_bytes = table->entries[ref.number].stored_bytes;
	}
	return 0;
}

static bool present_now(const struct image *image, struct block_ref ref)
{
	const struct image_pack *pack = &image->packs[ref.pack];

	return pack->present && pack->table.entries && bitmap_get(pack->present, ref.number);
}

bool image_has_frame(struct image *image, struct block_ref ref)
{
	if (!ref_valid(image, ref))
		return false;
	return present_now(image, ref) ||
	       (!refresh_pack(image, ref.pack) && present_now(image, ref));
}

int image_load_frame(struct image *image, struct frame_codec *codec, struct block_ref ref,
		     uint8_t *scratch, uint8_t *plain)
{
	const struct pack_entry *entry;
	struct image_pack *pack;
	struct frame_header header;
	struct pack_file *use;
	int error;

	if (!ref_valid(image, ref))
		return -EBADMSG;
	if (!present_now(image, ref))
		return -ENODATA;
	pack = &image->packs[ref.pack];
	entry = &pack->table.entries[ref.number];
	error = pack_files_take(&image->store->packs, pack->table.salt, STORE_OPEN_READ, &use);
	if (error)
		return error == -ENOENT ? -ENODATA : error;
	error = store_file_read_all(use->file, scratch, entry->stored_bytes, entry->offset);
	pack_files_give_back(&image->store->packs, use);
	if (error)
		return error == -ENODATA ? -EBADMSG : error;
	error = frame_open(codec, pack->key, scratch, entry->stored_bytes, &header, plain,
			   FRAME_PLAIN_MAX);
	if (error)
		return error;
	if (header.kind != entry->kind || header.number != ref.number ||
	    memcmp(header.salt, pack->table.salt, SALT_BYTES) ||
	    (entry->blocks && header.plain_bytes != entry->blocks * BLOCK_BYTES))
		return -EBADMSG;
	return (int)header.plain_bytes;
}

/* Loads a frame into image->page or a cache slot, looking once more for one that was missing. */
static int load_frame(struct image *image, struct block_ref ref, uint8_t *plain, uint8_t kind,
		      struct image_frame *missing)
{
	int bytes;

	image_has_frame(image, ref);
	bytes = image_load_frame(image, image->codec, ref, image->scratch, plain);
	if (bytes > 0 && image->packs[ref.pack].table.entries[ref.number].kind != kind)
		bytes = -EBADMSG;
	if (bytes < 0 && missing)
		image_frame_at(image, ref, missing);
	return bytes;
}

static int find_pack(void *context, const uint8_t salt[SALT_BYTES], uint32_t *pack)
{
	const struct manifest *manifest = context;
	uint32_t low = 0, high = manifest->pack_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		int order = memcmp(manifest->packs[middle].salt, salt, SALT_BYTES);

		if (!order) {
			*pack = middle;
			return 0;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -ENOENT;
}

static int root_ref(struct image *image, struct block_ref *ref)
{
	uint32_t pack;

	if (find_pack(&image->manifest, image->manifest.map_root.salt, &pack))
		return -EBADMSG;
	*ref = (struct block_ref){pack, (uint16_t)image->manifest.map_root.number, 0};
	return 0;
}

int image_leaf_ref(struct image *image, uint64_t leaf, struct block_ref *ref,
		   struct image_frame *missing)
{
	struct map_packs packs = {.find = find_pack, .context = &image->manifest};
	uint64_t leaves =
	    (manifest_blocks(&image->manifest) + MAP_LEAF_BLOCKS - 1) / MAP_LEAF_BLOCKS;
	int error = root_ref(image, ref);

	for (uint32_t level = image->manifest.map_levels - 1; level > 0 && !error; level--) {
		struct cached_inner *inner = &image->inner[level];
		uint64_t below = 1, pages, page, count;

		if (ref_is_zero(*ref))
			return 0;
		for (uint32_t i = 1; i < level; i++)
			below *= MAP_FANOUT;
		page = leaf / below / MAP_FANOUT;
		pages = (leaves + below - 1) / below;
		count = pages - page * MAP_FANOUT;
		if (count > MAP_FANOUT)
			count = MAP_FANOUT;
		if (inner->page != page) {
			int bytes = load_frame(image, *ref, image->page, FRAME_MAP, missing);

			inner->page = UINT64_MAX;
			if (bytes < 0)
				return bytes;
			error = map_inner_read(image->page, (size_t)bytes, (uint32_t)count, &packs,
					       inner->children);
			if (error)
				return error;
			inner->page = page;
		}
		*ref = inner->children[leaf / below % MAP_FANOUT];
	}
	return error;
}

int image_leaf(struct image *image, uint64_t leaf, struct block_ref *refs,
	       struct image_frame *missing)
{
	struct map_packs packs = {.find = find_pack, .context = &image->manifest};
	uint64_t blocks = manifest_blocks(&image->manifest);
	uint32_t count;
	struct block_ref ref;
	int error, bytes;

	if (leaf * MAP_LEAF_BLOCKS >= blocks)
		return -EINVAL;
	count = blocks - leaf * MAP_LEAF_BLOCKS > MAP_LEAF_BLOCKS
		    ? MAP_LEAF_BLOCKS
		    : (uint32_t)(blocks - leaf * MAP_LEAF_BLOCKS);
	error = image_leaf_ref(image, leaf, &ref, missing);
	if (error)
		return error;
	if (ref_is_zero(ref)) {
		for (uint32_t i = 0; i < count; i++)
			refs[i] = ref;
		return (int)count;
	}
	bytes = load_frame(image, ref, image->page, FRAME_MAP, missing);
	if (bytes < 0)
		return bytes;
	error = map_leaf_read(image->page, (size_t)bytes, count, &packs, refs);
	return error ? error : (int)count;
}

/* The leaf that describes a block, cached. */
static int cached_leaf(struct image *image, uint64_t leaf, const struct block_ref **refs,
		       struct image_frame *missing)
{
	struct cached_leaf *oldest = &image->leaves[0];
	int count;

	for (int i = 0; i < CACHED_LEAVES; i++) {
		struct cached_leaf *entry = &image->leaves[i];

		if (entry->used && entry->leaf == leaf) {
			entry->used = ++image->clock;
			*refs = entry->refs;
			return 0;
		}
		if (entry->used < oldest->used)
			oldest = entry;
	}
	if (!oldest->refs && !(oldest->refs = calloc(MAP_LEAF_BLOCKS, sizeof(*oldest->refs))))
		return -ENOMEM;
	oldest->used = 0;
	count = image_leaf(image, leaf, oldest->refs, missing);
	if (count < 0)
		return count;
	oldest->leaf = leaf;
	oldest->used = ++image->clock;
	*refs = oldest->refs;
	return 0;
}

int image_locate(struct image *image, uint64_t first, uint32_t count, struct block_ref *refs,
		 struct image_frame *missing)
{
	uint64_t blocks = manifest_blocks(&image->manifest);

	if (first > blocks || count > blocks - first)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		const struct block_ref *leaf;
		int error = cached_leaf(image, (first + i) / MAP_LEAF_BLOCKS, &leaf, missing);

		if (error)
			return error;
		refs[i] = leaf[(first + i) % MAP_LEAF_BLOCKS];
	}
	return 0;
}

static int cached_frame(struct image *image, struct block_ref ref, const uint8_t **plain,
			struct image_frame *missing)
{
	struct cached_frame *oldest = &image->frames[0];
	int bytes;

	for (int i = 0; i < CACHED_FRAMES; i++) {
		struct cached_frame *entry = &image->frames[i];

		if (entry->used && entry->ref.pack == ref.pack && entry->ref.number == ref.number) {
			entry->used = ++image->clock;
			*plain = entry->plain;
			return entry->bytes;
		}
		if (entry->used < oldest->used)
			oldest = entry;
	}
	if (!oldest->plain && !(oldest->plain = malloc(FRAME_PLAIN_MAX)))
		return -ENOMEM;
	oldest->used = 0;
	bytes = load_frame(image, ref, oldest->plain, FRAME_DATA, missing);
	if (bytes < 0)
		return bytes;
	oldest->ref = ref;
	oldest->bytes = bytes;
	oldest->used = ++image->clock;
	*plain = oldest->plain;
	return bytes;
}

int image_read(struct image *image, uint64_t first, uint32_t count, void *buffer,
	       struct image_frame *missing)
{
	uint8_t *to = buffer;

	for (uint32_t i = 0; i < count; i++, to += BLOCK_BYTES) {
		const uint8_t *plain;
		struct block_ref ref;
		int bytes = image_locate(image, first + i, 1, &ref, missing);

		if (bytes)
			return bytes;
		if (ref_is_zero(ref)) {
			memset(to, 0, BLOCK_BYTES);
			continue;
		}
		bytes = cached_frame(image, ref, &plain, missing);
		if (bytes < 0)
			return bytes;
		if ((ref.slot + 1u) * BLOCK_BYTES > (uint32_t)bytes)
			return -EBADMSG;
		memcpy(to, plain + ref.slot * BLOCK_BYTES, BLOCK_BYTES);
	}
	return 0;
}
