/*
 * Layers: what was flushed is there, what changed is known, whatever happens in between. The crash tests cut the power
 * at every write and sync of a recorded day of a disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crash_files.h"
#include "layer.h"

#define BLOCKS	2100u /* two regions and a piece */
#define SPAN	24u   /* blocks that the day uses, spread over the regions */
#define SECTORS 8u
#define SEEN	64

static const uint8_t key[LAYER_KEY_BYTES] = "a layer's key";

static uint64_t place(unsigned int index)
{
	return index * 97ull % BLOCKS;
}

/** A block's content: every sector names the block and the write it came from; write 0 is absent, zeros are zeros. */
static void fill(uint8_t *bytes, uint64_t block, uint32_t stamp)
{
	for (unsigned int i = 0; i < BLOCK_BYTES; i += 8) {
		memcpy(bytes + i, &block, 4);
		memcpy(bytes + i + 4, &stamp, 4);
	}
}

static struct layer *new_layer(struct store_files *files, enum layer_kind kind, uint32_t journal)
{
	struct layer *layer = NULL;
	struct problem problem = {""};

	assert_int_equal(layer_create(files, "disk", kind, BLOCKS, journal, key, &problem), 0);
	assert_int_equal(layer_open(files, "disk", key, &layer, &problem), 0);
	return layer;
}

static enum block_state state_of(struct layer *layer, uint64_t block)
{
	enum block_state state;

	layer_run(layer, block, 1, &state);
	return state;
}

static void written_blocks_come_back_after_reopening(void **state)
{
	struct store_files *files = crash_files_new(1, 0);
	struct layer *layer = new_layer(files, LAYER_WRITABLE, 4096);
	uint8_t bytes[3 * BLOCK_BYTES], back[3 * BLOCK_BYTES];
	struct problem problem = {""};
	uint64_t bad;

	for (uint64_t i = 0; i < 3; i++)
		fill(bytes + i * BLOCK_BYTES, 1022 + i, 7);
	assert_int_equal(layer_write(layer, 1022, 3, bytes), 0);
	assert_int_equal(layer_zero(layer, 5, 2), 0);
	assert_int_equal(layer_close(layer), 0);
	assert_int_equal(layer_open(files, "disk", key, &layer, &problem), 0);
	assert_int_equal(layer_read(layer, 1022, 3, back, &bad), 0);
	assert_memory_equal(bytes, back, sizeof(bytes));
	assert_int_equal(state_of(layer, 5), BLOCK_ZERO);
	assert_int_equal(state_of(layer, 7), BLOCK_ABSENT);
	assert_int_equal(layer_data_blocks(layer), 3);
	assert_int_equal(layer_close(layer), 0);
	files->release(files);
}

static void another_key_opens_nothing(void **state)
{
	static const uint8_t other[LAYER_KEY_BYTES] = "another key";
	struct store_files *files = crash_files_new(1, 0);
	struct layer *layer = new_layer(files, LAYER_WRITABLE, 4096);
	struct problem problem = {""};

	assert_int_equal(layer_close(layer), 0);
	assert_int_equal(layer_open(files, "disk", other, &layer, &problem), -EBADMSG);
	assert_non_null(strstr(problem.line, "key"));
	files->release(files);
}

static void a_sealed_layer_notices_any_flipped_bit(void **state)
{
	struct store_files *files = crash_files_new(1, 0);
	struct layer *layer = new_layer(files, LAYER_SEALED, 4096);
	uint8_t bytes[4 * BLOCK_BYTES], bit;
	struct store_file *data;
	uint64_t bad = 0;

	for (uint64_t i = 0; i < 4; i++)
		fill(bytes + i * BLOCK_BYTES, 10 + i, 1);
	assert_int_equal(layer_write(layer, 10, 4, bytes), 0);
	assert_int_equal(layer_read(layer, 10, 4, bytes, &bad), 0);
	assert_int_equal(files->open(files, "disk/data", STORE_OPEN_WRITE, &data), 0);
	for (unsigned int at = 0; at < BLOCK_BYTES; at += 511) {
		uint64_t offset = 12ull * BLOCK_BYTES + at;

		assert_int_equal(files->read(data, &bit, 1, offset), 1);
		bit ^= (uint8_t)(1u << (at % 8));
		assert_int_equal(files->write(data, &bit, 1, offset), 0);
		assert_int_equal(layer_read(layer, 10, 4, bytes, &bad), -EBADMSG);
		assert_int_equal(bad, 12);
		bit ^= (uint8_t)(1u << (at % 8));
		assert_int_equal(files->write(data, &bit, 1, offset), 0);
	}
	assert_int_equal(layer_read(layer, 10, 4, bytes, &bad), 0);
	files->close(data);
	assert_int_equal(layer_close(layer), 0);
	files->release(files);
}

static void nothing_is_readable_in_the_file(void **state)
{
	static const char secret[] = "the plans of the new engine";
	struct store_files *files = crash_files_new(1, 0);
	struct layer *layer = new_layer(files, LAYER_WRITABLE, 4096);
	uint8_t bytes[BLOCK_BYTES] = {0}, raw[BLOCK_BYTES];
	struct store_file *data;

	memcpy(bytes + 100, secret, sizeof(secret));
	assert_int_equal(layer_write(layer, 3, 1, bytes), 0);
	assert_int_equal(files->open(files, "disk/data", STORE_OPEN_READ, &data), 0);
	assert_int_equal(files->read(data, raw, sizeof(raw), 3 * BLOCK_BYTES), BLOCK_BYTES);
	assert_null(memmem(raw, sizeof(raw), secret, sizeof(secret)));
	files->close(data);
	layer_abandon(layer);
	files->release(files);
}

static void a_backup_sees_one_moment_while_writes_go_on(void **state)
{
	struct store_files *files = crash_files_new(1, 0);
	struct layer *layer = new_layer(files, LAYER_WRITABLE, 4096);
	uint8_t bytes[BLOCK_BYTES], old[BLOCK_BYTES];
	uint64_t first, count;
	enum block_state kind;
	struct problem problem = {""};

	fill(old, 8, 1);
	assert_int_equal(layer_write(layer, 8, 1, old), 0);
	assert_int_equal(layer_zero(layer, 20, 1), 0);
	assert_int_equal(layer_backup_begin(layer, &problem), 0);
	fill(bytes, 8, 2);
	assert_int_equal(layer_write(layer, 8, 1, bytes), 0);
	assert_int_equal(layer_write(layer, 9, 1, bytes), 0);
	assert_true(layer_backup_next(layer, 0, &first, &count, &kind));
	assert_true(first == 8 && count == 1 && kind == BLOCK_DATA);
	assert_int_equal(layer_backup_read(layer, 8, 1, bytes), 0);
	assert_memory_equal(bytes, old, BLOCK_BYTES);
	assert_true(layer_backup_next(layer, 9, &first, &count, &kind));
	assert_true(first == 20 && count == 1 && kind == BLOCK_ZERO);
	assert_false(layer_backup_next(layer, 21, &first, &count, &kind));
	assert_int_equal(layer_backup_end(layer, true), 0);
	/* The next backup has what was written since, and no more. */
	assert_int_equal(layer_backup_begin(layer, &problem), 0);
	assert_true(layer_backup_next(layer, 0, &first, &count, &kind));
	assert_true(first == 8 && count == 2);
	assert_false(layer_backup_next(layer, 10, &first, &count, &kind));
	assert_int_equal(layer_backup_end(layer, false), 0);
	assert_int_equal(layer_backup_begin(layer, &problem), 0);
	assert_true(layer_backup_next(layer, 0, &first, &count, &kind));
	assert_int_equal(layer_backup_end(layer, true), 0);
	assert_int_equal(layer_close(layer), 0);
	files->release(files);
}

/** What a test knows of one block: the writes that may be what the disk holds, and the one the last backup has. */
struct known {
	uint32_t may[SEEN];
	unsigned int may_count;
	uint32_t saved;
};

#define ABSENT 0u
#define ZEROED 1u

struct day {
	struct known known[SPAN];
	uint32_t saved_now[SPAN]; /* contents at the begin of the backup that runs */
	bool backup_runs, end_unsure;
	uint32_t stamp;
	unsigned int seed;
};

static void wrote(struct day *day, unsigned int index, uint32_t stamp)
{
	struct known *known = &day->known[index];

	assert_true(known->may_count < SEEN);
	known->may[known->may_count++] = stamp;
}

static void flushed(struct day *day)
{
	for (unsigned int i = 0; i < SPAN; i++) {
		day->known[i].may[0] = day->known[i].may[day->known[i].may_count - 1];
		day->known[i].may_count = 1;
	}
}

static int one_write(struct day *day, struct layer *layer)
{
	unsigned int index = (unsigned int)rand_r(&day->seed) % SPAN;
	uint8_t bytes[BLOCK_BYTES];

	fill(bytes, place(index), ++day->stamp);
	wrote(day, index, day->stamp);
	return layer_write(layer, place(index), 1, bytes);
}

static int one_zero(struct day *day, struct layer *layer)
{
	unsigned int index = (unsigned int)rand_r(&day->seed) % SPAN;

	wrote(day, index, ZEROED);
	return layer_zero(layer, place(index), 1);
}

static int one_flush(struct day *day, struct layer *layer)
{
	int error = layer_flush(layer);

	if (!error)
		flushed(day);
	return error;
}

static int one_backup_step(struct day *day, struct layer *layer)
{
	int error;

	if (!day->backup_runs) {
		error = layer_backup_begin(layer, NULL);
		if (error)
			return error;
		flushed(day);
		for (unsigned int i = 0; i < SPAN; i++)
			day->saved_now[i] = day->known[i].may[0];
		day->backup_runs = true;
		return 0;
	}
	day->backup_runs = false;
	/* The power may fail after the end is on disk and before it is known: then either backup may be the last. */
	day->end_unsure = true;
	error = layer_backup_end(layer, true);
	if (error)
		return error;
	day->end_unsure = false;
	for (unsigned int i = 0; i < SPAN; i++)
		day->known[i].saved = day->saved_now[i];
	return 0;
}

/** Runs the day until the power fails or it ends. Returns the layer if it is still open. */
static void live(struct day *day, struct store_files *files, struct layer *layer)
{
	int error = 0;

	for (int i = 0; i < 90 && !error; i++) {
		switch (rand_r(&day->seed) % 12) {
		case 0:
		case 1:
			error = one_flush(day, layer);
			break;
		case 2:
			error = one_zero(day, layer);
			break;
		case 3:
			error = one_backup_step(day, layer);
			break;
		case 4:
			if (day->backup_runs || i % 3) {
				error = one_write(day, layer);
				break;
			}
			error = layer_close(layer);
			if (!error) {
				flushed(day);
				error = layer_open(files, "disk", key, &layer, NULL);
			}
			if (error)
				layer = NULL;
			break;
		default:
			error = one_write(day, layer);
		}
	}
	assert_true(!error || crash_files_is_cut(files));
	if (layer)
		layer_abandon(layer);
}

/** Whether every sector of @bytes is that of some write that may be there. */
static bool may_be(const struct known *known, uint64_t block, const uint8_t *bytes)
{
	uint8_t expected[BLOCK_BYTES];

	for (unsigned int sector = 0; sector < SECTORS; sector++) {
		bool found = false;

		for (unsigned int i = 0; i < known->may_count && !found; i++) {
			if (known->may[i] <= ZEROED)
				continue;
			fill(expected, block, known->may[i]);
			found = memcmp(expected + 512 * sector, bytes + 512 * sector, 512) == 0;
		}
		if (!found)
			return false;
	}
	return true;
}

static bool may_state(const struct known *known, uint32_t stamp)
{
	for (unsigned int i = 0; i < known->may_count; i++)
		if (known->may[i] == stamp)
			return true;
	return false;
}

static bool is_changed(struct layer *layer, uint64_t block)
{
	uint64_t first, count;
	enum block_state state;

	return layer_backup_next(layer, block, &first, &count, &state) && first == block;
}

static void judge_block(struct day *day, struct layer *layer, unsigned int index)
{
	const struct known *known = &day->known[index];
	uint8_t bytes[BLOCK_BYTES], saved[BLOCK_BYTES];
	uint64_t bad;
	bool same_as_saved;

	switch (state_of(layer, place(index))) {
	case BLOCK_ABSENT:
		assert_true(may_state(known, ABSENT));
		same_as_saved = known->saved == ABSENT;
		break;
	case BLOCK_ZERO:
		assert_true(may_state(known, ZEROED));
		same_as_saved = known->saved == ZEROED || known->saved == ABSENT;
		break;
	default:
		assert_int_equal(layer_read(layer, place(index), 1, bytes, &bad), 0);
		assert_true(may_be(known, place(index), bytes));
		fill(saved, place(index), known->saved);
		same_as_saved = known->saved > ZEROED && memcmp(saved, bytes, BLOCK_BYTES) == 0;
	}
	if (day->end_unsure)
		return; /* judged against either backup it may be right; the contents are what counts here */
	if (!same_as_saved)
		assert_true(is_changed(layer, place(index)));
}

/** One day that ends at operation @cut_at. Returns how many operations a whole day has. */
static uint64_t cut_day(unsigned int seed, uint64_t cut_at)
{
	struct store_files *files = crash_files_new(seed * 7919 + (unsigned int)cut_at, cut_at);
	struct day day = {.stamp = ZEROED, .seed = seed};
	struct problem problem = {""};
	struct layer *layer = NULL;
	uint64_t count;
	int error;

	for (unsigned int i = 0; i < SPAN; i++)
		day.known[i].may_count = 1;
	error = layer_create(files, "disk", LAYER_WRITABLE, BLOCKS, 4096, key, &problem);
	if (!error)
		error = layer_open(files, "disk", key, &layer, &problem);
	if (!error)
		live(&day, files, layer);
	count = crash_files_count(files);
	if (error || !crash_files_is_cut(files)) {
		assert_true(!error || crash_files_is_cut(files));
		files->release(files);
		return count;
	}
	crash_files_restart(files);
	assert_int_equal(layer_open(files, "disk", key, &layer, &problem), 0);
	assert_int_equal(layer_backup_begin(layer, &problem), 0);
	for (unsigned int i = 0; i < SPAN; i++)
		judge_block(&day, layer, i);
	assert_int_equal(layer_backup_end(layer, true), 0);
	assert_int_equal(layer_close(layer), 0);
	files->release(files);
	return count;
}

static void a_power_cut_at_any_write_loses_nothing_that_was_flushed(void **state)
{
	unsigned int cuts = 0;

	for (unsigned int seed = 1; seed <= 3; seed++) {
		uint64_t operations = cut_day(seed, 0);

		assert_true(operations > 100);
		for (uint64_t at = 1; at <= operations; at++, cuts++)
			cut_day(seed, at);
	}
	print_message("# %u cuts\n", cuts);
}

static void a_layer_half_made_is_none(void **state)
{
	struct problem problem = {""};
	struct layer *layer;

	for (uint64_t at = 1; at < 8; at++) {
		struct store_files *files = crash_files_new((unsigned int)at, at);

		if (layer_create(files, "disk", LAYER_WRITABLE, BLOCKS, 4096, key, &problem)) {
			crash_files_restart(files);
			if (layer_open(files, "disk", key, &layer, NULL) == 0)
				layer_abandon(layer);
			else /* and can be made anew */
				assert_int_equal(layer_create(files, "disk", LAYER_WRITABLE, BLOCKS, 4096, key, NULL), 0);
		}
		files->release(files);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_blocks_come_back_after_reopening),
		cmocka_unit_test(another_key_opens_nothing),
		cmocka_unit_test(a_sealed_layer_notices_any_flipped_bit),
		cmocka_unit_test(nothing_is_readable_in_the_file),
		cmocka_unit_test(a_backup_sees_one_moment_while_writes_go_on),
		cmocka_unit_test(a_power_cut_at_any_write_loses_nothing_that_was_flushed),
		cmocka_unit_test(a_layer_half_made_is_none),
	};

	return cmocka_run_group_tests_name("layer", tests, NULL, NULL);
}
