/*
 * A hostile front-end and guest: messages without descriptors, a queue in memory that is all the fuzzer's, and what a guest
 * says about its port. The first byte chooses.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "port_control.h"
#include "vhost_device.h"

#define MEMORY_BYTES 16384u
#define QUEUE_SIZE   8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t serve(void *context, const struct vhost_request *request, void *scratch)
{
	return 0;
}

static void fuzz_messages(const uint8_t *data, size_t size)
{
	static const uint8_t config[60];
	static const struct vhost_kind kind = {.features = 0xff,
					       .queue_count = 2,
					       .config = config,
					       .config_bytes = sizeof(config),
					       .serve = serve,
					       .scratch_bytes = 1};
	static struct vhost_device device;
	static struct vhost_message message, reply;
	int reply_fd;

	vhost_device_make(&device, &kind);
	while (size >= 6) {
		message.request = data[0] % 40;
		message.flags = 1 | (data[1] & 8);
		message.size = data[2];
		if (message.size > size - 3)
			message.size = (uint32_t)(size - 3);
		memcpy(message.payload, data + 3, message.size);
		data += 3 + message.size;
		size -= 3 + message.size;
		int result = vhost_device_handle(&device, &message, NULL, 0, &reply, &reply_fd);

		if (reply_fd >= 0)
			close(reply_fd);
		if (result < 0)
			break;
		if (result == 1 && reply.size > VHOST_MESSAGE_MAX)
			abort();
	}
	vhost_device_release(&device);
}

static void fuzz_queue(const uint8_t *data, size_t size)
{
	struct vhost_memory memory = {.count = 1};
	struct vhost_queue *queue = calloc(1, sizeof(*queue));
	struct vhost_request *request = malloc(sizeof(*request));
	uint8_t *guest = aligned_alloc(4096, MEMORY_BYTES);

	memset(guest, 0, MEMORY_BYTES);
	memcpy(guest, data, size < MEMORY_BYTES ? size : MEMORY_BYTES);
	memory.regions[0] = (struct vhost_region){
		.guest_address = 0, .size_bytes = MEMORY_BYTES, .user_address = 0, .mapped = guest};
	queue->size = QUEUE_SIZE;
	queue->desc_user = 0;
	queue->avail_user = 16 * QUEUE_SIZE;
	queue->used_user = 16 * QUEUE_SIZE + 64;
	queue->event_index = size & 1;
	if (vhost_queue_start(queue, &memory) == 0) {
		for (int i = 0; i < 20 && vhost_queue_pop(queue, &memory, request) == 1; i++) {
			/* Whatever the chain says, its segments lie in the guest's memory. */
			for (unsigned int j = 0; j < request->out_count + request->in_count; j++) {
				uint8_t *start = request->segments[j].iov_base;

				if (start < guest || request->segments[j].iov_len > MEMORY_BYTES ||
				    start + request->segments[j].iov_len > guest + MEMORY_BYTES)
					abort();
			}
			vhost_queue_push(queue, request->head, 0);
		}
	}
	free(guest);
	free(request);
	free(queue);
}

/** Whatever a guest says and whoever comes and goes, it is owed two messages at most, and never one without its port. */
static void fuzz_port(const uint8_t *data, size_t size)
{
	static const char name[] = "port";
	uint8_t message[PORT_MESSAGE_MAX];
	struct port_control control;

	port_control_make(&control, name);
	for (; size >= 2; data += 2, size -= 2) {
		/* Mostly the one port, messages that there are, and values that mean something. */
		const uint8_t said[PORT_HEADER_BYTES] = {[0] = data[0] >> 7, [4] = data[1] & 7, [6] = data[1] >> 3 & 1,
							 [7] = data[1] >> 7};
		unsigned int told = 0;

		if (data[0] & 1)
			port_control_hear(&control, said);
		if (data[0] & 2)
			port_control_connect(&control);
		if (data[0] & 4)
			port_control_leave(&control);
		for (; data[0] & 8 && port_control_owes(&control); told++) {
			size_t bytes = port_control_next(&control, message);

			if (told == 2 || bytes < PORT_HEADER_BYTES || bytes > PORT_HEADER_BYTES + sizeof(name) - 1)
				abort();
		}
		if (data[0] & 8 && control.is_ready && control.is_told != control.host_is_open)
			abort();
		if (control.guest_is_open && !control.is_ready)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const uint8_t *data, size_t size) = {fuzz_queue, fuzz_messages, fuzz_port};

	if (size < 2)
		return 0;
	targets[data[0] % (sizeof(targets) / sizeof(targets[0]))](data + 1, size - 1);
	return 0;
}
