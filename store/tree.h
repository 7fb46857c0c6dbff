/*
 * tree.h: the root of a 128-ary tree over the SHA-256 of every plain block, in disk order.
 *
 * A node is 128 hashes of 32 bytes (missing ones zero) and is itself hashed with SHA-256; levels are
 * added until one node is left, at least one. Someone who sees only plain blocks can check them
 * against the root. Blocks are fed in order, in bounded memory; runs of zero blocks are cheap.
 */
#ifndef STORE_TREE_H
#define STORE_TREE_H

#include "store/format.h"

#include <stddef.h>
#include <stdint.h>

#define TREE_LEVELS_MAX 6u

struct tree {
	uint8_t node[TREE_LEVELS_MAX][TREE_FANOUT * NAME_BYTES];
	uint32_t filled[TREE_LEVELS_MAX];
	/* Hash of a subtree of zero blocks, by height; [0] is that of one block. */
	uint8_t zero[TREE_LEVELS_MAX][NAME_BYTES];
	uint64_t count;
};

/** Starts an empty tree. Returns 0 or -EIO. */
int tree_start(struct tree *tree);

/** Appends the hash of the next block. Returns 0, -EFBIG or -EIO. */
int tree_add(struct tree *tree, const uint8_t plain[NAME_BYTES]);

/** Appends @count zero blocks. Returns 0, -EFBIG or -EIO. */
int tree_add_zeros(struct tree *tree, uint64_t count);

/** Closes the tree; it holds nothing afterwards. An empty tree is -EINVAL. */
int tree_root(struct tree *tree, uint8_t root[NAME_BYTES]);

#endif
