/*
 * index_run.c: see index_run.h. Page: 127 entries, then 16 bytes of SHA-256 over what is before
 * and the page's number, 12 zero bytes and the number of entries (only the last page is not full).
 */
#include "store/index_run.h"
#include "store/bytes.h"
#include "store/domain.h"

#include <errno.h>
#include <stdlib.h>

#define SUM_AT	 (RUN_PAGE_ROOM * RUN_ENTRY_BYTES)
#define COUNT_AT (BLOCK_BYTES - 4)

static int page_sum(const uint8_t *page, uint64_t number, uint8_t sum[32])
{
	uint8_t copy[SUM_AT + 12];

	memcpy(copy, page, SUM_AT);
	put_u64(copy + SUM_AT, number);
	memcpy(copy + SUM_AT + 8, page + COUNT_AT, 4);
	return store_sha256(copy, sizeof(copy), sum);
}

static int page_check(const uint8_t *page, uint64_t number)
{
	uint8_t sum[32];
	uint32_t count = get_u32(page + COUNT_AT);

	if (page_sum(page, number, sum))
		return -EIO;
	return memcmp(sum, page + SUM_AT, 16) || !count || count > RUN_PAGE_ROOM ? -EUCLEAN : 0;
}

/* A checked page, valid until the next call. */
static int page_at(struct run *run, uint64_t number, const uint8_t **page)
{
	int error;

	if (run->whole) {
		*page = run->whole + number * BLOCK_BYTES;
		return 0;
	}
	*page = run->cached;
	if (run->cached_page == number)
		return 0;
	run->cached_page = UINT64_MAX;
	error = store_file_read_all(run->file, run->cached, BLOCK_BYTES, number * BLOCK_BYTES);
	if (!error)
		error = page_check(run->cached, number);
	if (!error)
		run->cached_page = number;
	return error == -ENODATA ? -EUCLEAN : error;
}

static uint64_t fence_of(const uint8_t *key)
{
	uint64_t fence = 0;

	for (int i = 0; i < 8; i++)
		fence = fence << 8 | key[i];
	return fence;
}

/* Reads every page once: its check sum, its first key, its count. */
static int load(struct run *run)
{
	for (uint64_t i = 0; i < run->pages; i++) {
		const uint8_t *page;
		uint32_t count;
		int error;

		if (run->whole) {
			page = run->whole + i * BLOCK_BYTES;
			error = page_check(page, i);
		} else {
			error = page_at(run, i, &page);
		}
		if (error)
			return error;
		count = get_u32(page + COUNT_AT);
		if (i + 1 < run->pages && count != RUN_PAGE_ROOM)
			return -EUCLEAN;
		run->fences[i] = fence_of(page);
		if (i && run->fences[i] < run->fences[i - 1])
			return -EUCLEAN;
		run->entries += count;
	}
	return 0;
}

int run_open(struct store_files *files, const char *path, bool keep, struct run **opened)
{
	struct run *run = calloc(1, sizeof(*run));
	uint64_t bytes = 0;
	int error;

	if (!run)
		return -ENOMEM;
	run->cached_page = UINT64_MAX;
	strncpy(run->path, path, sizeof(run->path) - 1);
	error = files->open(files, path, STORE_OPEN_READ, &run->file);
	if (error) {
		free(run);
		return error;
	}
	error = files->size(run->file, &bytes);
	run->pages = bytes / BLOCK_BYTES;
	if (!error && (bytes % BLOCK_BYTES || !bytes))
		error = -EUCLEAN;
	if (!error && !(run->fences = calloc(run->pages, sizeof(*run->fences))))
		error = -ENOMEM;
	if (!error && keep) {
		run->whole = malloc(bytes);
		error = run->whole ? store_file_read_all(run->file, run->whole, bytes, 0) : -ENOMEM;
	}
	if (!error)
		error = load(run);
	if (error) {
		run_close(run);
		return error;
	}
	*opened = run;
	return 0;
}

void run_close(struct run *run)
{
	run->file->files->close(run->file);
	free(run->fences);
	free(run->whole);
	free(run);
}

/* The last page whose first key is not above @key; several may share a fence. */
static uint64_t last_page_for(const struct run *run, uint64_t fence)
{
	uint64_t low = 0, high = run->pages;

	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;

		if (run->fences[middle] <= fence)
			low = middle;
		else
			high = middle;
	}
	return low;
}

int run_find(struct run *run, const uint8_t key[RUN_KEY_BYTES], struct block_ref *ref)
{
	uint64_t fence = fence_of(key), number = last_page_for(run, fence);

	for (;; number--) {
		const uint8_t *page;
		int error = page_at(run, number, &page);
		uint32_t low = 0, high;

		if (error)
			return error;
		high = get_u32(page + COUNT_AT);
		while (low < high) {
			uint32_t middle = (low + high) / 2;
			int order = memcmp(page + middle * RUN_ENTRY_BYTES, key, RUN_KEY_BYTES);

			if (!order) {
				memcpy(ref, page + middle * RUN_ENTRY_BYTES + RUN_KEY_BYTES,
				       sizeof(*ref));
				return 0;
			}
			if (order < 0)
				low = middle + 1;
			else
				high = middle;
		}
		/* Before the first entry of a page whose fence equals ours: one page back. */
		if (low || !number || run->fences[number] != fence)
			return -ENOENT;
	}
}

int run_entry_at(struct run *run, uint64_t number, struct run_entry *entry)
{
	const uint8_t *page;
	int error = page_at(run, number / RUN_PAGE_ROOM, &page);

	if (!error)
		memcpy(entry, page + number % RUN_PAGE_ROOM * RUN_ENTRY_BYTES, sizeof(*entry));
	return error;
}

int run_writer_start(struct run_writer *writer, struct store_files *files, const char *path)
{
	memset(writer, 0, sizeof(*writer));
	return files->open(files, path, STORE_OPEN_EXCLUSIVE, &writer->file);
}

static int write_page(struct run_writer *writer)
{
	uint8_t sum[32];
	int error;

	memset(writer->page + writer->filled * RUN_ENTRY_BYTES, 0,
	       BLOCK_BYTES - writer->filled * RUN_ENTRY_BYTES);
	put_u32(writer->page + COUNT_AT, writer->filled);
	error = page_sum(writer->page, writer->pages, sum);
	if (error)
		return error;
	memcpy(writer->page + SUM_AT, sum, 16);
	error = writer->file->files->write(writer->file, writer->page, BLOCK_BYTES,
					   writer->pages * BLOCK_BYTES);
	writer->pages++;
	writer->filled = 0;
	return error;
}

int run_writer_add(struct run_writer *writer, const struct run_entry *entry)
{
	memcpy(writer->page + writer->filled * RUN_ENTRY_BYTES, entry, sizeof(*entry));
	writer->entries++;
	return ++writer->filled == RUN_PAGE_ROOM ? write_page(writer) : 0;
}

int run_writer_finish(struct run_writer *writer, int error)
{
	if (!error && writer->filled)
		error = write_page(writer);
	if (!error)
		error = writer->file->files->sync(writer->file);
	writer->file->files->close(writer->file);
	return error;
}
