/*
 * The vhost-user device against a front-end made here: a memfd as the guest's memory, rings in it, messages on a socket.
 * The device is a user disk behind the real block code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "blk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/virtio_ring.h>

#define MEMORY_BYTES (1u << 20)
#define GUEST_BASE   0x100000ull
#define USER_BASE    0x7f0000000000ull
#define QUEUE_SIZE   16u
#define DESC_AT	     0x0000u
#define AVAIL_AT     0x1000u
#define USED_AT	     0x2000u
#define DATA_AT	     0x10000u
#define DISK_BLOCKS  256u

struct front {
	int socket, memory_fd, kick, call, inflight_fd;
	uint8_t *memory;
	uint16_t next;
	struct guestdisk disk;
	struct blk blk;
	struct store_files *files;
	char folder[64];
	pthread_t thread;
	int served;
};

static void *serve(void *context)
{
	struct front *front = ((struct front **)context)[0];
	int socket = front->served;

	free(context);
	front->served = vhost_serve(socket, &front->blk.kind);
	close(socket);
	return NULL;
}

static void connect_front(struct front *front)
{
	struct front **context = malloc(sizeof(*context));
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	front->socket = pair[0];
	front->served = pair[1];
	*context = front;
	assert_int_equal(pthread_create(&front->thread, NULL, serve, context), 0);
}

static int hang_up(struct front *front)
{
	close(front->socket);
	pthread_join(front->thread, NULL);
	return front->served;
}

static int setup(void **state)
{
	static const uint8_t key[LAYER_KEY_BYTES] = "key";
	struct front *front = calloc(1, sizeof(*front));
	struct layer *layer;

	strcpy(front->folder, "/tmp/bulkhead-test-XXXXXX");
	assert_non_null(mkdtemp(front->folder));
	assert_int_equal(store_files_open(front->folder, true, &front->files), 0);
	assert_int_equal(layer_create(front->files, "user", LAYER_WRITABLE, DISK_BLOCKS, 8192, key, NULL), 0);
	assert_int_equal(layer_open(front->files, "user", key, &layer, NULL), 0);
	assert_int_equal(guestdisk_make(&front->disk, layer, NULL, DISK_BLOCKS * BLOCK_BYTES), 0);
	blk_make(&front->blk, &front->disk, 2, "serial");
	front->memory_fd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(front->memory_fd, MEMORY_BYTES), 0);
	front->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, front->memory_fd, 0);
	front->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	front->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	front->inflight_fd = -1;
	connect_front(front);
	*state = front;
	return 0;
}

static int teardown(void **state)
{
	struct front *front = *state;
	char command[128];

	layer_close(front->disk.top);
	guestdisk_release(&front->disk);
	front->files->release(front->files);
	munmap(front->memory, MEMORY_BYTES);
	close(front->memory_fd);
	close(front->kick);
	close(front->call);
	if (front->inflight_fd >= 0)
		close(front->inflight_fd);
	snprintf(command, sizeof(command), "rm -rf '%s'", front->folder);
	assert_int_equal(system(command), 0);
	free(front);
	return 0;
}

static void send_message(struct front *front, uint32_t request, const void *payload, uint32_t size, int fd)
{
	struct vhost_message message = {.request = request, .flags = 1, .size = size};
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {.iov_base = &message, .iov_len = VHOST_HEADER_BYTES + size};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

	if (size)
		memcpy(message.payload, payload, size);
	if (fd >= 0) {
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&header) = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&header)), &fd, sizeof(fd));
	}
	(void)!sendmsg(front->socket, &header, MSG_NOSIGNAL);
}

static void receive(struct front *front, struct vhost_message *reply, int *fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {.iov_base = reply, .iov_len = VHOST_HEADER_BYTES};
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};

	assert_int_equal(recvmsg(front->socket, &header, MSG_WAITALL), VHOST_HEADER_BYTES);
	assert_true(reply->size <= VHOST_MESSAGE_MAX);
	assert_int_equal(recv(front->socket, reply->payload, reply->size, MSG_WAITALL), reply->size);
	if (fd && CMSG_FIRSTHDR(&header))
		memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(*fd));
}

static uint64_t ask_u64(struct front *front, uint32_t request)
{
	struct vhost_message reply;
	uint64_t value;

	send_message(front, request, NULL, 0, -1);
	receive(front, &reply, NULL);
	assert_int_equal(reply.size, 8);
	memcpy(&value, reply.payload, 8);
	return value;
}

/** All that a front-end says before a queue runs. */
static void start_queue(struct front *front, uint64_t features)
{
	const struct {
		uint32_t count, padding;
		uint64_t guest, size, user, offset;
	} table = {1, 0, GUEST_BASE, MEMORY_BYTES, USER_BASE, 0};
	const struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} address = {0, 0, USER_BASE + DESC_AT, USER_BASE + USED_AT, USER_BASE + AVAIL_AT, 0};
	const uint32_t size[2] = {0, QUEUE_SIZE}, base[2] = {0, front->next}, enable[2] = {0, 1};
	const uint64_t zero = 0;

	features |= 1ull << 30 | 1ull << 32;
	assert_int_equal(ask_u64(front, 1) & features, features);
	send_message(front, 2, &features, 8, -1);
	send_message(front, 5, &table, sizeof(table), front->memory_fd);
	send_message(front, 8, size, 8, -1);
	send_message(front, 10, base, 8, -1);
	send_message(front, 9, &address, sizeof(address), -1);
	send_message(front, 13, &zero, 8, front->call);
	send_message(front, 12, &zero, 8, front->kick);
	send_message(front, 18, enable, 8, -1);
}

static struct vring_desc *desc(struct front *front, unsigned int index)
{
	return (struct vring_desc *)(front->memory + DESC_AT) + index;
}

static void offer(struct front *front, uint16_t head)
{
	struct vring_avail *avail = (struct vring_avail *)(front->memory + AVAIL_AT);
	const uint64_t one = 1;

	avail->ring[front->next % QUEUE_SIZE] = head;
	__atomic_store_n(&avail->idx, ++front->next, __ATOMIC_RELEASE);
	assert_int_equal(write(front->kick, &one, 8), 8);
}

static void wait_used(struct front *front)
{
	struct vring_used *used = (struct vring_used *)(front->memory + USED_AT);

	for (int i = 0; i < 20000 && __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) != front->next; i++)
		usleep(500);
	assert_int_equal(used->idx, front->next);
}

/** Lays a request out: header, data, status. Returns the status. */
static uint8_t request(struct front *front, uint32_t type, uint64_t sector, uint32_t bytes, bool guest_reads)
{
	struct virtio_blk_outhdr header = {.type = type, .sector = sector};
	uint8_t *status = front->memory + DATA_AT + 0x80000;

	memcpy(front->memory + DATA_AT, &header, sizeof(header));
	*status = 0xff;
	*desc(front, 0) = (struct vring_desc){GUEST_BASE + DATA_AT, sizeof(header), VRING_DESC_F_NEXT, 1};
	*desc(front, 1) = (struct vring_desc){GUEST_BASE + DATA_AT + 0x1000, bytes,
					      VRING_DESC_F_NEXT | (guest_reads ? VRING_DESC_F_WRITE : 0), 2};
	*desc(front, 2) = (struct vring_desc){GUEST_BASE + DATA_AT + 0x80000, 1, VRING_DESC_F_WRITE, 0};
	offer(front, 0);
	wait_used(front);
	return *status;
}

static void a_guest_reads_what_it_wrote(void **state)
{
	struct front *front = *state;
	uint8_t *data = front->memory + DATA_AT + 0x1000, expected[5 * SECTOR_BYTES];

	start_queue(front, 0);
	for (unsigned int i = 0; i < sizeof(expected); i++)
		expected[i] = (uint8_t)(i * 7 + i / 256);
	memcpy(data, expected, sizeof(expected));
	assert_int_equal(request(front, VIRTIO_BLK_T_OUT, 13, sizeof(expected), false), VIRTIO_BLK_S_OK);
	memset(data, 0, sizeof(expected));
	assert_int_equal(request(front, VIRTIO_BLK_T_FLUSH, 0, 0, false), VIRTIO_BLK_S_OK);
	assert_int_equal(request(front, VIRTIO_BLK_T_IN, 13, sizeof(expected), true), VIRTIO_BLK_S_OK);
	assert_memory_equal(data, expected, sizeof(expected));
	assert_int_equal(request(front, VIRTIO_BLK_T_GET_ID, 0, 20, true), VIRTIO_BLK_S_OK);
	assert_string_equal((char *)data, "serial");
	assert_int_equal(hang_up(front), 0);
}

static void discard_and_write_zeroes_leave_zeros(void **state)
{
	struct front *front = *state;
	uint8_t *data = front->memory + DATA_AT + 0x1000;
	const struct virtio_blk_discard_write_zeroes range = {.sector = 8, .num_sectors = 4, .flags = 1};

	start_queue(front, 0);
	memset(data, 0x5a, 16 * SECTOR_BYTES);
	assert_int_equal(request(front, VIRTIO_BLK_T_OUT, 0, 16 * SECTOR_BYTES, false), VIRTIO_BLK_S_OK);
	memcpy(data, &range, sizeof(range));
	assert_int_equal(request(front, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(range), false), VIRTIO_BLK_S_OK);
	assert_int_equal(request(front, VIRTIO_BLK_T_DISCARD, 0, sizeof(range), false), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(front, VIRTIO_BLK_T_IN, 0, 16 * SECTOR_BYTES, true), VIRTIO_BLK_S_OK);
	for (unsigned int i = 0; i < 16 * SECTOR_BYTES; i++)
		assert_int_equal(data[i], i / SECTOR_BYTES >= 8 && i / SECTOR_BYTES < 12 ? 0 : 0x5a);
	assert_int_equal(hang_up(front), 0);
}

static void requests_beyond_the_disk_fail_alone(void **state)
{
	struct front *front = *state;

	start_queue(front, 0);
	assert_int_equal(request(front, VIRTIO_BLK_T_IN, DISK_BLOCKS * 8, SECTOR_BYTES, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(front, VIRTIO_BLK_T_IN, UINT64_MAX, SECTOR_BYTES, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(front, VIRTIO_BLK_T_IN, UINT64_MAX / 512, SECTOR_BYTES, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(front, VIRTIO_BLK_T_OUT, DISK_BLOCKS * 8 - 1, 1024, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(front, VIRTIO_BLK_T_IN, 0, 100, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(front, 77, 0, SECTOR_BYTES, true), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(front, VIRTIO_BLK_T_IN, DISK_BLOCKS * 8 - 1, SECTOR_BYTES, true), VIRTIO_BLK_S_OK);
	assert_int_equal(hang_up(front), 0);
}

/** A chain that makes no sense stops the queue: nothing is served from it, and the device stays whole. */
static void malformed_chains_stop_the_queue(void **state)
{
	static const struct vring_desc chains[][2] = {
		{{GUEST_BASE + DATA_AT, 16, VRING_DESC_F_NEXT, 0}, {0}},			 /* a loop */
		{{GUEST_BASE + DATA_AT, 16, VRING_DESC_F_NEXT, QUEUE_SIZE}, {0}},		 /* beyond the table */
		{{GUEST_BASE + MEMORY_BYTES - 8, 16, 0, 0}, {0}},				 /* beyond memory */
		{{0, 16, 0, 0}, {0}},								 /* before memory */
		{{UINT64_MAX - 7, 16, 0, 0}, {0}},						 /* wraps */
		{{GUEST_BASE + DATA_AT, 8, VRING_DESC_F_INDIRECT, 0}, {0}},			 /* half a descriptor */
		{{GUEST_BASE + DATA_AT, 16, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1},
		 {GUEST_BASE + DATA_AT, 16, 0, 0}},						 /* reads after writes */
	};
	struct front *front = *state;

	for (size_t i = 0; i < sizeof(chains) / sizeof(*chains); i++) {
		struct vring_used *used = (struct vring_used *)(front->memory + USED_AT);

		memset(front->memory, 0, MEMORY_BYTES);
		front->next = 0;
		start_queue(front, 0);
		*desc(front, 0) = chains[i][0];
		*desc(front, 1) = chains[i][1];
		offer(front, 0);
		/* The reply to GET_VRING_BASE comes after the workers have ended. */
		const uint32_t index[2] = {0, 0};
		struct vhost_message reply;

		send_message(front, 11, index, 8, -1);
		receive(front, &reply, NULL);
		assert_int_equal(used->idx, 0);
		assert_int_equal(hang_up(front), 0);
		connect_front(front);
	}
	assert_int_equal(hang_up(front), 0);
}

static void broken_messages_end_the_connection_alone(void **state)
{
	struct front *front = *state;
	uint8_t payload[VHOST_MESSAGE_MAX] = {0};

	for (uint32_t number = 0; number < 48; number++) {
		for (uint32_t size = 0; size <= 64; size += 8) {
			memset(payload, number % 2 ? 0xff : 0, sizeof(payload));
			send_message(front, number, payload, size, -1);
			int result = hang_up(front);

			assert_true(result == 0 || result < 0);
			connect_front(front);
		}
	}
	/* And one that is longer than any message. */
	struct vhost_message giant = {.request = 2, .flags = 1, .size = UINT32_MAX};

	assert_int_equal(send(front->socket, &giant, VHOST_HEADER_BYTES, MSG_NOSIGNAL), VHOST_HEADER_BYTES);
	assert_int_equal(hang_up(front), -EPROTO);
	connect_front(front);
	start_queue(front, 0);
	assert_int_equal(request(front, VIRTIO_BLK_T_IN, 0, SECTOR_BYTES, true), VIRTIO_BLK_S_OK);
	assert_int_equal(hang_up(front), 0);
}

static void what_was_in_flight_is_served_after_a_reconnect(void **state)
{
	struct front *front = *state;
	struct {
		uint64_t bytes, offset;
		uint16_t queues, size;
		uint32_t reserved;
	} inflight = {.queues = 2, .size = QUEUE_SIZE};
	struct vhost_message reply;
	struct vhost_inflight *record;

	send_message(front, 31, &inflight, sizeof(inflight), -1);
	receive(front, &reply, &front->inflight_fd);
	memcpy(&inflight, reply.payload, sizeof(inflight));
	assert_true(front->inflight_fd >= 0 && inflight.bytes >= 2 * vhost_inflight_bytes(QUEUE_SIZE));
	start_queue(front, 1ull << VIRTIO_RING_F_EVENT_IDX);
	assert_int_equal(request(front, VIRTIO_BLK_T_IN, 0, SECTOR_BYTES, true), VIRTIO_BLK_S_OK);
	assert_int_equal(hang_up(front), 0);
	/* A device that died with the request in its hands leaves the record like this, and used where it was. */
	record = mmap(NULL, inflight.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, front->inflight_fd, 0);
	assert_true(record != MAP_FAILED);
	assert_int_equal(record->entries[0].inflight, 0);
	record->entries[0].inflight = 1;
	front->memory[DATA_AT + 0x80000] = 0xff;
	connect_front(front);
	send_message(front, 32, &inflight, sizeof(inflight), front->inflight_fd);
	front->next++; /* the guest had offered it; the ring has its head already */
	((struct vring_avail *)(front->memory + AVAIL_AT))->ring[1] = 0;
	((struct vring_avail *)(front->memory + AVAIL_AT))->idx = front->next;
	start_queue(front, 1ull << VIRTIO_RING_F_EVENT_IDX);
	wait_used(front);
	assert_int_equal(front->memory[DATA_AT + 0x80000], VIRTIO_BLK_S_OK);
	assert_int_equal(request(front, VIRTIO_BLK_T_IN, 0, SECTOR_BYTES, true), VIRTIO_BLK_S_OK);
	munmap(record, inflight.bytes);
	assert_int_equal(hang_up(front), 0);
}

static void memory_that_a_file_does_not_have_is_refused(void **state)
{
	struct front *front = *state;
	const struct {
		uint32_t count, padding;
		uint64_t guest, size, user, offset;
	} table = {1, 0, GUEST_BASE, MEMORY_BYTES + 4096, USER_BASE, 0};

	send_message(front, 5, &table, sizeof(table), front->memory_fd);
	pthread_join(front->thread, NULL);
	close(front->socket);
	assert_int_equal(front->served, -EINVAL);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int connection = socket(AF_UNIX, SOCK_STREAM, 0), result;

	strcpy(address.sun_path, path);
	result = connect(connection, (const struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	close(connection);
	return result;
}

static void a_socket_is_there_once_it_listens(void **state)
{
	static const char path[] = "vhost-test.sock", made_as[] = "vhost-test.sock~", taken[] = "vhost-test.file";
	int listener, again, file;

	listener = vhost_open(path);
	assert_true(listener >= 0);
	assert_int_equal(access(made_as, F_OK), -1);
	assert_int_equal(connect_to(path), 0);
	close(listener);
	/* What a server that died has left behind is replaced; anything else stays. */
	assert_int_equal(connect_to(path), -ECONNREFUSED);
	again = vhost_open(path);
	assert_true(again >= 0);
	assert_int_equal(connect_to(path), 0);
	close(again);
	unlink(path);
	file = open(taken, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(vhost_open(taken), -EADDRINUSE);
	assert_int_equal(access(taken, F_OK), 0);
	close(file);
	unlink(taken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_guest_reads_what_it_wrote, setup, teardown),
		cmocka_unit_test(a_socket_is_there_once_it_listens),
		cmocka_unit_test_setup_teardown(discard_and_write_zeroes_leave_zeros, setup, teardown),
		cmocka_unit_test_setup_teardown(requests_beyond_the_disk_fail_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(malformed_chains_stop_the_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(broken_messages_end_the_connection_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_in_flight_is_served_after_a_reconnect, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_that_a_file_does_not_have_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests_name("vhost", tests, NULL, NULL);
}
