/* A sealed guest comes from its monitor: see handover.h. A message is 4 bytes, zeros. */
#include "handover.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>

#include "passed_file.h"

#define SEAL_SECONDS 600 /* against hanging: a guest is loaded and cleared in a second or two */

int handover_make(int *ours, int *theirs)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -errno;
	*ours = ends[0];
	*theirs = ends[1];
	return 0;
}

int handover_wait(int ours, int *guest)
{
	struct pollfd wait = {.fd = ours, .events = POLLIN};
	uint32_t message;
	ssize_t size;
	int ready;

	*guest = -1;
	do
		ready = poll(&wait, 1, SEAL_SECONDS * 1000);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return ready < 0 ? -errno : -ETIMEDOUT;
	size = passed_file_receive(ours, &message, sizeof(message), guest);
	if (size == sizeof(message))
		return 0;
	return size < 0 && size != -ECONNRESET ? (int)size : -ESRCH;
}

int handover_go_on(int ours)
{
	const uint32_t message = 0;
	ssize_t size = passed_file_send(ours, &message, sizeof(message), -1);

	return size == sizeof(message) ? 0 : size < 0 ? (int)size : -EPROTO;
}
