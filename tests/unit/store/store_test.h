/*
 * store_test.h: what the store's tests share: a scratch folder, made-up disks, keys, a signer.
 */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include "store/expand.h"
#include "store/publish.h"
#include "store/store.h"

/** A disk in memory as a source. */
struct test_disk {
	uint8_t *data;
	uint64_t bytes;
	uint64_t read_bytes;
};

struct test_disk *test_disk_new(uint64_t bytes);
void test_disk_free(struct test_disk *disk);
/** Fills blocks with bytes that depend on @seed; half of each compresses. */
void test_disk_fill(struct test_disk *disk, uint64_t first, uint64_t count, uint32_t seed);
struct publish_source test_disk_source(struct test_disk *disk);

/** A fresh folder below $TMPDIR; remove it with test_folder_remove(). */
char *test_folder(void);
void test_folder_remove(char *path);

struct domain test_domain(uint8_t seed);
/** A signer and the trust in it. */
struct version_signer test_signer(void);
struct version_trust test_trust(void);

/** Publishes with a label and, if not NULL, a base; asserts success. */
void test_publish(struct store *store, const struct domain *domain, struct test_disk *disk,
		  const char *label, const uint8_t *base, struct publish_result *result);

/** Asserts that a version, expanded and read at random, is exactly @disk. */
void test_same(struct store *store, const struct domain *domain, const uint8_t *version,
	       const struct test_disk *disk);

#endif
