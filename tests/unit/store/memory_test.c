/*
 * memory_test.c: publishing into a store that knows 2^28 blocks (a tebibyte) stays below 256 MiB.
 *
 * The large index is one run in whose place this file computes each page that is read; the catalogue
 * has a row for every pack that it names. Everything else is a store in a folder.
 */
#include "store_test.h"
#include "store/bytes.h"
#include "store/index_run.h"
#include "store/store_private.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#define LARGE_ENTRIES (1ull << 28)
#define LARGE_PAGES   ((LARGE_ENTRIES + RUN_PAGE_ROOM - 1) / RUN_PAGE_ROOM)
#define PACK_FRAMES   248u /* of 64 blocks: 62 MiB */
#define PACK_BLOCKS   (64u * PACK_FRAMES)
#define LIMIT_BYTES   (256ull << 20)

/* A folder's files, of which one is computed. */
struct large_files {
	struct store_files files;
	struct store_files *folder;
	char path[48]; /* of the large run; empty: none yet */
	uint8_t tail[RUN_TAIL_BYTES];
	uint64_t pages_read;
};

static struct large_files *large_of(struct store_files *files)
{
	return (struct large_files *)files;
}

/* Key of the n-th entry: evenly spaced in the first 64 bits. */
static void entry_make(uint64_t number, struct run_entry *entry)
{
	uint64_t key = number << 36;

	memset(entry, 0, sizeof(*entry));
	for (int i = 0; i < 8; i++)
		entry->key[i] = (uint8_t)(key >> (56 - 8 * i));
	entry->ref.pack = (uint32_t)(number / PACK_BLOCKS) + 1;
	entry->ref.number = (uint16_t)(number % PACK_BLOCKS / 64);
	entry->ref.slot = (uint16_t)(number % 64);
}

static void page_make(uint64_t number, uint8_t page[BLOCK_BYTES])
{
	uint64_t first = number * RUN_PAGE_ROOM;
	uint32_t count = LARGE_ENTRIES - first < RUN_PAGE_ROOM ? (uint32_t)(LARGE_ENTRIES - first)
							       : RUN_PAGE_ROOM;

	for (uint32_t i = 0; i < count; i++) {
		struct run_entry entry;

		entry_make(first + i, &entry);
		memcpy(page + i * RUN_ENTRY_BYTES, &entry, sizeof(entry));
	}
	assert_int_equal(run_page_finish(page, count, number), 0);
}

static int large_open(struct store_files *files, const char *path, enum store_open how,
		      struct store_file **file)
{
	struct large_files *large = large_of(files);

	if (strcmp(path, large->path))
		return large->folder->open(large->folder, path, how, file);
	*file = calloc(1, sizeof(**file));
	assert_non_null(*file);
	(*file)->files = files;
	return 0;
}

/* Whether a file is the computed one; others know their own functions. */
static bool computed(const struct store_file *file)
{
	return file->files->open == large_open;
}

static void large_close(struct store_file *file)
{
	if (computed(file))
		free(file);
	else
		file->files->close(file);
}

static ssize_t large_read(struct store_file *file, void *buffer, size_t bytes, uint64_t offset)
{
	struct large_files *large = large_of(file->files);
	uint64_t fences_at = LARGE_PAGES * BLOCK_BYTES, tail_at = fences_at + LARGE_PAGES * 8;

	if (!computed(file))
		return file->files->read(file, buffer, bytes, offset);
	if (offset == tail_at && bytes == RUN_TAIL_BYTES) {
		memcpy(buffer, large->tail, bytes);
	} else if (offset == fences_at && bytes == LARGE_PAGES * 8) {
		for (uint64_t i = 0; i < LARGE_PAGES; i++)
			((uint64_t *)buffer)[i] = i * RUN_PAGE_ROOM << 36;
	} else {
		assert_int_equal(offset % BLOCK_BYTES, 0);
		assert_int_equal(bytes, BLOCK_BYTES);
		page_make(offset / BLOCK_BYTES, buffer);
		large->pages_read++;
	}
	return (ssize_t)bytes;
}

static int large_write(struct store_file *file, const void *data, size_t bytes, uint64_t offset)
{
	assert_false(computed(file));
	return file->files->write(file, data, bytes, offset);
}

static int large_sync(struct store_file *file)
{
	return file->files->sync(file);
}

static void large_write_behind(struct store_file *file, uint64_t offset, uint64_t bytes)
{
	file->files->write_behind(file, offset, bytes);
}

static int large_truncate(struct store_file *file, uint64_t bytes)
{
	return file->files->truncate(file, bytes);
}

static int large_punch(struct store_file *file, uint64_t offset, uint64_t bytes)
{
	return file->files->punch(file, offset, bytes);
}

static int large_size(struct store_file *file, uint64_t *bytes)
{
	if (!computed(file))
		return file->files->size(file, bytes);
	*bytes = run_file_bytes(LARGE_ENTRIES);
	return 0;
}

static int large_lock(struct store_file *file, uint64_t offset, uint64_t bytes, enum store_lock lock)
{
	return file->files->lock(file, offset, bytes, lock);
}

static int large_rename(struct store_files *files, const char *from, const char *to)
{
	return large_of(files)->folder->rename(large_of(files)->folder, from, to);
}

static int large_unlink(struct store_files *files, const char *path)
{
	return large_of(files)->folder->unlink(large_of(files)->folder, path);
}

static int large_make_directory(struct store_files *files, const char *path)
{
	return large_of(files)->folder->make_directory(large_of(files)->folder, path);
}

static int large_sync_directory(struct store_files *files, const char *path)
{
	return large_of(files)->folder->sync_directory(large_of(files)->folder, path);
}

static int large_list(struct store_files *files, const char *path,
		      int (*each)(void *context, const char *name), void *context)
{
	return large_of(files)->folder->list(large_of(files)->folder, path, each, context);
}

static void large_release(struct store_files *files)
{
	large_of(files)->folder->release(large_of(files)->folder);
}

static void large_start(struct large_files *large, const char *folder)
{
	uint64_t *fences = malloc(LARGE_PAGES * sizeof(*fences));

	memset(large, 0, sizeof(*large));
	assert_non_null(fences);
	for (uint64_t i = 0; i < LARGE_PAGES; i++)
		fences[i] = i * RUN_PAGE_ROOM << 36;
	assert_int_equal(run_tail_write(fences, LARGE_PAGES, LARGE_ENTRIES, large->tail), 0);
	free(fences);
	assert_int_equal(store_files_open(folder, true, &large->folder), 0);
	large->files = (struct store_files){
	    .open = large_open,
	    .close = large_close,
	    .read = large_read,
	    .write = large_write,
	    .sync = large_sync,
	    .write_behind = large_write_behind,
	    .truncate = large_truncate,
	    .punch = large_punch,
	    .size = large_size,
	    .lock = large_lock,
	    .rename = large_rename,
	    .unlink = large_unlink,
	    .make_directory = large_make_directory,
	    .sync_directory = large_sync_directory,
	    .list = large_list,
	    .release = large_release,
	};
}

/* Rows of every pack that the large run names, and of the run. */
static void fill_catalogue(struct store *store, struct large_files *large,
			   const struct domain *domain)
{
	struct run_row run = {.entries = LARGE_ENTRIES};

	assert_int_equal(catalogue_begin(store->catalogue), 0);
	for (uint64_t at = 0; at < LARGE_ENTRIES; at += PACK_BLOCKS) {
		struct pack_row row = {.state = PACK_SETTLED, .frame_count = PACK_FRAMES,
				       .table_offset = 1u << 20};

		put_u64(row.salt, at + 1);
		memcpy(row.domain, domain->id, DOMAIN_ID_BYTES);
		assert_int_equal(pack_row_make(&row), 0);
		memset(row.present, 0xff, PACK_FRAMES / 8);
		assert_int_equal(catalogue_add_pack(store->catalogue, &row), 0);
		pack_row_release(&row);
	}
	assert_int_equal(catalogue_add_run(store->catalogue, domain->id, &run), 0);
	snprintf(large->path, sizeof(large->path), "index/%016llx.run", (unsigned long long)run.id);
	assert_int_equal(catalogue_commit(store->catalogue), 0);
}

/* A disk whose every block is another, and compresses well; @seed in the last quarter only. */
static int computed_disk_read(void *context, void *buffer, size_t bytes, uint64_t offset)
{
	uint64_t disk_bytes = ((uint64_t *)context)[0], seed = ((uint64_t *)context)[1];

	memset(buffer, 'b', bytes);
	for (size_t at = 0; at < bytes; at += BLOCK_BYTES) {
		put_u64((uint8_t *)buffer + at, offset + at + 1);
		if (offset + at >= disk_bytes / 4 * 3)
			put_u64((uint8_t *)buffer + at + 8, seed);
	}
	return 0;
}

static void publish_computed(struct store *store, const struct domain *domain, uint64_t bytes,
			     uint64_t seed, const uint8_t *base, struct publish_result *result)
{
	uint64_t what[2] = {bytes, seed};
	struct publish_source source = {.bytes = bytes, .read = computed_disk_read, .context = what};
	struct publish_options options = {.label = seed ? "v2" : "v1", .threads = 2, .base = base,
					  .signer = test_signer()};
	struct problem problem = {""};

	if (publish_version(store, domain, &source, &options, result, &problem))
		fail_msg("%s", problem.line);
}

static void a_tebibyte_of_known_blocks_fits_in_256_mib(void **state)
{
	/* More new blocks than the index keeps in memory. */
	const uint64_t bytes = 1300000ull * BLOCK_BYTES;
	struct domain domain = test_domain(1);
	struct publish_result first, second;
	struct large_files large;
	struct store *store;
	struct rusage usage;
	char *folder = test_folder();

	large_start(&large, folder);
	assert_int_equal(store_open_files(&large.files, &store, NULL), 0);
	fill_catalogue(store, &large, &domain);
	publish_computed(store, &domain, bytes, 0, NULL, &first);
	assert_int_equal(first.new_blocks, bytes / BLOCK_BYTES);
	/* Hardly two blocks in a row lie in one page. */
	assert_true(large.pages_read >= first.new_blocks - first.new_blocks / 100);
	publish_computed(store, &domain, bytes, 1, first.version, &second);
	assert_int_equal(second.known_blocks, bytes / BLOCK_BYTES / 4 * 3);
	store_close(store);
	test_folder_remove(folder);
	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	print_message("# peak %ld MiB, %llu pages of the index read\n", usage.ru_maxrss / 1024,
		      (unsigned long long)large.pages_read);
#ifndef __SANITIZE_ADDRESS__
	assert_true((uint64_t)usage.ru_maxrss * 1024 <= LIMIT_BYTES);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_tebibyte_of_known_blocks_fits_in_256_mib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
