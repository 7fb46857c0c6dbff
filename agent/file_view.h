/**
 * bulkhead-file-view, as those who start it see it: how it ends, where it finds its blocks, and what it
 * can be asked when it serves a whole file system (--tree).
 *
 * Blocks are asked for on descriptor FILE_VIEW_BLOCKS (backends/control.h, CONTROL_READ only). With
 * --tree, standard input is a socket of questions: a struct file_view_question and the path; each gets a
 * struct file_view_answer and its bytes. One at a time. Both ends are on one machine: native integers.
 */
#ifndef AGENT_FILE_VIEW_H
#define AGENT_FILE_VIEW_H

#include <stdint.h>

#define FILE_VIEW_BLOCKS    3
#define FILE_VIEW_QUESTIONS 0
#define FILE_VIEW_PATH_MAX  4096u
#define FILE_VIEW_BYTES_MAX 65536u
#define FILE_VIEW_NAME_MAX  255u

enum file_view_status {
	FILE_VIEW_DONE = 0,
	FILE_VIEW_NOT_CONFINED = 10,
	FILE_VIEW_NO_FILE_SYSTEM, /* no ext4 on the whole disk */
	FILE_VIEW_NOT_FOUND,
	FILE_VIEW_NO_FILE, /* a directory, a device */
	FILE_VIEW_DAMAGED,
	FILE_VIEW_CANNOT_WRITE,
};

enum file_view_what {
	FILE_VIEW_STAT = 1, /* mode, links, size, changed */
	FILE_VIEW_LIST,	    /* bytes: of each entry from number `offset` on, a length (1 byte) and the name */
	FILE_VIEW_READ,	    /* bytes: up to `count` from `offset` on; none at the end */
	FILE_VIEW_LINK,	    /* bytes: the target */
};

struct file_view_question {
	uint32_t what;
	uint32_t path_bytes; /* of the path that follows; it begins with '/' and has no zero */
	uint64_t offset;
	uint32_t count;
	uint32_t zero;
};
_Static_assert(sizeof(struct file_view_question) == 24, "on the socket");

struct file_view_answer {
	int32_t error; /* 0 or a negative errno; then nothing else counts */
	uint32_t bytes;
	uint32_t mode, links; /* of stat(2) */
	uint64_t size_bytes;
	int64_t changed; /* seconds since 1970 */
};
_Static_assert(sizeof(struct file_view_answer) == 32, "on the socket");

#endif
