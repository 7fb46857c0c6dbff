/*
 * A hostile front-end and guest: messages without descriptors, and a queue in memory that is all the fuzzer's. The first
 * byte chooses.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (data[0] & 1)
		fuzz_messages(data + 1, size - 1);
	else
		fuzz_queue(data + 1, size - 1);
	return 0;
}
