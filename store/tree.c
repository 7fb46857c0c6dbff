/* tree.c: see tree.h. */
#include "store/tree.h"
#include "store/domain.h"

#include <errno.h>
#include <string.h>

int tree_start(struct tree *tree)
{
	static const uint8_t zeros[BLOCK_BYTES];
	uint8_t node[TREE_FANOUT * NAME_BYTES];
	int error;

	memset(tree, 0, sizeof(*tree));
	error = store_sha256(zeros, sizeof(zeros), tree->zero[0]);
	for (uint32_t level = 1; !error && level < TREE_LEVELS_MAX; level++) {
		for (uint32_t i = 0; i < TREE_FANOUT; i++)
			memcpy(node + i * NAME_BYTES, tree->zero[level - 1], NAME_BYTES);
		error = store_sha256(node, sizeof(node), tree->zero[level]);
	}
	return error;
}

/* Adds a hash at @level; full nodes move up. */
static int add_at(struct tree *tree, uint32_t level, const uint8_t hash[NAME_BYTES])
{
	uint8_t up[NAME_BYTES];

	memcpy(up, hash, NAME_BYTES);
	for (;; level++) {
		if (level >= TREE_LEVELS_MAX)
			return -EFBIG;
		memcpy(tree->node[level] + tree->filled[level] * NAME_BYTES, up, NAME_BYTES);
		if (++tree->filled[level] < TREE_FANOUT)
			return 0;
		if (store_sha256(tree->node[level], sizeof(tree->node[level]), up))
			return -EIO;
		tree->filled[level] = 0;
	}
}

int tree_add(struct tree *tree, const uint8_t plain[NAME_BYTES])
{
	tree->count++;
	return add_at(tree, 0, plain);
}

int tree_add_zeros(struct tree *tree, uint64_t count)
{
	tree->count += count;
	while (count) {
		uint64_t covered = 1;
		uint32_t level = 0;
		int error;

		/* The largest whole subtree of zeros that starts here. */
		while (level + 1 < TREE_LEVELS_MAX && !tree->filled[level] &&
		       covered * TREE_FANOUT <= count) {
			covered *= TREE_FANOUT;
			level++;
		}
		error = add_at(tree, level, tree->zero[level]);
		if (error)
			return error;
		count -= covered;
	}
	return 0;
}

int tree_root(struct tree *tree, uint8_t root[NAME_BYTES])
{
	uint32_t top = 0;
	uint64_t nodes = tree->count;

	if (!nodes)
		return -EINVAL;
	do {
		nodes = (nodes + TREE_FANOUT - 1) / TREE_FANOUT;
		top++;
	} while (nodes > 1);
	/* Close the open node of each level; a level that just filled up has already moved on. */
	for (uint32_t level = 0; level < top; level++) {
		uint32_t filled = tree->filled[level];
		uint8_t up[NAME_BYTES];
		int error;

		if (!filled)
			continue;
		memset(tree->node[level] + filled * NAME_BYTES, 0,
		       (TREE_FANOUT - filled) * NAME_BYTES);
		tree->filled[level] = 0;
		if (store_sha256(tree->node[level], sizeof(tree->node[level]), up))
			return -EIO;
		error = add_at(tree, level + 1, up);
		if (error)
			return error;
	}
	memcpy(root, tree->node[top], NAME_BYTES);
	tree->filled[top] = 0;
	tree->count = 0;
	return 0;
}
