/*
 * index_run.c: see index_run.h. Page: 127 entries, then 16 bytes of SHA-256 over what is before
 * and the page's number, 12 zero bytes and the number of entries (only the last page is not full).
 * After the pages one fence of 8 bytes for each, then the tail: "BHRUN2", number of pages and of
 * entries (8 bytes each, from byte 8), 8 zero bytes, SHA-256 over the fences and the 32 bytes before.
 */
#include "store/index_run.h"
#include "store/bytes.h"
#include "store/domain.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>

static const uint8_t magic[8] = "BHRUN2";

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

uint64_t run_file_bytes(uint64_t entries)
{
	uint64_t pages = (entries + RUN_PAGE_ROOM - 1) / RUN_PAGE_ROOM;

	return pages * (BLOCK_BYTES + sizeof(uint64_t)) + RUN_TAIL_BYTES;
}

/* How many entries a page must have: all but the last are full. */
static uint32_t page_entries(const struct run *run, uint64_t number)
{
	return number + 1 < run->pages ? RUN_PAGE_ROOM
				       : (uint32_t)(run->entries - number * RUN_PAGE_ROOM);
}

static uint64_t fence_of(const uint8_t *key)
{
	uint64_t fence = 0;

	for (int i = 0; i < 8; i++)
		fence = fence << 8 | key[i];
	return fence;
}

static int page_check(const struct run *run, const uint8_t *page, uint64_t number)
{
	uint8_t sum[32];

	if (page_sum(page, number, sum))
		return -EIO;
	return memcmp(sum, page + SUM_AT, 16) ||
			       get_u32(page + COUNT_AT) != page_entries(run, number) ||
			       fence_of(page) != run->fences[number]
		       ? -EUCLEAN
		       : 0;
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
		error = page_check(run, run->cached, number);
	if (!error)
		run->cached_page = number;
	return error == -ENODATA ? -EUCLEAN : error;
}

/* The SHA-256 that ends a tail. */
static int tail_sum(const uint64_t *fences, uint64_t pages, const uint8_t *tail, uint8_t sum[32])
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	bool good = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
		    EVP_DigestUpdate(hash, fences, pages * sizeof(*fences)) == 1 &&
		    EVP_DigestUpdate(hash, tail, 32) == 1 &&
		    EVP_DigestFinal_ex(hash, sum, NULL) == 1;

	EVP_MD_CTX_free(hash);
	return good ? 0 : -EIO;
}

int run_tail_write(const uint64_t *fences, uint64_t pages, uint64_t entries, uint8_t *tail)
{
	memset(tail, 0, 32);
	memcpy(tail, magic, sizeof(magic));
	put_u64(tail + 8, pages);
	put_u64(tail + 16, entries);
	return tail_sum(fences, pages, tail, tail + 32);
}

/* Reads the end of a run of @bytes: how many pages it has, and their fences. */
static int load_fences(struct run *run, uint64_t bytes)
{
	uint8_t tail[RUN_TAIL_BYTES], sum[32];
	int error;

	if (bytes < RUN_TAIL_BYTES)
		return -EUCLEAN;
	error = store_file_read_all(run->file, tail, sizeof(tail), bytes - sizeof(tail));
	if (error)
		return error;
	run->pages = get_u64(tail + 8);
	run->entries = get_u64(tail + 16);
	if (memcmp(tail, magic, sizeof(magic)) || !run->entries || run->entries > bytes ||
	    run_file_bytes(run->entries) != bytes ||
	    run->pages != (run->entries + RUN_PAGE_ROOM - 1) / RUN_PAGE_ROOM)
		return -EUCLEAN;
	run->fences = malloc(run->pages * sizeof(*run->fences));
	if (!run->fences)
		return -ENOMEM;
	error = store_file_read_all(run->file, run->fences, run->pages * sizeof(*run->fences),
				    run->pages * BLOCK_BYTES);
	if (!error)
		error = tail_sum(run->fences, run->pages, tail, sum);
	if (!error && memcmp(sum, tail + 32, 32))
		error = -EUCLEAN;
	for (uint64_t i = 1; i < run->pages && !error; i++)
		if (run->fences[i] < run->fences[i - 1])
			error = -EUCLEAN;
	return error;
}

/* Reads and checks every page of a run that stays in memory. */
static int load_whole(struct run *run)
{
	int error;

	run->whole = malloc(run->pages * BLOCK_BYTES);
	if (!run->whole)
		return -ENOMEM;
	error = store_file_read_all(run->file, run->whole, run->pages * BLOCK_BYTES, 0);
	for (uint64_t i = 0; i < run->pages && !error; i++)
		error = page_check(run, run->whole + i * BLOCK_BYTES, i);
	return error;
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
	if (!error)
		error = load_fences(run, bytes);
	if (!error && keep)
		error = load_whole(run);
	if (error) {
		run_close(run);
		return error == -ENODATA ? -EUCLEAN : error;
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

int run_page_finish(uint8_t page[BLOCK_BYTES], uint32_t entries, uint64_t number)
{
	uint8_t sum[32];
	int error;

	memset(page + entries * RUN_ENTRY_BYTES, 0, BLOCK_BYTES - entries * RUN_ENTRY_BYTES);
	put_u32(page + COUNT_AT, entries);
	error = page_sum(page, number, sum);
	memcpy(page + SUM_AT, sum, 16);
	return error;
}

static int note_fence(struct run_writer *writer)
{
	if (writer->pages == writer->room) {
		uint64_t room = writer->room ? writer->room + writer->room / 4 + 1024 : 1024;
		uint64_t *fences = realloc(writer->fences, room * sizeof(*fences));

		if (!fences)
			return -ENOMEM;
		writer->fences = fences;
		writer->room = room;
	}
	writer->fences[writer->pages] = fence_of(writer->page);
	return 0;
}

static int write_page(struct run_writer *writer)
{
	int error = note_fence(writer);

	if (!error)
		error = run_page_finish(writer->page, writer->filled, writer->pages);
	if (!error)
		error = writer->file->files->write(writer->file, writer->page, BLOCK_BYTES,
						   writer->pages * BLOCK_BYTES);
	writer->pages++;
	writer->filled = 0;
	return error;
}

static int write_end(struct run_writer *writer)
{
	uint64_t at = writer->pages * BLOCK_BYTES, bytes = writer->pages * sizeof(*writer->fences);
	struct store_file *file = writer->file;
	uint8_t tail[RUN_TAIL_BYTES];
	int error;

	if (!writer->pages)
		return 0;
	error = run_tail_write(writer->fences, writer->pages, writer->entries, tail);
	if (!error)
		error = file->files->write(file, writer->fences, bytes, at);
	return error ? error : file->files->write(file, tail, sizeof(tail), at + bytes);
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
		error = write_end(writer);
	if (!error)
		error = writer->file->files->sync(writer->file);
	writer->file->files->close(writer->file);
	free(writer->fences);
	writer->fences = NULL;
	return error;
}
