/*
 * The files of one partition of an image. Who parses the file system is bulkhead-file-view, a process without keys and
 * rights; this side gives it blocks and believes nothing of its answers that does not fit the question.
 */
#ifndef BULKHEAD_CLI_IMAGE_FILES_H
#define BULKHEAD_CLI_IMAGE_FILES_H

#include "file_view.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct image_files;

/** Where the partition's bytes come from. Returns 0 or a negative errno; called from within the calls below. */
struct image_bytes {
	int (*read)(void *context, uint64_t offset, uint32_t size, void *bytes);
	void *context;
	uint64_t size_bytes;
};

/** Whether the partition looks like ext2, ext3 or ext4: its magic number alone, without parsing. */
bool image_files_fit(const struct image_bytes *bytes);

/**
 * Gets ready; the reader starts with the first question. @program: path of bulkhead-file-view. @bytes is copied.
 * Returns 0 or -ENOMEM.
 */
int image_files_open(const char *program, const char *name, const struct image_bytes *bytes, struct image_files **files);

/** As image_files_open() with a reader that runs already: its two sockets, which are taken over. For tests. */
int image_files_attach(int questions, int blocks, const struct image_bytes *bytes, struct image_files **files);

/** Ends the reader. NULL is allowed. */
void image_files_close(struct image_files *files);

/* All: @path begins with '/'. Return 0 (read: bytes) or a negative errno; -EIO once the reader has ended. */

int image_files_stat(struct image_files *files, const char *path, struct stat *status);

/** Calls @each for every name but "." and "..", until it returns non-zero. */
int image_files_list(struct image_files *files, const char *path, int (*each)(void *context, const char *name),
		     void *context);

int image_files_read(struct image_files *files, const char *path, uint64_t offset, size_t size, char *bytes);

/** @target: ended by a zero, cut off if it does not fit. */
int image_files_link(struct image_files *files, const char *path, char *target, size_t target_bytes);

#endif
