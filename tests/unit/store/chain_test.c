/*
 * chain_test.c: six versions of a disk of packages that are upgraded, removed, added and once laid
 * out afresh. Whatever version a PC has, it moves at most 1.25 times the compressed size of the blocks it
 * lacks to get any later one; a PC with nothing at most 1.05 times what the version needs.
 *
 * The same on real disks: CHAIN=1 ./bench store.
 */
#include "store_test.h"
#include "store/fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define DISK_BLOCKS 6144u
#define PACKAGES_MAX   2048u
#define VERSIONS    6u
#define MAP_SLACK_BYTES 4096u

/* A package: its files lie together, as they were unpacked. */
struct made_package {
	uint32_t at, blocks; /* no blocks: removed */
	uint32_t seed, upgraded;
};

struct made_disk {
	struct test_disk *disk;
	struct made_package packages[PACKAGES_MAX];
	uint32_t count, dice;
	bool taken[DISK_BLOCKS];
};

static uint32_t roll(uint32_t *dice, uint32_t sides)
{
	*dice = *dice * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)(*dice >> 4) * sides) >> 28);
}

/* One block of text of made-up words, or of noise. */
static void fill_block(uint8_t *block, uint32_t seed, bool packed)
{
	static const char syllables[16][4] = {"an", "ber", "co", "di", "en", "fla", "go", "hu",
					      "in", "ka", "lo", "mi", "ne", "or", "pre", "st"};
	uint32_t dice = seed * 2654435761u + 1, at = 0;

	while (at < BLOCK_BYTES) {
		uint32_t dice_now = roll(&dice, 1u << 16);

		if (packed) {
			block[at++] = (uint8_t)dice_now;
			continue;
		}
		for (const char *c = syllables[dice_now % 16]; *c && at < BLOCK_BYTES; c++)
			block[at++] = (uint8_t)*c;
		if (dice_now % 5 == 0 && at < BLOCK_BYTES)
			block[at++] = ' ';
	}
}

static void write_package(struct made_disk *made, const struct made_package *package)
{
	for (uint32_t i = 0; i < package->blocks; i++) {
		/* Files of 4 blocks; an upgrade leaves one in eight as it was (real ones: 5 of 48). */
		uint32_t mix = package->seed * 31 + i / 4 * 7919, seed = package->seed;

		if (roll(&mix, 8))
			seed += package->upgraded * 104729;
		fill_block(made->disk->data + (size_t)(package->at + i) * BLOCK_BYTES,
			   seed * 4099 + i, mix % 5 == 0);
	}
}

static void place(struct made_disk *made, struct made_package *package, uint32_t from)
{
	uint32_t length = 0;

	for (uint32_t n = 0; n < 2 * DISK_BLOCKS; n++) {
		uint32_t block = (from + n) % DISK_BLOCKS;

		length = made->taken[block] || !block ? 0 : length + 1;
		if (length < package->blocks)
			continue;
		package->at = block + 1 - package->blocks;
		memset(made->taken + package->at, 1, package->blocks);
		write_package(made, package);
		return;
	}
	fail_msg("the made-up disk is full");
}

static void take_away(struct made_disk *made, struct made_package *package)
{
	memset(made->taken + package->at, 0, package->blocks);
	memset(made->disk->data + (size_t)package->at * BLOCK_BYTES, 0,
	       (size_t)package->blocks * BLOCK_BYTES);
}

/* Mostly small packages, some large ones. */
static void add_packages(struct made_disk *made, uint32_t blocks)
{
	while (blocks) {
		struct made_package *package = &made->packages[made->count++];
		uint32_t size = 10 + roll(&made->dice, 70);

		assert_true(made->count < PACKAGES_MAX);
		if (!roll(&made->dice, 4))
			size = 150 + roll(&made->dice, 350);
		package->blocks = size < blocks ? size : blocks;
		package->seed = roll(&made->dice, 1u << 24);
		place(made, package, 1);
		blocks -= package->blocks;
	}
}

static void upgrade_and_remove(struct made_disk *made, uint32_t upgrade_percent,
			       uint32_t remove_percent)
{
	for (uint32_t i = 0; i < made->count; i++) {
		struct made_package *package = &made->packages[i];
		uint32_t fate = roll(&made->dice, 100);

		if (!package->blocks || fate >= upgrade_percent + remove_percent)
			continue;
		take_away(made, package);
		if (fate < remove_percent) {
			package->blocks = 0;
			continue;
		}
		/* New files are written elsewhere, then take the names. */
		package->upgraded++;
		place(made, package, 1 + roll(&made->dice, DISK_BLOCKS - 1));
	}
}

static void lay_out_afresh(struct made_disk *made)
{
	memset(made->taken, 0, sizeof(made->taken));
	memset(made->disk->data, 0, made->disk->bytes);
	for (uint32_t i = 0; i < made->count; i++) {
		/* 1531 is prime: each once, in another order. */
		struct made_package *package = &made->packages[(uint64_t)i * 1531 % made->count];

		if (package->blocks)
			place(made, package, 1);
	}
}

static void make_version(struct made_disk *made, uint32_t version)
{
	static const struct {
		uint32_t upgrade, remove, add;
	} changes[VERSIONS] = {{0, 0, 3600}, {12, 2, 300}, {10, 10, 150}, {15, 3, 250},
			       {0, 0, 0},    {8, 5, 300}};

	if (version == 4) {
		lay_out_afresh(made);
		return;
	}
	upgrade_and_remove(made, changes[version].upgrade, changes[version].remove);
	add_packages(made, changes[version].add);
}

struct store_folder {
	char *path;
	struct store *store;
};

static struct store_folder new_store(void)
{
	struct store_folder made = {.path = test_folder()};

	assert_int_equal(store_open(made.path, true, &made.store, NULL), 0);
	return made;
}

static void drop_store(struct store_folder *made)
{
	store_close(made->store);
	test_folder_remove(made->path);
}

/* Brings a version to a store; returns every byte that moved, the manifest counted. */
static uint64_t get(struct store *here, struct store *there, const uint8_t *version)
{
	struct fetch_source source = fetch_source_store(there);
	struct version_trust trust = test_trust();
	struct fetch_result totals;
	struct problem problem = {""};
	struct fetch *fetch;
	char *envelope;
	uint64_t bytes;

	assert_int_equal(store_version_envelope(there, version, &envelope, NULL), 0);
	bytes = strlen(envelope);
	if (fetch_open(here, &source, envelope, bytes, &trust, &fetch, &problem) ||
	    fetch_run(fetch, NULL, &problem))
		fail_msg("%s", problem.line);
	fetch_totals(fetch, &totals);
	assert_int_equal(fetch_close(fetch), 0);
	free(envelope);
	return bytes + totals.fetched_bytes;
}

struct chain {
	struct store_folder centre;
	struct domain domain;
	struct test_disk *disks[VERSIONS];
	struct publish_result versions[VERSIONS];
};

static int setup(void **state)
{
	struct chain *chain = calloc(1, sizeof(*chain));
	struct made_disk *made = calloc(1, sizeof(*made));

	assert_true(chain && made);
	chain->centre = new_store();
	chain->domain = test_domain(3);
	made->dice = 20240501;
	made->disk = test_disk_new((uint64_t)DISK_BLOCKS * BLOCK_BYTES);
	for (uint32_t i = 0; i < VERSIONS; i++) {
		char label[8];

		make_version(made, i);
		chain->disks[i] = test_disk_new(made->disk->bytes);
		memcpy(chain->disks[i]->data, made->disk->data, made->disk->bytes);
		snprintf(label, sizeof(label), "v%u", i + 1);
		test_publish(chain->centre.store, &chain->domain, made->disk, label,
			     i ? chain->versions[i - 1].version : NULL, &chain->versions[i]);
	}
	test_disk_free(made->disk);
	free(made);
	*state = chain;
	return 0;
}

static int teardown(void **state)
{
	struct chain *chain = *state;

	for (uint32_t i = 0; i < VERSIONS; i++)
		test_disk_free(chain->disks[i]);
	drop_store(&chain->centre);
	free(chain);
	return 0;
}

/* What a version costs in a store of its own that has at most one other: the compressed blocks
 * that are lacking, and the tables to find them. */
static uint64_t stored_after(struct chain *chain, const struct test_disk *before, uint32_t version)
{
	struct store_folder alone = new_store();
	struct publish_result first, result;

	if (before)
		test_publish(alone.store, &chain->domain, (struct test_disk *)before, "before", NULL,
			     &first);
	test_publish(alone.store, &chain->domain, chain->disks[version], "after",
		     before ? first.version : NULL, &result);
	drop_store(&alone);
	/* Blocks that were stored again to spare others whole frames were not lacking. */
	return result.stored_bytes * (result.new_blocks + 1) /
		   (result.new_blocks + result.moved_blocks + 1) +
	       result.envelope_bytes;
}

static void any_version_to_any_later_one_moves_little_more_than_it_lacks(void **state)
{
	struct chain *chain = *state;
	double worst = 0;

	for (uint32_t from = 0; from < VERSIONS; from++) {
		for (uint32_t to = from + 1; to < VERSIONS; to++) {
			struct store_folder pc = new_store();
			uint64_t lacks = stored_after(chain, chain->disks[from], to), moved;

			get(pc.store, chain->centre.store, chain->versions[from].version);
			moved = get(pc.store, chain->centre.store, chain->versions[to].version);
			test_same(pc.store, &chain->domain, chain->versions[to].version,
				  chain->disks[to]);
			drop_store(&pc);
			/* Laid out afresh, nothing is lacking but a page of the map. */
			if (lacks < MAP_SLACK_BYTES)
				assert_true(moved < MAP_SLACK_BYTES);
			else if ((double)moved / (double)lacks > worst)
				worst = (double)moved / (double)lacks;
			if (lacks >= MAP_SLACK_BYTES && moved * 100 > lacks * 125)
				fail_msg("v%u to v%u moves %llu bytes and lacks %llu", from + 1,
					 to + 1, (unsigned long long)moved,
					 (unsigned long long)lacks);
		}
	}
	print_message("# at most %.3f of what is lacking\n", worst);
}

static void a_fresh_pc_moves_little_more_than_a_version_needs(void **state)
{
	struct chain *chain = *state;
	double worst = 0;

	for (uint32_t to = 0; to < VERSIONS; to++) {
		struct store_folder pc = new_store();
		uint64_t needs = stored_after(chain, NULL, to);
		uint64_t moved = get(pc.store, chain->centre.store, chain->versions[to].version);

		drop_store(&pc);
		if ((double)moved / (double)needs > worst)
			worst = (double)moved / (double)needs;
		if (moved * 100 > needs * 105)
			fail_msg("v%u: moves %llu bytes and needs %llu", to + 1,
				 (unsigned long long)moved, (unsigned long long)needs);
	}
	print_message("# at most %.3f of what is needed\n", worst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(any_version_to_any_later_one_moves_little_more_than_it_lacks),
	    cmocka_unit_test(a_fresh_pc_moves_little_more_than_a_version_needs),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
