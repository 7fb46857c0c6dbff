/*
 * One file out of a backup: see file_restore.h. This process has the keys and the network and
 * interprets nothing; bulkhead-file-view interprets the guest's file system and has neither. Between
 * the two goes one kind of question: read a block.
 */
#include "file_restore.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control.h"
#include "file_view.h"
#include "pack_source.h"
#include "store/image.h"

#define PROGRAM "bulkhead-file-view"

struct restore {
	struct agent *agent;
	struct user_disk *disk;
	struct pack_source packs;
	struct fetch *fetch;
	struct image *image;
	struct problem problem;
};

static const struct {
	int status;
	int result;
	const char *text;
} endings[] = {
    {FILE_VIEW_NOT_CONFINED, -EPERM, "this system cannot confine the program that reads it (seccomp)"},
    {FILE_VIEW_NO_FILE_SYSTEM, -EINVAL, "the disk holds no ext4 file system; restore the whole disk"},
    {FILE_VIEW_NOT_FOUND, -ENOENT, "there is no such file in this backup"},
    {FILE_VIEW_NO_FILE, -EISDIR, "this is no file with content"},
    {FILE_VIEW_DAMAGED, -EIO, "the guest's file system is damaged there"},
    {FILE_VIEW_CANNOT_WRITE, -ENOSPC, "it cannot be written there; is the disk full?"},
};

/** Reads blocks, fetching frames that are not here. */
static int read_blocks(struct restore *restore, uint64_t first, uint32_t count, uint8_t *to)
{
	struct image_frame missing;
	int result;

	/* Each round brings one frame; a read of so few blocks needs no more than these. */
	for (unsigned int round = 0; round < 2 * CONTROL_READ_BLOCKS_MAX; round++) {
		result = image_read(restore->image, first, count, to, &missing);
		if (result != -ENODATA)
			return result;
		result = fetch_frame(restore->fetch, &missing.address);
		if (result != 0)
			return result;
	}
	return -EIO;
}

/** Answers the program's questions until it has no more. */
static void answer_questions(struct restore *restore, int connection)
{
	uint64_t blocks = manifest_blocks(image_manifest(restore->image));
	uint8_t *bytes = malloc((size_t)CONTROL_READ_BLOCKS_MAX * BLOCK_BYTES);
	struct control_message question;

	while (bytes && recv(connection, &question, sizeof(question), MSG_WAITALL) ==
			    (ssize_t)sizeof(question)) {
		uint64_t first = le64toh(question.first), count = le64toh(question.count);
		struct control_message answer = {.what = htole32((uint32_t)-EINVAL)};
		bool good = le32toh(question.what) == CONTROL_READ && count >= 1 &&
			    count <= CONTROL_READ_BLOCKS_MAX && first < blocks &&
			    count <= blocks - first;
		int result = good ? read_blocks(restore, first, (uint32_t)count, bytes) : -EINVAL;

		answer.what = htole32((uint32_t)result);
		answer.count = htole64(result == 0 ? count : 0);
		if (send(connection, &answer, sizeof(answer), MSG_NOSIGNAL) !=
			(ssize_t)sizeof(answer) ||
		    (result == 0 &&
		     send(connection, bytes, count * BLOCK_BYTES, MSG_NOSIGNAL) !=
			 (ssize_t)(count * BLOCK_BYTES)))
			break;
	}
	if (bytes)
		sodium_memzero(bytes, (size_t)CONTROL_READ_BLOCKS_MAX * BLOCK_BYTES);
	free(bytes);
}

/** The program lies beside this one, or where it is installed. */
static void find_program(char path[AGENT_PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", path, AGENT_PATH_MAX - sizeof(PROGRAM) - 1);
	char *slash;

	path[length > 0 ? length : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash) {
		memcpy(slash + 1, PROGRAM, sizeof(PROGRAM));
		if (access(path, X_OK) == 0)
			return;
	}
	snprintf(path, AGENT_PATH_MAX, "%s", FILE_VIEW_PROGRAM);
}

static void become(const char *program, const char *path, int connection, int file)
{
	char *const words[] = {PROGRAM, (char *)path, NULL}, *const environment[] = {NULL};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	connection = fcntl(connection, F_DUPFD_CLOEXEC, 10);
	file = fcntl(file, F_DUPFD_CLOEXEC, 10);
	if (dup2(null, 0) < 0 || dup2(null, 2) < 0 || dup2(file, 1) < 0 ||
	    dup2(connection, FILE_VIEW_BLOCKS) < 0)
		_exit(126);
	close_range(FILE_VIEW_BLOCKS + 1, ~0u, 0);
	execve(program, words, environment);
	_exit(127);
}

static int run_program(struct restore *restore, const char *path, int file)
{
	char program[AGENT_PATH_MAX];
	int pair[2], status = 0;
	pid_t child;

	find_program(program);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return agent_fail(restore->agent, -errno, "%s: %s", path, strerror(errno));
	child = fork();
	if (child == 0)
		become(program, path, pair[1], file);
	close(pair[1]);
	if (child > 0)
		answer_questions(restore, pair[0]);
	close(pair[0]);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return agent_fail(restore->agent, -EAGAIN, "%s: no process to read it with", path);
	if (WIFEXITED(status) && WEXITSTATUS(status) == FILE_VIEW_DONE)
		return 0;
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
		if (WIFEXITED(status) && WEXITSTATUS(status) == endings[i].status)
			return agent_fail(restore->agent, endings[i].result, "%.150s: %s", path,
					  endings[i].text);
	return agent_fail(restore->agent, -EIO,
			  "%.150s: %s ended with %s %d; the guest's file system may be made to harm it",
			  path, program, WIFSIGNALED(status) ? "signal" : "status",
			  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static int open_backup(struct restore *restore, const char *envelope)
{
	const struct version_trust trust = {user_disk_verify, restore->disk};
	const struct fetch_options map = {.threads = 1, .map_only = true};
	int result = fetch_open(restore->disk->store, &restore->packs.source, envelope,
				strlen(envelope), &trust, &restore->fetch, &restore->problem);

	if (result == -EKEYREJECTED)
		return problem_set(&restore->problem, result,
				   "this backup was not made with this disk's key");
	if (result == 0)
		result = fetch_run(restore->fetch, &map, &restore->problem);
	return result ? result
		      : image_open(restore->disk->store, &restore->disk->domain,
				   fetch_version_id(restore->fetch), &restore->image,
				   &restore->problem);
}

int file_restore(struct agent *agent, struct user_disk *disk, const char *name,
		 const char *envelope, const char *path, int file)
{
	struct restore restore = {.agent = agent, .disk = disk};
	char prefix[224];
	int result;

	if (path[0] != '/')
		return agent_fail(agent, -EINVAL, "%.150s: name the file from / on", path);
	snprintf(prefix, sizeof(prefix), "/api/v1/device/disks/%s/packs/", name);
	result = pack_source_open(agent, prefix, envelope, strlen(envelope), 1, false, &restore.packs);
	if (result != 0)
		return agent_fail(agent, result, "%s: the server's backup is none", name);
	result = open_backup(&restore, envelope);
	if (result != 0)
		agent_fail(agent, result, "%s: %.250s", name,
			   restore.problem.line[0] ? restore.problem.line : strerror(-result));
	else
		result = run_program(&restore, path, file);
	if (restore.image)
		image_close(restore.image);
	if (restore.fetch)
		fetch_close(restore.fetch);
	pack_source_close(&restore.packs);
	return result;
}
