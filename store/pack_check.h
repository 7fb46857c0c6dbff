/* pack_check.h: reading a pack file end to end: which parts of it are what they should be. */
#ifndef STORE_PACK_CHECK_H
#define STORE_PACK_CHECK_H

#include "store/file.h"
#include "store/pack.h"

/**
 * Finds the table of a pack by its trailer. The result is only as good as the file.
 *
 * Returns 0, -EBADMSG or another errno. Release with pack_table_release().
 */
int pack_check_find_table(struct store_file *file, struct pack_table *table);

/**
 * Hashes frames and compares them with the table.
 *
 * @wanted: which, or NULL for all. @good: receives a bit for each frame that is right.
 *
 * Returns 0 (look at @good) or an error of reading.
 */
int pack_check_frames(struct store_file *file, const struct pack_table *table,
		      const uint8_t *wanted, uint8_t *good);

#endif
