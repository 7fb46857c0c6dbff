/* collect_private.h: removing files that belong to nothing. */
#ifndef STORE_COLLECT_PRIVATE_H
#define STORE_COLLECT_PRIVATE_H

#include "store/store.h"

/** Removes stray files. Inside a write transaction, so that nothing is about to be committed. */
int collect_strays(struct store *store, uint64_t *removed);

#endif
