/* Calls to bulkhead-keyd: see keyd_client.h. */
#include "keyd_client.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "passed_file.h"

#define ANSWER_SECONDS 60

static int exchange(int file, const struct keyd_writer *call, int guest, struct keyd_answer *answer)
{
	ssize_t size;

	size = passed_file_send(file, call->bytes, call->size_bytes, guest);
	if (size != (ssize_t)call->size_bytes)
		return size < 0 ? (int)size : -EPROTO;
	do
		size = recv(file, answer->bytes, sizeof(answer->bytes), 0);
	while (size < 0 && errno == EINTR);
	if (size < 0)
		return -errno;
	if (keyd_wire_parse(answer->bytes, (size_t)size, &answer->message) != 0)
		return -EPROTO;
	return 0;
}

int keyd_client_call(const char *path, struct keyd_writer *call, int guest, struct keyd_answer *answer)
{
	const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int file, result = keyd_wire_end(call);

	memset(&answer->message, 0, sizeof(answer->message));
	answer->error[0] = '\0';
	if (result == 0 && strlen(path) >= sizeof(address.sun_path))
		result = -ENAMETOOLONG;
	file = result == 0 ? socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0) : -1;
	if (result == 0 && file < 0)
		result = -errno;
	if (result == 0) {
		memcpy(address.sun_path, path, strlen(path));
		if (setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
		    connect(file, (const struct sockaddr *)&address, sizeof(address)) != 0)
			result = -errno;
	}
	if (result == 0)
		result = exchange(file, call, guest, answer);
	if (file >= 0)
		close(file);
	if (result != 0) {
		snprintf(answer->error, sizeof(answer->error),
			 "%.100s: bulkhead-keyd does not answer: %s", path, strerror(-result));
		return result;
	}
	if (answer->message.error == 0)
		return 0;
	if (keyd_wire_text(&answer->message, KEYD_TAG_ERROR, answer->error,
			   sizeof(answer->error)) != 0)
		snprintf(answer->error, sizeof(answer->error), "%s",
			 strerror((int)answer->message.error));
	return -(int)answer->message.error;
}

void keyd_client_forget(struct keyd_answer *answer)
{
	sodium_memzero(answer->bytes, sizeof(answer->bytes));
}
