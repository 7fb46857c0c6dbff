/*
 * Files in memory with a power switch: every write, punch and sync counts; at the chosen one the power fails, and what
 * is then on disk is what was synced plus a random part of the rest: each write done, not done, or done in some of its
 * 512-byte sectors.
 */
#ifndef TESTS_CRASH_FILES_H
#define TESTS_CRASH_FILES_H

#include "store/file.h"

/** @seed chooses what survives. The power fails at operation number @cut_at (from 1); 0: never. */
struct store_files *crash_files_new(unsigned int seed, uint64_t cut_at);

/** Operations so far. */
uint64_t crash_files_count(const struct store_files *files);
bool crash_files_is_cut(const struct store_files *files);

/** Power returns: files hold what survived, nothing is open, the power does not fail again. */
void crash_files_restart(struct store_files *files);

#endif
