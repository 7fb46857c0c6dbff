/*
 * `bulkhead image diff`: what publishing a disk would add and a PC would fetch, found without publishing. Blocks of the
 * old version are known by the first 16 bytes of their SHA-256; new ones are compressed in frames, as publishing does.
 */
#include "image.h"
#include "image_store.h"
#include "output.h"

#include "store/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <zstd.h>

#define FRAME_BLOCKS (FRAME_PLAIN_DEFAULT / BLOCK_BYTES)
#define LEVEL	     3
#define PIECE	     64u

/** A disk that is read in order: a version or a raw file. */
struct disk {
	struct image *image;
	int fd;
	uint64_t bytes, blocks;
};

struct name {
	uint64_t low, high;
};

/** An open-addressed set of names; grows by doubling. */
struct set {
	struct name *slots;
	size_t room, used;
};

struct diff {
	struct set known;
	uint64_t zero, same, moved, fresh, fetched_bytes;
	uint8_t frame[FRAME_PLAIN_DEFAULT];
	uint32_t frame_blocks;
	ZSTD_CCtx *zstd;
	uint8_t *packed;
};

static bool insert(struct set *set, struct name name);

static bool grow(struct set *set)
{
	struct set larger = {.room = set->room ? 2 * set->room : 1 << 16};

	larger.slots = calloc(larger.room, sizeof(*larger.slots));
	if (!larger.slots)
		return false;
	for (size_t i = 0; i < set->room; i++)
		if (set->slots[i].low | set->slots[i].high)
			insert(&larger, set->slots[i]);
	free(set->slots);
	*set = larger;
	return true;
}

/** Where a name is or would be. */
static size_t find(const struct set *set, struct name name)
{
	size_t at = (size_t)name.low & (set->room - 1);

	while ((set->slots[at].low | set->slots[at].high) &&
	       (set->slots[at].low != name.low || set->slots[at].high != name.high))
		at = (at + 1) & (set->room - 1);
	return at;
}

/** False: out of memory. */
static bool insert(struct set *set, struct name name)
{
	size_t at;

	if (2 * (set->used + 1) > set->room && !grow(set))
		return false;
	at = find(set, name);
	set->used += !(set->slots[at].low | set->slots[at].high);
	set->slots[at] = name;
	return true;
}

static bool contains(const struct set *set, struct name name)
{
	size_t at = set->room ? find(set, name) : 0;

	return set->room && (set->slots[at].low | set->slots[at].high);
}

static struct name name_of(const uint8_t *block)
{
	uint8_t digest[32];
	struct name name = {0, 1};

	if (store_sha256(block, BLOCK_BYTES, digest) == 0)
		memcpy(&name, digest, sizeof(name));
	return name;
}

static bool is_zero(const uint8_t *block)
{
	return block[0] == 0 && memcmp(block, block + 1, BLOCK_BYTES - 1) == 0;
}

/** Reads @count blocks; beyond the end they are zero. */
static int read_blocks(struct disk *disk, uint64_t first, uint32_t count, uint8_t *to)
{
	memset(to, 0, (size_t)count * BLOCK_BYTES);
	if (first >= disk->blocks)
		return 0;
	if (count > disk->blocks - first)
		count = (uint32_t)(disk->blocks - first);
	if (disk->image)
		return image_read(disk->image, first, count, to, NULL);
	for (size_t done = 0; done < (size_t)count * BLOCK_BYTES;) {
		ssize_t got = pread(disk->fd, to + done, (size_t)count * BLOCK_BYTES - done,
				    (off_t)(first * BLOCK_BYTES + done));

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got == 0)
			break;
		done += got > 0 ? (size_t)got : 0;
	}
	return 0;
}

static int close_frame(struct diff *diff)
{
	size_t length;

	if (!diff->frame_blocks)
		return 0;
	length = ZSTD_compressCCtx(diff->zstd, diff->packed, FRAME_STORED_MAX, diff->frame,
				   (size_t)diff->frame_blocks * BLOCK_BYTES, LEVEL);
	if (ZSTD_isError(length))
		return -EIO;
	diff->fetched_bytes += length + FRAME_HEADER_BYTES + FRAME_TAG_BYTES + PACK_ENTRY_BYTES;
	diff->frame_blocks = 0;
	return 0;
}

static int judge_block(struct diff *diff, const uint8_t *old, const uint8_t *new)
{
	struct name name;

	if (is_zero(new)) {
		diff->zero++;
		return 0;
	}
	if (memcmp(old, new, BLOCK_BYTES) == 0) {
		diff->same++;
		return 0;
	}
	name = name_of(new);
	if (contains(&diff->known, name)) {
		diff->moved++;
		return 0;
	}
	if (!insert(&diff->known, name))
		return -ENOMEM;
	diff->fresh++;
	memcpy(diff->frame + (size_t)diff->frame_blocks * BLOCK_BYTES, new, BLOCK_BYTES);
	return ++diff->frame_blocks == FRAME_BLOCKS ? close_frame(diff) : 0;
}

/** Goes through both disks: first the old for what it has, then both side by side. */
static int compare(struct diff *diff, struct disk *old, struct disk *new, struct output_progress *progress)
{
	static uint8_t before[PIECE * BLOCK_BYTES], after[PIECE * BLOCK_BYTES];
	int error = 0;

	for (uint64_t at = 0; !error && at < old->blocks; at += PIECE) {
		error = read_blocks(old, at, PIECE, before);
		for (unsigned int i = 0; !error && i < PIECE; i++)
			if (!is_zero(before + i * BLOCK_BYTES) &&
			    !insert(&diff->known, name_of(before + i * BLOCK_BYTES)))
				error = -ENOMEM;
		output_progress_update(progress, at * BLOCK_BYTES);
	}
	for (uint64_t at = 0; !error && at < new->blocks; at += PIECE) {
		error = read_blocks(old, at, PIECE, before);
		if (!error)
			error = read_blocks(new, at, PIECE, after);
		for (unsigned int i = 0; !error && i < PIECE && at + i < new->blocks; i++)
			error = judge_block(diff, before + i * BLOCK_BYTES, after + i * BLOCK_BYTES);
		output_progress_update(progress, old->bytes + at * BLOCK_BYTES);
	}
	return error ? error : close_frame(diff);
}

static int open_version(const struct cli_context *context, struct image_store *opened, const char *text,
			struct disk *disk)
{
	struct problem problem = {""};
	struct version_row row;

	if (store_find_version(opened->store, text, &row, &problem) ||
	    image_open(opened->store, &opened->domain, row.id, &disk->image, &problem))
		return cli_fail(context, "%s", problem.line);
	disk->fd = -1;
	disk->bytes = row.disk_bytes;
	disk->blocks = manifest_blocks(image_manifest(disk->image));
	return CLI_OK;
}

/** A file if there is one of that name, else a version. */
static int open_new(const struct cli_context *context, struct image_store *opened, const char *text, struct disk *disk)
{
	off_t end;
	int status;

	if (access(text, F_OK))
		return open_version(context, opened, text, disk);
	status = image_open_raw(context, text, cli_value(context, "store"), &disk->fd);
	if (status != CLI_OK)
		return status;
	end = lseek(disk->fd, 0, SEEK_END);
	disk->bytes = end > 0 ? (uint64_t)end : 0;
	disk->blocks = (disk->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
	return CLI_OK;
}

static void close_disk(struct disk *disk)
{
	if (disk->image)
		image_close(disk->image);
	if (disk->fd >= 0)
		close(disk->fd);
}

static void report(const struct cli_context *context, const struct diff *diff)
{
	char size[16];

	if (cli_switch(context, "json")) {
		json_t *report = json_pack("{s:I, s:I, s:I, s:I, s:I}", "zero_blocks", (json_int_t)diff->zero,
					   "same_blocks", (json_int_t)diff->same, "moved_blocks",
					   (json_int_t)diff->moved, "new_blocks", (json_int_t)diff->fresh,
					   "fetched_bytes", (json_int_t)diff->fetched_bytes);

		output_json(report);
		json_decref(report);
		return;
	}
	printf("zero      %" PRIu64 " blocks\n", diff->zero);
	printf("same      %" PRIu64 " blocks, where they were\n", diff->same);
	printf("moved     %" PRIu64 " blocks, known from elsewhere\n", diff->moved);
	printf("new       %" PRIu64 " blocks\n", diff->fresh);
	printf("to fetch  %s and the map's changed pages\n", output_bytes(diff->fetched_bytes, size));
}

int image_diff_run(const struct cli_context *context)
{
	struct disk old = {.fd = -1}, new = {.fd = -1};
	struct diff *diff = calloc(1, sizeof(*diff));
	struct output_progress progress;
	struct image_store opened;
	int status = image_store_open(context, false, &opened), error;

	if (status != CLI_OK) {
		free(diff);
		return status;
	}
	status = open_version(context, &opened, cli_argument(context, 0), &old);
	if (status == CLI_OK)
		status = open_new(context, &opened, cli_argument(context, 1), &new);
	if (status == CLI_OK) {
		if (diff) {
			diff->zstd = ZSTD_createCCtx();
			diff->packed = malloc(FRAME_STORED_MAX);
		}
		output_progress_start(&progress, "Comparing", old.bytes + new.bytes);
		error = diff && diff->zstd && diff->packed ? compare(diff, &old, &new, &progress) : -ENOMEM;
		output_progress_end(&progress);
		if (error)
			status = cli_fail(context, "%s: %s", cli_argument(context, 1), strerror(-error));
		else
			report(context, diff);
	}
	close_disk(&old);
	close_disk(&new);
	image_store_close(&opened);
	if (diff) {
		ZSTD_freeCCtx(diff->zstd);
		free(diff->packed);
		free(diff->known.slots);
	}
	free(diff);
	return status;
}
