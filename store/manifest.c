/* manifest.c: see manifest.h. */
#include "store/manifest.h"
#include "store/bytes.h"
#include "store/pack.h"

#include <errno.h>
#include <stdlib.h>

static const uint8_t magic[8] = {'B', 'H', 'M', 'A', 'N', 'I', 'F', '1'};

#define FLAG_TREE_ROOT    1u
#define PACK_FIXED_BYTES (SALT_BYTES + NAME_BYTES + 8)

bool manifest_label_ok(const char *label)
{
	size_t length = strlen(label);

	if (!length || length > MANIFEST_LABEL_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
		if ((uint8_t)label[i] < 0x20 || label[i] == 0x7f)
			return false;
	return true;
}

uint64_t manifest_blocks(const struct manifest *manifest)
{
	return (manifest->disk_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
}

uint32_t manifest_map_levels(uint64_t blocks)
{
	uint64_t pages = (blocks + MAP_LEAF_BLOCKS - 1) / MAP_LEAF_BLOCKS;
	uint32_t levels = 1;

	while (pages > 1) {
		pages = (pages + MAP_FANOUT - 1) / MAP_FANOUT;
		levels++;
	}
	return levels;
}

static void read_fixed(struct reader *reader, struct manifest *manifest, uint32_t *flags,
		       uint32_t *label_bytes)
{
	const uint8_t *at = reader_take(reader, 8);

	if (at && memcmp(at, magic, 8))
		reader->bad = true;
	if (reader_u32(reader) != STORE_FORMAT)
		reader->bad = true;
	*flags = reader_u32(reader);
	if ((at = reader_take(reader, DOMAIN_ID_BYTES)))
		memcpy(manifest->domain_id, at, DOMAIN_ID_BYTES);
	manifest->disk_bytes = reader_u64(reader);
	manifest->created = reader_u64(reader);
	if ((at = reader_take(reader, VERSION_ID_BYTES)))
		memcpy(manifest->base, at, VERSION_ID_BYTES);
	if ((at = reader_take(reader, SALT_BYTES)))
		memcpy(manifest->map_root.salt, at, SALT_BYTES);
	manifest->map_root.number = reader_u32(reader);
	manifest->map_levels = reader_u32(reader);
	if ((at = reader_take(reader, NAME_BYTES)))
		memcpy(manifest->tree_root, at, NAME_BYTES);
	manifest->data_blocks = reader_u64(reader);
	manifest->stored_bytes = reader_u64(reader);
	*label_bytes = reader_u32(reader);
	manifest->description_bytes = reader_u32(reader);
	manifest->pack_count = reader_u32(reader);
	/* Room for a later format; must be zero in this one. */
	at = reader_take(reader, 52);
	for (size_t i = 0; at && i < 52; i++)
		if (at[i])
			reader->bad = true;
}

static bool fixed_plausible(const struct manifest *manifest, uint32_t flags, uint32_t label_bytes)
{
	static const uint8_t zeros[NAME_BYTES];

	return !(flags & ~FLAG_TREE_ROOT) && manifest->disk_bytes &&
	       manifest->disk_bytes <= DISK_BYTES_MAX && label_bytes &&
	       label_bytes <= MANIFEST_LABEL_MAX &&
	       manifest->description_bytes <= MANIFEST_DESCRIPTION_MAX && manifest->pack_count &&
	       manifest->pack_count <= MANIFEST_PACKS_MAX &&
	       manifest->map_levels == manifest_map_levels(manifest_blocks(manifest)) &&
	       manifest->data_blocks <= manifest_blocks(manifest) &&
	       ((flags & FLAG_TREE_ROOT) || !memcmp(manifest->tree_root, zeros, NAME_BYTES));
}

static int read_pack(struct reader *reader, struct manifest_pack *pack)
{
	const uint8_t *at = reader_take(reader, SALT_BYTES + NAME_BYTES);
	size_t bytes;

	if (!at)
		return -EBADMSG;
	memcpy(pack->salt, at, SALT_BYTES);
	memcpy(pack->table_name, at + SALT_BYTES, NAME_BYTES);
	pack->table_offset = reader_u32(reader);
	pack->frame_count = reader_u32(reader);
	if (reader->bad || !pack->frame_count || pack->frame_count > PACK_FRAMES_MAX ||
	    pack->table_offset <= PACK_HEADER_BYTES || pack->table_offset > PACK_BYTES_MAX)
		return -EBADMSG;
	bytes = bitmap_bytes(pack->frame_count);
	at = reader_take(reader, bytes);
	/* Bits beyond the last frame would make two encodings of one list. */
	if (!at || (pack->frame_count % 8 && at[bytes - 1] >> (pack->frame_count % 8)))
		return -EBADMSG;
	pack->used = malloc(bytes);
	if (!pack->used)
		return -ENOMEM;
	memcpy(pack->used, at, bytes);
	return 0;
}

static int read_packs(struct reader *reader, struct manifest *manifest)
{
	bool root_found = false;

	if (reader->left / (PACK_FIXED_BYTES + 1) < manifest->pack_count)
		return -EBADMSG;
	manifest->packs = calloc(manifest->pack_count, sizeof(*manifest->packs));
	if (!manifest->packs)
		return -ENOMEM;
	for (uint32_t i = 0; i < manifest->pack_count; i++) {
		struct manifest_pack *pack = &manifest->packs[i];
		int error = read_pack(reader, pack);

		if (error)
			return error;
		if (i && memcmp(manifest->packs[i - 1].salt, pack->salt, SALT_BYTES) >= 0)
			return -EBADMSG;
		if (!memcmp(pack->salt, manifest->map_root.salt, SALT_BYTES) &&
		    manifest->map_root.number < pack->frame_count &&
		    bitmap_get(pack->used, manifest->map_root.number))
			root_found = true;
	}
	return root_found && !reader->left ? 0 : -EBADMSG;
}

int manifest_read(const uint8_t *data, size_t bytes, struct manifest *manifest)
{
	struct reader reader = {data, bytes, false};
	uint32_t flags, label_bytes;
	const uint8_t *label, *description;
	int error;

	memset(manifest, 0, sizeof(*manifest));
	read_fixed(&reader, manifest, &flags, &label_bytes);
	if (reader.bad || bytes > MANIFEST_BYTES_MAX ||
	    !fixed_plausible(manifest, flags, label_bytes))
		goto bad;
	manifest->has_tree_root = flags & FLAG_TREE_ROOT;
	label = reader_take(&reader, label_bytes);
	description = reader_take(&reader, manifest->description_bytes);
	if (!label || !description)
		goto bad;
	memcpy(manifest->label, label, label_bytes);
	if (strlen(manifest->label) != label_bytes || !manifest_label_ok(manifest->label))
		goto bad;
	manifest->description = malloc(manifest->description_bytes + 1);
	error = manifest->description ? 0 : -ENOMEM;
	if (!error) {
		memcpy(manifest->description, description, manifest->description_bytes);
		manifest->description[manifest->description_bytes] = '\0';
		error = read_packs(&reader, manifest);
	}
	if (!error)
		return 0;
	manifest_release(manifest);
	return error;
bad:
	/* Counts were read but nothing hangs on them yet. */
	manifest->pack_count = 0;
	manifest_release(manifest);
	return -EBADMSG;
}

static size_t written_bytes(const struct manifest *manifest)
{
	size_t bytes = MANIFEST_FIXED_BYTES + strlen(manifest->label) + manifest->description_bytes;

	for (uint32_t i = 0; i < manifest->pack_count; i++)
		bytes += PACK_FIXED_BYTES + bitmap_bytes(manifest->packs[i].frame_count);
	return bytes;
}

int manifest_write(const struct manifest *manifest, uint8_t **data, size_t *bytes)
{
	size_t label_bytes = strlen(manifest->label);
	uint8_t *at;

	*bytes = written_bytes(manifest);
	if (*bytes > MANIFEST_BYTES_MAX)
		return -EFBIG;
	at = *data = calloc(1, *bytes);
	if (!at)
		return -ENOMEM;
	memcpy(at, magic, 8);
	put_u32(at + 8, STORE_FORMAT);
	put_u32(at + 12, manifest->has_tree_root ? FLAG_TREE_ROOT : 0);
	memcpy(at + 16, manifest->domain_id, DOMAIN_ID_BYTES);
	put_u64(at + 32, manifest->disk_bytes);
	put_u64(at + 40, manifest->created);
	memcpy(at + 48, manifest->base, VERSION_ID_BYTES);
	memcpy(at + 80, manifest->map_root.salt, SALT_BYTES);
	put_u32(at + 96, manifest->map_root.number);
	put_u32(at + 100, manifest->map_levels);
	memcpy(at + 104, manifest->tree_root, NAME_BYTES);
	put_u64(at + 136, manifest->data_blocks);
	put_u64(at + 144, manifest->stored_bytes);
	put_u32(at + 152, (uint32_t)label_bytes);
	put_u32(at + 156, manifest->description_bytes);
	put_u32(at + 160, manifest->pack_count);
	at += MANIFEST_FIXED_BYTES;
	memcpy(at, manifest->label, label_bytes);
	at += label_bytes;
	if (manifest->description_bytes)
		memcpy(at, manifest->description, manifest->description_bytes);
	at += manifest->description_bytes;
	for (uint32_t i = 0; i < manifest->pack_count; i++) {
		const struct manifest_pack *pack = &manifest->packs[i];

		memcpy(at, pack->salt, SALT_BYTES);
		memcpy(at + 16, pack->table_name, NAME_BYTES);
		put_u32(at + 48, pack->table_offset);
		put_u32(at + 52, pack->frame_count);
		memcpy(at + 56, pack->used, bitmap_bytes(pack->frame_count));
		at += PACK_FIXED_BYTES + bitmap_bytes(pack->frame_count);
	}
	return 0;
}

void manifest_release(struct manifest *manifest)
{
	for (uint32_t i = 0; manifest->packs && i < manifest->pack_count; i++)
		free(manifest->packs[i].used);
	free(manifest->packs);
	free(manifest->description);
	memset(manifest, 0, sizeof(*manifest));
}
