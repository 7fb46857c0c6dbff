/* The side that asks; see control.h. A file of its own, so that a process without keys needs nothing else of a disk. */
#include "control.h"
#include "stream.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

int control_connect(const char *path)
{
	static const struct timeval patience = {.tv_sec = 60};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int connection, error;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection < 0)
		return -errno;
	if (setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    connect(connection, (struct sockaddr *)&address, sizeof(address))) {
		error = -errno;
		close(connection);
		return error;
	}
	return connection;
}

int control_ask(int connection, enum control_what what, uint64_t first, uint64_t count, struct control_message *answer,
		void *blocks)
{
	struct control_message question = {
		.what = htole32(what), .first = htole64(first), .count = htole64(count)};
	int32_t error;

	if (stream_transfer(connection, &question, sizeof(question), true) ||
	    stream_transfer(connection, answer, sizeof(*answer), false))
		return -EPIPE;
	error = (int32_t)le32toh(answer->what);
	answer->state = le32toh(answer->state);
	answer->first = le64toh(answer->first);
	answer->count = le64toh(answer->count);
	if (error)
		return error < 0 && error >= -4095 ? error : -EPROTO;
	if (what == CONTROL_CHANGED || what == CONTROL_DATA)
		return answer->first < first || answer->count == 0 || answer->count > UINT64_MAX - answer->first ? -EPROTO
														 : 0;
	if (what != CONTROL_READ)
		return 0;
	if (answer->count != count)
		return -EPROTO;
	return stream_transfer(connection, blocks, count * BLOCK_BYTES, false) ? -EPIPE : 0;
}
