/* See testing_store.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "testing_store.h"

#include "store/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void testing_block(uint64_t block, uint8_t *bytes)
{
	uint64_t state = block * 0x9e3779b97f4a7c15ull + 1;

	memset(bytes, 0, BLOCK_BYTES);
	if (block / 16 % 3 == 2)
		return;
	/* Half noise, half text: compresses like a file. */
	for (unsigned int i = 0; i < BLOCK_BYTES / 2; i += 8) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		memcpy(bytes + i, &state, 8);
	}
}

static int read_disk(void *context, void *buffer, size_t bytes, uint64_t offset)
{
	uint8_t block[BLOCK_BYTES];

	for (size_t at = 0; at < bytes;) {
		size_t within = (offset + at) % BLOCK_BYTES, now = BLOCK_BYTES - within;

		now = now < bytes - at ? now : bytes - at;
		testing_block((offset + at) / BLOCK_BYTES, block);
		memcpy((uint8_t *)buffer + at, block + within, now);
		at += now;
	}
	return 0;
}

static int sign(void *context, struct dsse_envelope *envelope)
{
	return dsse_sign(envelope, context);
}

static void write_file(const struct testing_store *testing, const char *name, const void *data, size_t bytes)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", testing->folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes);
	close(fd);
}

void testing_store_make(struct testing_store *testing)
{
	static const uint8_t layers[32] = "the layers' key";
	struct publish_source source = {.bytes = TESTING_BLOCKS * BLOCK_BYTES, .read = read_disk};
	struct publish_result result;
	struct signing_key key;
	struct problem problem = {""};
	char path[128];

	memset(testing, 0, sizeof(*testing));
	strcpy(testing->folder, "/tmp/bulkhead-test-XXXXXX");
	assert_non_null(mkdtemp(testing->folder));
	assert_int_equal(signing_key_start(), 0);
	assert_int_equal(signing_key_generate(&key, "images"), 0);
	assert_int_equal(domain_create(&testing->domain), 0);
	snprintf(path, sizeof(path), "%s/store", testing->folder);
	assert_int_equal(store_open(path, true, &testing->store, &problem), 0);
	struct publish_options options = {
		.label = "work 1", .created = 1, .threads = 1, .signer = {.sign = sign, .context = &key}};

	if (publish_version(testing->store, &testing->domain, &source, &options, &result, &problem))
		fail_msg("%s", problem.line);
	memcpy(testing->version, result.version, VERSION_ID_BYTES);
	write_file(testing, "domain.key", testing->domain.key, DOMAIN_KEY_BYTES);
	write_file(testing, "key", layers, sizeof(layers));
}

void testing_store_remove(struct testing_store *testing)
{
	char command[128];

	if (testing->store)
		store_close(testing->store);
	snprintf(command, sizeof(command), "rm -rf '%s'", testing->folder);
	assert_int_equal(system(command), 0);
}
