/* Files beside messages: see passed_file.h. */
#include "passed_file.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

ssize_t passed_file_send(int socket, const void *bytes, size_t size_bytes, int passed)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {(void *)bytes, size_bytes};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t size;

	if (passed >= 0) {
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&message) = (struct cmsghdr){
		    .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &passed, sizeof(passed));
	}
	size = sendmsg(socket, &message, MSG_NOSIGNAL);
	return size < 0 ? -errno : size;
}

ssize_t passed_file_receive(int socket, void *bytes, size_t capacity_bytes, int *passed)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {bytes, capacity_bytes};
	/* Room for one: what else was sent the kernel closes. (CMSG_SPACE() would have room for two.) */
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_LEN(sizeof(int))};
	const struct cmsghdr *found;
	ssize_t size;

	*passed = -1;
	do
		size = recvmsg(socket, &message, MSG_TRUNC | MSG_CMSG_CLOEXEC);
	while (size < 0 && errno == EINTR);
	if (size < 0)
		return -errno;
	found = CMSG_FIRSTHDR(&message);
	if (found && found->cmsg_level == SOL_SOCKET && found->cmsg_type == SCM_RIGHTS &&
	    found->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(passed, CMSG_DATA(found), sizeof(*passed));
	return size;
}
