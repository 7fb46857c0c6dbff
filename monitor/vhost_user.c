/* SPDX-License-Identifier: MIT */
/*
 * Sends vhost-user messages and checks the answers; see vhost_user.h.
 */
#include "vhost_user.h"
#include "connector.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	SET_VRING_ENABLE = 18,
	GET_CONFIG = 24,
};
enum { FLAG_VERSION = 1, FLAG_REPLY = 4, FLAG_NEED_REPLY = 8 };
#define PROTOCOL_REPLY_ACK (1ull << 3)
#define PROTOCOL_CONFIG	   (1ull << 9)
#define CONFIG_MAX	   256u

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t number;
		struct {
			uint32_t index, number;
		} vring;
		struct {
			uint32_t index, flags;
			uint64_t descriptors, used, available, log;
		} address;
		struct {
			uint32_t count, padding;
			struct {
				uint64_t guest_address, size, user_address, offset;
			} regions[2];
		} memory;
		struct {
			uint32_t offset, size, flags;
			uint8_t bytes[CONFIG_MAX];
		} config;
	} __attribute__((packed)) payload;
} __attribute__((packed));

#define HEADER_BYTES offsetof(struct message, payload)
_Static_assert(HEADER_BYTES == 12, "vhost-user header");

static int send_message(struct vhost_user *backend, struct message *message, const int *fds, unsigned int fd_count)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct iovec vector = { message, HEADER_BYTES + message->size };
	struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };
	ssize_t sent;

	message->flags |= FLAG_VERSION;
	if (fd_count) {
		struct cmsghdr *ancillary;

		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		ancillary = CMSG_FIRSTHDR(&header);
		ancillary->cmsg_level = SOL_SOCKET;
		ancillary->cmsg_type = SCM_RIGHTS;
		ancillary->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(ancillary), fds, fd_count * sizeof(int));
	}
	do
		sent = sendmsg(backend->fd, &header, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : (size_t)sent == vector.iov_len ? 0 : -EPROTO;
}

static int receive_all(int fd, void *to, size_t bytes)
{
	uint8_t *at = to;

	while (bytes) {
		ssize_t got = recv(fd, at, bytes, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EPIPE;
		at += got;
		bytes -= (size_t)got;
	}
	return 0;
}

/** Receives the answer to @request, of exactly @size payload bytes. */
static int receive_reply(struct vhost_user *backend, struct message *message, uint32_t request, uint32_t size)
{
	int status = receive_all(backend->fd, message, HEADER_BYTES);

	if (status)
		return status;
	if (message->request != request || !(message->flags & FLAG_REPLY) || message->size != size)
		return -EPROTO;
	return receive_all(backend->fd, &message->payload, size);
}

/** Sends a message and, where the backend can, waits for its word that it was carried out. */
static int command(struct vhost_user *backend, struct message *message, const int *fds, unsigned int fd_count)
{
	uint32_t request = message->request;
	int status;

	if (backend->protocol_features & PROTOCOL_REPLY_ACK)
		message->flags |= FLAG_NEED_REPLY;
	status = send_message(backend, message, fds, fd_count);
	if (status || !(backend->protocol_features & PROTOCOL_REPLY_ACK))
		return status;
	status = receive_reply(backend, message, request, sizeof(message->payload.number));
	if (!status && message->payload.number)
		status = -EREMOTEIO;
	return status;
}

static int ask_number(struct vhost_user *backend, uint32_t request, uint64_t *number)
{
	struct message message = { .request = request };
	int status = send_message(backend, &message, NULL, 0);

	if (!status)
		status = receive_reply(backend, &message, request, sizeof(*number));
	if (!status)
		*number = message.payload.number;
	return status;
}

static int tell_number(struct vhost_user *backend, uint32_t request, uint64_t number)
{
	struct message message = { .request = request, .size = sizeof(number), .payload.number = number };

	return command(backend, &message, NULL, 0);
}

static int tell_vring(struct vhost_user *backend, uint32_t request, uint32_t index, uint32_t number)
{
	struct message message = {
		.request = request,
		.size = sizeof(message.payload.vring),
		.payload.vring = { index, number },
	};

	return command(backend, &message, NULL, 0);
}

static int tell_event(struct vhost_user *backend, uint32_t request, uint32_t index, int fd)
{
	struct message message = { .request = request, .size = sizeof(uint64_t), .payload.number = index };

	return command(backend, &message, &fd, 1);
}

int vhost_user_connect(struct vhost_user *backend, const char *socket_path)
{
	return vhost_user_greet(backend, connector_open(socket_path));
}

int vhost_user_greet(struct vhost_user *backend, int fd)
{
	struct message owner = { .request = SET_OWNER };
	uint64_t offered;
	int status;

	*backend = (struct vhost_user){ .fd = fd };
	if (fd < 0)
		return fd;
	status = ask_number(backend, GET_FEATURES, &backend->features);
	if (!status)
		status = send_message(backend, &owner, NULL, 0);
	if (!status && backend->features & VHOST_USER_F_PROTOCOL_FEATURES) {
		status = ask_number(backend, GET_PROTOCOL_FEATURES, &offered);
		if (!status)
			status = tell_number(backend, SET_PROTOCOL_FEATURES,
					     offered & (PROTOCOL_REPLY_ACK | PROTOCOL_CONFIG));
		if (!status)
			backend->protocol_features = offered & (PROTOCOL_REPLY_ACK | PROTOCOL_CONFIG);
	}
	if (status)
		vhost_user_close(backend);
	return status;
}

void vhost_user_close(struct vhost_user *backend)
{
	if (backend->fd >= 0)
		close(backend->fd);
	backend->fd = -1;
}

int vhost_user_get_config(struct vhost_user *backend, void *config, uint32_t bytes)
{
	struct message message = {
		.request = GET_CONFIG,
		.size = 12 + bytes,
		.payload.config = { .size = bytes },
	};
	int status;

	if (!(backend->protocol_features & PROTOCOL_CONFIG) || bytes > CONFIG_MAX)
		return -ENOTSUP;
	status = send_message(backend, &message, NULL, 0);
	if (!status)
		status = receive_reply(backend, &message, GET_CONFIG, 12 + bytes);
	if (!status && message.payload.config.size != bytes)
		status = -EPROTO;
	if (!status)
		memcpy(config, message.payload.config.bytes, bytes);
	return status;
}

static int set_memory(struct vhost_user *backend, struct memory *ram)
{
	struct message message = { .request = SET_MEM_TABLE };
	int fds[2] = { ram->fd, ram->fd };
	uint32_t count = ram->high_bytes ? 2 : 1;

	message.payload.memory.count = count;
	message.payload.memory.regions[0].size = ram->low_bytes;
	message.payload.memory.regions[0].user_address = (uint64_t)(uintptr_t)ram->bytes;
	message.payload.memory.regions[1].guest_address = RAM_HIGH_START;
	message.payload.memory.regions[1].size = ram->high_bytes;
	message.payload.memory.regions[1].user_address = (uint64_t)(uintptr_t)ram->bytes + ram->low_bytes;
	message.payload.memory.regions[1].offset = ram->low_bytes;
	message.size = 8 + count * sizeof(message.payload.memory.regions[0]);
	return command(backend, &message, fds, count);
}

static int start_queue(struct vhost_user *backend, struct memory *ram, uint32_t index,
		       const struct vhost_user_queue *queue)
{
	/* Rings are named by this process's addresses, which the backend finds in the memory table. */
	const uint8_t *descriptors = ram_at(ram, queue->descriptors, 16ull * queue->size);
	const uint8_t *available = ram_at(ram, queue->available, 6 + 2ull * queue->size);
	const uint8_t *used = ram_at(ram, queue->used, 6 + 8ull * queue->size);
	struct message address = {
		.request = SET_VRING_ADDR,
		.size = sizeof(address.payload.address),
		.payload.address = {
			.index = index,
			.descriptors = (uint64_t)(uintptr_t)descriptors,
			.used = (uint64_t)(uintptr_t)used,
			.available = (uint64_t)(uintptr_t)available,
		},
	};
	int status;

	if (!descriptors || !available || !used)
		return -EFAULT;
	status = tell_vring(backend, SET_VRING_NUM, index, queue->size);
	if (!status)
		status = tell_vring(backend, SET_VRING_BASE, index, 0);
	if (!status)
		status = command(backend, &address, NULL, 0);
	if (!status)
		status = tell_event(backend, SET_VRING_CALL, index, queue->call_fd);
	if (!status)
		status = tell_event(backend, SET_VRING_KICK, index, queue->kick_fd);
	if (!status && backend->features & VHOST_USER_F_PROTOCOL_FEATURES)
		status = tell_vring(backend, SET_VRING_ENABLE, index, 1);
	return status;
}

int vhost_user_start(struct vhost_user *backend, uint64_t features, struct memory *ram,
		     const struct vhost_user_queue *queues, unsigned int queue_count)
{
	int status = tell_number(backend, SET_FEATURES,
				 features | (backend->features & VHOST_USER_F_PROTOCOL_FEATURES));

	if (!status)
		status = set_memory(backend, ram);
	for (uint32_t i = 0; !status && i < queue_count; i++)
		if (queues[i].size)
			status = start_queue(backend, ram, i, &queues[i]);
	return status;
}

int vhost_user_stop(struct vhost_user *backend, unsigned int queue_count)
{
	int status = 0;

	for (uint32_t i = 0; !status && i < queue_count; i++) {
		struct message message = {
			.request = GET_VRING_BASE,
			.size = sizeof(message.payload.vring),
			.payload.vring = { i, 0 },
		};

		status = send_message(backend, &message, NULL, 0);
		if (!status)
			status = receive_reply(backend, &message, GET_VRING_BASE, sizeof(message.payload.vring));
	}
	return status;
}
