/* store_test.c: see store_test.h. */
#include "store_test.h"
#include "store/image.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct test_disk *test_disk_new(uint64_t bytes)
{
	struct test_disk *disk = calloc(1, sizeof(*disk));

	assert_non_null(disk);
	disk->data = calloc(1, bytes);
	assert_non_null(disk->data);
	disk->bytes = bytes;
	return disk;
}

void test_disk_free(struct test_disk *disk)
{
	free(disk->data);
	free(disk);
}

void test_disk_fill(struct test_disk *disk, uint64_t first, uint64_t count, uint32_t seed)
{
	for (uint64_t block = first; block < first + count; block++) {
		uint8_t *at = disk->data + block * BLOCK_BYTES;
		uint32_t state = seed * 2654435761u + (uint32_t)block * 40503u + 1;

		for (uint32_t i = 0; i < BLOCK_BYTES && block * BLOCK_BYTES + i < disk->bytes; i++) {
			state = state * 1664525u + 1013904223u;
			at[i] = i % 2 ? 'a' : (uint8_t)(state >> 24);
		}
	}
}

static int disk_read(void *context, void *buffer, size_t bytes, uint64_t offset)
{
	struct test_disk *disk = context;

	if (offset + bytes > disk->bytes)
		return -EINVAL;
	memcpy(buffer, disk->data + offset, bytes);
	__atomic_fetch_add(&disk->read_bytes, bytes, __ATOMIC_RELAXED);
	return 0;
}

struct publish_source test_disk_source(struct test_disk *disk)
{
	return (struct publish_source){.bytes = disk->bytes, .read = disk_read, .context = disk};
}

char *test_folder(void)
{
	const char *base = getenv("TMPDIR");
	char path[256];

	snprintf(path, sizeof(path), "%s/store-test-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(path));
	return strdup(path);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	return remove(path);
}

void test_folder_remove(char *path)
{
	nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(path);
}

struct domain test_domain(uint8_t seed)
{
	uint8_t key[DOMAIN_KEY_BYTES];
	struct domain domain;

	memset(key, seed, sizeof(key));
	assert_int_equal(domain_open(key, &domain), 0);
	return domain;
}

static const struct signing_key *test_key(void)
{
	static struct signing_key key;
	static bool ready;

	if (!ready) {
		assert_int_equal(signing_key_start(), 0);
		assert_int_equal(signing_key_generate(&key, "images"), 0);
		ready = true;
	}
	return &key;
}

static int sign(void *context, struct dsse_envelope *envelope)
{
	return dsse_sign(envelope, test_key());
}

static int verify(void *context, const struct dsse_envelope *envelope)
{
	return dsse_verify(envelope, DSSE_TYPE_MANIFEST, &test_key()->public_half, 1, 1);
}

struct version_signer test_signer(void)
{
	return (struct version_signer){.sign = sign};
}

struct version_trust test_trust(void)
{
	return (struct version_trust){.verify = verify};
}

void test_publish(struct store *store, const struct domain *domain, struct test_disk *disk,
		  const char *label, const uint8_t *base, struct publish_result *result)
{
	struct publish_source source = test_disk_source(disk);
	struct publish_options options = {
	    .label = label,
	    .created = 1700000000,
	    .threads = 2,
	    .base = base,
	    .signer = test_signer(),
	};
	struct problem problem = {""};
	int error = publish_version(store, domain, &source, &options, result, &problem);

	if (error)
		fail_msg("publish: %d %s", error, problem.line);
}

void test_same(struct store *store, const struct domain *domain, const uint8_t *version,
	       const struct test_disk *disk)
{
	struct expand_options options = {.threads = 2, .no_sync = true};
	char path[] = "/tmp/store-test-disk-XXXXXX";
	int fd = mkstemp(path);
	struct problem problem = {""};
	uint8_t *data = malloc(disk->bytes), block[BLOCK_BYTES];
	struct image *image;
	uint64_t blocks = disk->bytes / BLOCK_BYTES;

	assert_true(fd >= 0);
	unlink(path);
	if (expand_version(store, domain, version, fd, &options, NULL, &problem))
		fail_msg("expand: %s", problem.line);
	assert_int_equal(lseek(fd, 0, SEEK_END), (off_t)disk->bytes);
	assert_int_equal(pread(fd, data, disk->bytes, 0), (ssize_t)disk->bytes);
	assert_memory_equal(data, disk->data, disk->bytes);
	assert_int_equal(image_open(store, domain, version, &image, &problem), 0);
	for (uint64_t i = 0; i < blocks; i += 1 + blocks / 61) {
		assert_int_equal(image_read(image, i, 1, block, NULL), 0);
		assert_memory_equal(block, disk->data + i * BLOCK_BYTES, BLOCK_BYTES);
	}
	image_close(image);
	close(fd);
	free(data);
}
