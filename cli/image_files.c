/*
 * image_files.c: see image_files.h. One thread: while an answer is awaited, the reader's questions for blocks are
 * answered from here.
 */
#include "image_files.h"

#include "control.h"
#include "stream.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_SECONDS 120 /* a file system may be made to keep its reader busy for ever */
#define MAGIC_AT       (1024u + 56u)

struct image_files {
	char program[4096], name[32];
	struct image_bytes bytes;
	pid_t reader; /* 0: not started; -1: it has ended */
	int questions, blocks;
	struct file_view_answer answer;
	uint8_t content[FILE_VIEW_BYTES_MAX];
};

bool image_files_fit(const struct image_bytes *bytes)
{
	uint8_t magic[2];

	return bytes->size_bytes >= MAGIC_AT + sizeof(magic) &&
	       bytes->read(bytes->context, MAGIC_AT, sizeof(magic), magic) == 0 && magic[0] == 0x53 && magic[1] == 0xef;
}

int image_files_open(const char *program, const char *name, const struct image_bytes *bytes, struct image_files **opened)
{
	struct image_files *files = calloc(1, sizeof(*files));

	if (!files)
		return -ENOMEM;
	snprintf(files->program, sizeof(files->program), "%s", program);
	snprintf(files->name, sizeof(files->name), "%s", name);
	files->bytes = *bytes;
	files->questions = files->blocks = -1;
	*opened = files;
	return 0;
}

int image_files_attach(int questions, int blocks, const struct image_bytes *bytes, struct image_files **opened)
{
	int error = image_files_open("attached", "files", bytes, opened);

	if (error)
		return error;
	(*opened)->questions = questions;
	(*opened)->blocks = blocks;
	return 0;
}

static void end_reader(struct image_files *files)
{
	if (files->questions >= 0)
		close(files->questions);
	if (files->blocks >= 0)
		close(files->blocks);
	files->questions = files->blocks = -1;
	if (files->reader > 0) {
		kill(files->reader, SIGKILL);
		waitpid(files->reader, NULL, 0);
	}
	files->reader = -1;
}

void image_files_close(struct image_files *files)
{
	if (!files)
		return;
	end_reader(files);
	free(files);
}

/* The child's side: two sockets, nothing else. */
static void become(const char *program, int questions, int blocks)
{
	char *const words[] = {(char *)"bulkhead-file-view", (char *)"--tree", NULL}, *const environment[] = {NULL};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	questions = fcntl(questions, F_DUPFD_CLOEXEC, 10);
	blocks = fcntl(blocks, F_DUPFD_CLOEXEC, 10);
	if (dup2(questions, FILE_VIEW_QUESTIONS) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
	    dup2(blocks, FILE_VIEW_BLOCKS) < 0)
		_exit(126);
	close_range(FILE_VIEW_BLOCKS + 1, ~0u, 0);
	execve(program, words, environment);
	_exit(127);
}

static int start_reader(struct image_files *files)
{
	int questions[2], blocks[2];
	pid_t child;

	if (files->reader < 0)
		return -EIO;
	if (files->questions >= 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, questions))
		return -errno;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, blocks)) {
		close(questions[0]);
		close(questions[1]);
		return -EMFILE;
	}
	child = fork();
	if (child == 0)
		become(files->program, questions[1], blocks[1]);
	close(questions[1]);
	close(blocks[1]);
	files->questions = questions[0];
	files->blocks = blocks[0];
	files->reader = child > 0 ? child : -1;
	if (child > 0)
		return 0;
	end_reader(files);
	return -EAGAIN;
}

/* The last block of a partition may be a part of one; the rest reads as zeros. */
static int read_blocks(struct image_files *files, uint64_t first, uint64_t count, uint8_t *blocks)
{
	uint64_t size = files->bytes.size_bytes, at, bytes;

	if (count < 1 || count > CONTROL_READ_BLOCKS_MAX || first > size / BLOCK_BYTES)
		return -EINVAL;
	at = first * BLOCK_BYTES;
	bytes = count * BLOCK_BYTES;
	memset(blocks, 0, bytes);
	if (at >= size)
		return -EINVAL;
	return files->bytes.read(files->bytes.context, at, (uint32_t)(bytes < size - at ? bytes : size - at), blocks);
}

/* One question of the reader for blocks. Returns 0, or -EIO when it is to end. */
static int give_blocks(struct image_files *files)
{
	static uint8_t blocks[CONTROL_READ_BLOCKS_MAX * BLOCK_BYTES];
	struct control_message question, answer = {.what = 0};
	uint64_t count;
	int error = -EINVAL;

	if (stream_transfer(files->blocks, &question, sizeof(question), false))
		return -EIO;
	count = le64toh(question.count);
	if (le32toh(question.what) == CONTROL_READ)
		error = read_blocks(files, le64toh(question.first), count, blocks);
	answer.what = htole32((uint32_t)error);
	answer.count = htole64(error ? 0 : count);
	if (stream_transfer(files->blocks, &answer, sizeof(answer), true) ||
	    (!error && stream_transfer(files->blocks, blocks, count * BLOCK_BYTES, true)))
		return -EIO;
	return 0;
}

static int take_answer(struct image_files *files)
{
	struct file_view_answer *answer = &files->answer;

	if (stream_transfer(files->questions, answer, sizeof(*answer), false) || answer->bytes > FILE_VIEW_BYTES_MAX ||
	    answer->error > 0 || answer->error < -4095 ||
	    stream_transfer(files->questions, files->content, answer->bytes, false))
		return -EIO;
	return 0;
}

/* Gives blocks until the answer comes. */
static int wait_for_answer(struct image_files *files)
{
	time_t end = time(NULL) + ANSWER_SECONDS;

	for (;;) {
		struct pollfd waits[] = {{files->questions, POLLIN, 0}, {files->blocks, POLLIN, 0}};

		if (poll(waits, 2, 1000) < 0 && errno != EINTR)
			return -EIO;
		if (waits[0].revents)
			return take_answer(files);
		if (waits[1].revents && give_blocks(files))
			return -EIO;
		if (time(NULL) > end)
			return -EIO;
	}
}

static int ask(struct image_files *files, enum file_view_what what, const char *path, uint64_t offset, uint32_t count)
{
	struct file_view_question question = {
		.what = what, .path_bytes = (uint32_t)strlen(path), .offset = offset, .count = count};
	int error = question.path_bytes <= FILE_VIEW_PATH_MAX ? start_reader(files) : -ENAMETOOLONG;

	if (error)
		return error;
	if (stream_transfer(files->questions, &question, sizeof(question), true) ||
	    stream_transfer(files->questions, (void *)path, question.path_bytes, true) || wait_for_answer(files)) {
		end_reader(files);
		fprintf(stderr,
			"bulkhead: %s: its reader (%s) ended; the file system is damaged, or made to harm who reads it. "
			"The partition's bytes are still shown\n",
			files->name, files->program);
		return -EIO;
	}
	return files->answer.error;
}

int image_files_stat(struct image_files *files, const char *path, struct stat *status)
{
	int error = ask(files, FILE_VIEW_STAT, path, 0, 0);

	memset(status, 0, sizeof(*status));
	if (error)
		return error;
	status->st_mode = files->answer.mode & (S_IFMT | 0777);
	status->st_nlink = files->answer.links;
	status->st_size = files->answer.size_bytes > INT64_MAX ? INT64_MAX : (off_t)files->answer.size_bytes;
	status->st_blocks = (blkcnt_t)(status->st_size / 512);
	status->st_mtime = status->st_ctime = files->answer.changed;
	return 0;
}

static bool is_name(const char *name, size_t length)
{
	return length > 0 && !memchr(name, '/', length) && !memchr(name, 0, length) && strncmp(name, ".", length) &&
	       strncmp(name, "..", length);
}

int image_files_list(struct image_files *files, const char *path, int (*each)(void *context, const char *name),
		     void *context)
{
	char name[FILE_VIEW_NAME_MAX + 1];
	uint64_t given = 0;
	int error;

	while (!(error = ask(files, FILE_VIEW_LIST, path, given, 0)) && files->answer.bytes) {
		for (uint32_t at = 0; at < files->answer.bytes; given++) {
			uint32_t length = files->content[at++];

			if (length > files->answer.bytes - at)
				return -EIO;
			memcpy(name, files->content + at, length);
			name[length] = 0;
			at += length;
			/* A name that no directory may hold is left out, not shown as something else. */
			if (is_name(name, length) && each(context, name))
				return 0;
		}
	}
	return error;
}

int image_files_read(struct image_files *files, const char *path, uint64_t offset, size_t size, char *bytes)
{
	size_t done = 0;

	while (done < size) {
		uint32_t now = size - done < FILE_VIEW_BYTES_MAX ? (uint32_t)(size - done) : FILE_VIEW_BYTES_MAX;
		int error = ask(files, FILE_VIEW_READ, path, offset + done, now);

		if (error)
			return error;
		if (files->answer.bytes > now)
			return -EIO;
		if (!files->answer.bytes)
			break;
		memcpy(bytes + done, files->content, files->answer.bytes);
		done += files->answer.bytes;
	}
	return (int)done;
}

int image_files_link(struct image_files *files, const char *path, char *target, size_t target_bytes)
{
	int error = ask(files, FILE_VIEW_LINK, path, 0, 0);
	size_t length = files->answer.bytes < target_bytes ? files->answer.bytes : target_bytes - 1;

	if (error)
		return error;
	memcpy(target, files->content, length);
	target[length] = 0;
	return 0;
}
