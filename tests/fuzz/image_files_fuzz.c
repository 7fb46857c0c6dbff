/*
 * A reader of file systems that was taken over by the one it reads: arbitrary answers and arbitrary questions for blocks.
 * Names must be names, and nothing may be read outside the partition.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "image_files.h"

#define PARTITION_BYTES 100000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static int read_bytes(void *context, uint64_t offset, uint32_t size, void *bytes)
{
	if (offset > PARTITION_BYTES || size > PARTITION_BYTES - offset)
		abort();
	memset(bytes, 1, size);
	return 0;
}

static int look(void *context, const char *name)
{
	unsigned int *left = context;

	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		abort();
	return --*left == 0;
}

/* A socket on which the bytes have arrived and nothing more will. */
static int filled(const uint8_t *bytes, size_t size, int *other)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) || write(pair[1], bytes, size) != (ssize_t)size ||
	    shutdown(pair[1], SHUT_WR))
		abort();
	*other = pair[1];
	return pair[0];
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct image_bytes bytes = {read_bytes, NULL, PARTITION_BYTES};
	static char content[200000], target[64];
	struct image_files *files;
	struct stat status;
	unsigned int left = 100;
	int others[2], questions, blocks;
	size_t split;

	if (size < 2)
		return 0;
	split = data[0] % (size - 1);
	questions = filled(data + 1 + split, size - 1 - split, &others[0]);
	blocks = filled(data + 1, split, &others[1]);
	if (image_files_attach(questions, blocks, &bytes, &files))
		return 0;
	image_files_stat(files, "/a", &status);
	if (image_files_link(files, "/b", target, sizeof(target)) == 0 && !memchr(target, 0, sizeof(target)))
		abort();
	image_files_list(files, "/", look, &left);
	image_files_read(files, "/c", 0, sizeof(content), content);
	image_files_close(files);
	close(others[0]);
	close(others[1]);
	return 0;
}
