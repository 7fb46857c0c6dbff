/* SPDX-License-Identifier: MIT */
/*
 * Reading what a guest starts with: files whose size decides where they go.
 */
#ifndef BULKHEAD_MONITOR_FILE_H
#define BULKHEAD_MONITOR_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Opens a file and says how long it is. Returns a descriptor, or -1 with @error filled. */
int file_open(const char *path, uint64_t *size_bytes, char *error, size_t error_bytes);

/** Reads exactly @size_bytes from @offset on. Returns false if the file does not give them. */
bool file_read(int fd, uint64_t offset, uint8_t *to, uint64_t size_bytes);

#endif
