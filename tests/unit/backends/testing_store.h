/* A small store with one version in it, for tests of what serves disks. */
#ifndef TESTS_TESTING_STORE_H
#define TESTS_TESTING_STORE_H

#include "store/image.h"

#define TESTING_BLOCKS 700u

struct testing_store {
	char folder[64];
	struct store *store;
	struct domain domain;
	uint8_t version[VERSION_ID_BYTES];
};

/** What a block of the version holds: zeros in every third group of 16 blocks. */
void testing_block(uint64_t block, uint8_t *bytes);

/** Makes a folder with a store ("store"), a domain key file ("domain.key") and a key file ("key"); publishes. */
void testing_store_make(struct testing_store *testing);
void testing_store_remove(struct testing_store *testing);

#endif
