/* Whole messages over a stream socket; see stream.h. */
#include "stream.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

int stream_transfer(int connection, void *bytes, size_t count, bool out)
{
	uint8_t *at = bytes;

	while (count) {
		ssize_t now = out ? send(connection, at, count, MSG_NOSIGNAL) : recv(connection, at, count, 0);

		if (now < 0 && errno == EINTR)
			continue;
		if (now <= 0)
			return -1;
		at += now;
		count -= (size_t)now;
	}
	return 0;
}
