/*
 * Runs one of QEMU's tools on bytes from outside: in namespaces of its own (bubblewrap) with no network, no file system
 * but /usr (read-only), no capabilities, and limits on memory, processor time, file size and wall time. The tool gets
 * its files as open descriptors and nothing else, so that no name inside a hostile image leads anywhere.
 */
#ifndef BULKHEAD_DISKS_SANDBOX_H
#define BULKHEAD_DISKS_SANDBOX_H

#include "source.h"

#include <stdbool.h>

/** The tool sees descriptor i of its job as this number; /proc/self/fd/<number> opens it. */
#define SANDBOX_FIRST_FD 10
#define SANDBOX_FDS	 3
/** The same as text, for the arguments. */
#define SANDBOX_INPUT  "/proc/self/fd/10"
#define SANDBOX_OUTPUT "/proc/self/fd/11"
#define SANDBOX_EXTRA  "/proc/self/fd/12"

struct sandbox_job {
	const char *const *arguments; /**< program and arguments, ended by NULL; the program is a path in /usr */
	int fds[SANDBOX_FDS];	      /**< input, output, one more; -1: none */
	uint64_t memory_bytes;	      /**< address space */
	uint64_t file_bytes;	      /**< longest file it may write */
	uint64_t output_bytes_max;    /**< space that the output may take on its disk; the job ends when it takes more */
	unsigned int seconds;	      /**< processor time and wall time */
	int tolerated_status;	      /**< an exit status besides 0 that is success too; 0: none */
	/** Called with the tool's own "(12.34/100%)" on its standard output; may be NULL. */
	void (*progress)(void *context, double percent);
	void *context;
	/** Gets what the tool says on standard output, ended by a zero byte, if not NULL; more than fits is an error. */
	char *text;
	size_t text_bytes;
};

/**
 * Runs the job to its end.
 * Returns 0 if the tool did, else a negative errno and the reason: -ETIMEDOUT, -ENOSPC (output_bytes_max), -EIO (the
 * tool failed: its last line of error is the reason), -ENOEXEC (bubblewrap or the tool is missing).
 */
int sandbox_run(const struct sandbox_job *job, struct disk_why *why);

#endif
