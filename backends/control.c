/* Backups of a disk that is being served; see control.h. */
#include "control.h"
#include "stream.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct control {
	struct sockaddr_un address;
	int listener, stop;
	struct layer *layer;
	struct version *version;
	pthread_t thread;
};

static int find_run(struct layer *layer, bool changed, uint64_t from, struct control_message *answer)
{
	enum block_state state = BLOCK_DATA;
	bool found = changed ? layer_backup_next(layer, from, &answer->first, &answer->count, &state)
			     : layer_backup_next_data(layer, from, &answer->first, &answer->count);

	answer->state = state == BLOCK_DATA;
	return found ? 0 : -ENOENT;
}

static int say_progress(struct version *version, struct control_message *answer)
{
	struct version_progress progress;

	if (!version)
		return -ENOTSUP;
	progress = version_progress(version);
	answer->first = progress.arrived;
	answer->count = progress.blocks;
	answer->state = progress.done;
	return progress.error;
}

void control_answer(struct layer *layer, struct version *version, const struct control_message *question,
		    struct control_message *answer, uint8_t *blocks)
{
	uint64_t first = le64toh(question->first), count = le64toh(question->count);
	uint32_t what = le32toh(question->what);
	int error = -EINVAL;

	memset(answer, 0, sizeof(*answer));
	if (question->state != 0)
		error = -EINVAL;
	else if (what == CONTROL_PROGRESS)
		error = say_progress(version, answer);
	else if (!layer)
		error = -EROFS;
	else if (what == CONTROL_BEGIN)
		error = layer_backup_begin(layer, NULL);
	else if (what == CONTROL_CHANGED || what == CONTROL_DATA)
		error = find_run(layer, what == CONTROL_CHANGED, first, answer);
	else if (what == CONTROL_READ && count >= 1 && count <= CONTROL_READ_BLOCKS_MAX)
		error = layer_backup_read(layer, first, count, blocks);
	else if (what == CONTROL_END && first <= 1)
		error = layer_backup_end(layer, first == 1);
	if (!error && what == CONTROL_BEGIN)
		answer->count = layer_blocks(layer);
	if (!error && what == CONTROL_READ)
		answer->count = count;
	answer->what = htole32((uint32_t)error);
	answer->state = htole32(answer->state);
	answer->first = htole64(answer->first);
	answer->count = htole64(answer->count);
}

/** Waits for bytes; false when this control is to stop. */
static bool wait_for(const struct control *control, int fd)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = control->stop, .events = POLLIN}};

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	return fds[1].revents == 0;
}

static void serve(struct control *control, int connection, uint8_t *blocks)
{
	static const struct timeval patience = {.tv_sec = 60};
	struct control_message question, answer;

	/* Who stops in the middle of a message must not keep the next one waiting for ever. */
	setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	while (wait_for(control, connection) && stream_transfer(connection, &question, sizeof(question), false) == 0) {
		bool read;

		control_answer(control->layer, control->version, &question, &answer, blocks);
		read = le32toh(question.what) == CONTROL_READ && answer.what == 0;
		if (stream_transfer(connection, &answer, sizeof(answer), true) ||
		    (read && stream_transfer(connection, blocks, le64toh(answer.count) * BLOCK_BYTES, true)))
			break;
	}
	if (control->layer)
		(void)layer_backup_end(control->layer, false);
}

static void *run(void *context)
{
	struct control *control = context;
	uint8_t *blocks = malloc(CONTROL_READ_BLOCKS_MAX * BLOCK_BYTES);

	while (blocks && wait_for(control, control->listener)) {
		int connection = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC);

		if (connection < 0)
			continue;
		serve(control, connection, blocks);
		close(connection);
	}
	if (blocks)
		explicit_bzero(blocks, CONTROL_READ_BLOCKS_MAX * BLOCK_BYTES);
	free(blocks);
	return NULL;
}

static int listen_at(struct control *control)
{
	struct stat status;
	mode_t mask;
	int error;

	/* Only what a server before this one left behind is removed. */
	if (lstat(control->address.sun_path, &status) == 0 && S_ISSOCK(status.st_mode))
		unlink(control->address.sun_path);
	control->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (control->listener < 0)
		return -errno;
	mask = umask(077);
	error = bind(control->listener, (struct sockaddr *)&control->address, sizeof(control->address)) ||
				listen(control->listener, 4)
			? -errno
			: 0;
	umask(mask);
	return error;
}

int control_start(const char *path, struct layer *layer, struct version *version, struct control **started)
{
	struct control *control = calloc(1, sizeof(*control));
	int error;

	if (!control)
		return -ENOMEM;
	control->layer = layer;
	control->version = version;
	control->listener = -1;
	control->address.sun_family = AF_UNIX;
	control->stop = eventfd(0, EFD_CLOEXEC);
	error = control->stop < 0 ? -errno : strlen(path) >= sizeof(control->address.sun_path) ? -ENAMETOOLONG : 0;
	if (!error) {
		strcpy(control->address.sun_path, path);
		error = listen_at(control);
	}
	if (!error)
		error = -pthread_create(&control->thread, NULL, run, control);
	if (!error) {
		*started = control;
		return 0;
	}
	if (control->listener >= 0)
		close(control->listener);
	if (control->stop >= 0)
		close(control->stop);
	free(control);
	return error;
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	eventfd_write(control->stop, 1);
	pthread_join(control->thread, NULL);
	close(control->listener);
	close(control->stop);
	unlink(control->address.sun_path);
	free(control);
}
