/*
 * bulkhead-file-view: reads one file out of an ext4 file system that a guest wrote, or serves all of
 * them to questions. It is the only program that interprets a guest's file system, so it can do nothing
 * else: a process of its own, without keys, that asks for blocks on descriptor 3 (backends/control.h),
 * writes the file's content to standard output or answers on standard input, and may make no other
 * system call.
 *
 * Ends with 0, or one of the statuses in file_view.h.
 */
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control.h"
#include "file_view.h"
#include "file_view_tree.h"

#define MEMORY_BYTES (512ul << 20)
#define PIECE_BYTES  65536u
#define SLOTS	     64u

/** Blocks read last: directories and inode tables are asked for again and again. */
static struct {
	uint64_t block; /* 1 + number; 0: empty */
	uint8_t bytes[BLOCK_BYTES];
} cache[SLOTS];

static const uint8_t *disk_block(uint64_t block)
{
	struct control_message answer;
	unsigned int slot = (unsigned int)(block % SLOTS);

	if (cache[slot].block != block + 1) {
		cache[slot].block = 0;
		if (control_ask(FILE_VIEW_BLOCKS, CONTROL_READ, block, 1, &answer,
				cache[slot].bytes) != 0)
			return NULL;
		cache[slot].block = block + 1;
	}
	return cache[slot].bytes;
}

static errcode_t read_bytes(uint64_t at, uint64_t count, uint8_t *to)
{
	while (count > 0) {
		uint64_t within = at % BLOCK_BYTES, now = BLOCK_BYTES - within;
		const uint8_t *bytes = disk_block(at / BLOCK_BYTES);

		if (!bytes)
			return EXT2_ET_SHORT_READ;
		if (now > count)
			now = count;
		memcpy(to, bytes + within, now);
		to += now;
		at += now;
		count -= now;
	}
	return 0;
}

/* ---- what libext2fs asks of a disk ---- */

static errcode_t view_read64(io_channel channel, unsigned long long block, int count, void *to)
{
	/* A negative count is bytes. */
	uint64_t bytes = count < 0 ? (uint64_t)-(int64_t)count
				   : (uint64_t)count * (uint64_t)channel->block_size;

	if (block > UINT64_MAX / (uint64_t)channel->block_size)
		return EXT2_ET_SHORT_READ;
	return read_bytes(block * (uint64_t)channel->block_size, bytes, to);
}

static errcode_t view_read(io_channel channel, unsigned long block, int count, void *to)
{
	return view_read64(channel, block, count, to);
}

static errcode_t view_set_block_size(io_channel channel, int block_size)
{
	if (block_size < 1024 || block_size > 65536)
		return EXT2_ET_INVALID_ARGUMENT;
	channel->block_size = block_size;
	return 0;
}

static errcode_t view_open(const char *name, int flags, io_channel *channel);

static errcode_t view_close(io_channel channel)
{
	free(channel->name);
	free(channel);
	return 0;
}

static errcode_t view_nothing(io_channel channel)
{
	return 0;
}

static errcode_t view_refuse(io_channel channel, unsigned long block, int count, const void *from)
{
	return EXT2_ET_RO_FILSYS;
}

static struct struct_io_manager manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "Bulkhead blocks",
    .open = view_open,
    .close = view_close,
    .set_blksize = view_set_block_size,
    .read_blk = view_read,
    .read_blk64 = view_read64,
    .write_blk = view_refuse,
    .flush = view_nothing,
};

static errcode_t view_open(const char *name, int flags, io_channel *channel)
{
	struct struct_io_channel *made = calloc(1, sizeof(*made));

	if (!made)
		return EXT2_ET_NO_MEMORY;
	made->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	made->manager = &manager;
	made->name = strdup(name);
	made->block_size = 1024;
	made->refcount = 1;
	*channel = made;
	return 0;
}

/* ---- the file ---- */

static int write_all(const char *bytes, size_t count)
{
	while (count > 0) {
		ssize_t written = write(STDOUT_FILENO, bytes, count);

		if (written <= 0)
			return FILE_VIEW_CANNOT_WRITE;
		bytes += written;
		count -= (size_t)written;
	}
	return 0;
}

static int copy_file(ext2_filsys files, ext2_ino_t number)
{
	static char bytes[PIECE_BYTES];
	struct ext2_inode inode;
	ext2_file_t file;
	unsigned int got = 0;
	int status = 0;

	if (ext2fs_read_inode(files, number, &inode) != 0)
		return FILE_VIEW_DAMAGED;
	if (!LINUX_S_ISREG(inode.i_mode))
		return FILE_VIEW_NO_FILE;
	if (ext2fs_file_open(files, number, 0, &file) != 0)
		return FILE_VIEW_DAMAGED;
	do {
		if (ext2fs_file_read(file, bytes, sizeof(bytes), &got) != 0)
			status = FILE_VIEW_DAMAGED;
		else
			status = write_all(bytes, got);
	} while (status == 0 && got > 0);
	ext2fs_file_close(file);
	return status;
}

static int view_one(ext2_filsys files, const char *path)
{
	ext2_ino_t number;
	errcode_t error = ext2fs_namei_follow(files, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &number);
	if (error != 0)
		return file_view_error(error) == -ENOENT ? FILE_VIEW_NOT_FOUND : FILE_VIEW_DAMAGED;
	return copy_file(files, number);
}

/** @path: of one file; NULL: all of them, to questions. */
static int view(const char *path)
{
	ext2_filsys files;
	int status;

	if (ext2fs_open("disk", EXT2_FLAG_64BITS, 0, 0, &manager, &files) != 0)
		return FILE_VIEW_NO_FILE_SYSTEM;
	status = path ? view_one(files, path) : file_view_tree(files, FILE_VIEW_QUESTIONS);
	ext2fs_free(files);
	return status;
}

/** From here on: memory, the two descriptors, the end. */
static int confine(void)
{
	static const int allowed[] = {SCMP_SYS(read),	 SCMP_SYS(write),  SCMP_SYS(recvfrom),
				      SCMP_SYS(sendto),	 SCMP_SYS(mmap),   SCMP_SYS(munmap),
				      SCMP_SYS(mremap),	 SCMP_SYS(brk),	   SCMP_SYS(exit_group),
				      SCMP_SYS(futex),	 SCMP_SYS(madvise), SCMP_SYS(getrandom),
				      SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time)};
	const struct rlimit memory = {MEMORY_BYTES, MEMORY_BYTES}, none = {0, 0};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int status = filter ? 0 : -ENOMEM;

	if (setrlimit(RLIMIT_AS, &memory) || setrlimit(RLIMIT_CORE, &none) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		status = -errno;
	for (size_t i = 0; status == 0 && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (status == 0)
		status = seccomp_load(filter);
	seccomp_release(filter);
	return status;
}

int main(int argc, char **argv)
{
	bool tree = argc == 2 && strcmp(argv[1], "--tree") == 0;

	if (argc != 2 || (argv[1][0] != '/' && !tree)) {
		fputs("usage: bulkhead-file-view /PATH|--tree  (started by bulkhead-agent and by bulkhead "
		      "image mount; blocks on descriptor 3, the file to standard output, or questions on "
		      "standard input)\n",
		      stderr);
		return 2;
	}
	if (confine() != 0)
		return FILE_VIEW_NOT_CONFINED;
	_exit(view(tree ? NULL : argv[1]));
}
