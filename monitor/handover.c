/* SPDX-License-Identifier: MIT */
/*
 * Shows the guest, and waits for its disks; see handover.h.
 */
#include "handover.h"
#include "connector.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

int handover_show(int socket, int guest_fd)
{
	uint32_t answer;
	ssize_t got;

	if (!connector_send(socket, 0, guest_fd))
		return -ECANCELED;
	do
		got = recv(socket, &answer, sizeof(answer), 0);
	while (got < 0 && errno == EINTR);
	return got == sizeof(answer) && answer == 0 ? 0 : -ECANCELED;
}
