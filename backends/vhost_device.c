/*
 * The messages of a vhost-user front-end, one row of a table each; see vhost_device.h. Nothing is taken from a message
 * before its size and the number of its descriptors are right.
 */
#include "vhost_device.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#define FLAG_VERSION	1u
#define FLAG_REPLY	(1u << 2)
#define FLAG_NEED_REPLY (1u << 3)

#define FEATURE_PROTOCOL (1ull << 30)
#define TRANSPORT_FEATURES                                                                                             \
	(FEATURE_PROTOCOL | 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX |                             \
	 1ull << VIRTIO_RING_F_INDIRECT_DESC)

#define PROTOCOL_MQ	   (1ull << 0)
#define PROTOCOL_REPLY_ACK (1ull << 3)
#define PROTOCOL_CONFIG	   (1ull << 9)
#define PROTOCOL_INFLIGHT  (1ull << 12)
#define PROTOCOL_FEATURES  (PROTOCOL_MQ | PROTOCOL_REPLY_ACK | PROTOCOL_CONFIG | PROTOCOL_INFLIGHT)

#define VRING_NO_FD (1u << 8)

struct region_message {
	uint64_t guest_address, size_bytes, user_address, offset;
};

struct state_message {
	uint32_t index, value;
};

struct address_message {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

struct config_message {
	uint32_t offset, size, flags;
};

struct inflight_message {
	uint64_t bytes, offset;
	uint16_t queues, size;
	uint32_t reserved;
};

/** A message being handled. */
struct handling {
	const struct vhost_message *message;
	int *fds;
	unsigned int fd_count;
	struct vhost_message *reply;
	int *reply_fd;
};

void vhost_device_make(struct vhost_device *device, const struct vhost_kind *kind)
{
	memset(device, 0, sizeof(*device));
	device->kind = kind;
	for (unsigned int i = 0; i < VHOST_QUEUES_MAX; i++) {
		struct vhost_line *line = &device->lines[i];

		line->device = device;
		line->kick = line->call = line->error = line->stop = -1;
		pthread_mutex_init(&line->lock, NULL);
		pthread_cond_init(&line->more, NULL);
	}
}

static void replace_fd(int *held, int with)
{
	if (*held >= 0)
		close(*held);
	*held = with;
}

static void drop_inflight(struct vhost_device *device)
{
	for (unsigned int i = 0; i < VHOST_QUEUES_MAX; i++)
		device->lines[i].queue.inflight = NULL;
	if (device->inflight_map)
		munmap(device->inflight_map, device->inflight_bytes);
	device->inflight_map = NULL;
}

void vhost_device_release(struct vhost_device *device)
{
	for (unsigned int i = 0; i < VHOST_QUEUES_MAX; i++) {
		struct vhost_line *line = &device->lines[i];

		vhost_line_stop(line);
		replace_fd(&line->kick, -1);
		replace_fd(&line->call, -1);
		replace_fd(&line->error, -1);
		pthread_cond_destroy(&line->more);
		pthread_mutex_destroy(&line->lock);
	}
	drop_inflight(device);
	vhost_memory_clear(&device->memory);
}

/** Starts a line if it has a kick, is enabled (or need not be) and does not run. */
static int try_start(struct vhost_line *line)
{
	bool negotiates = line->device->features & FEATURE_PROTOCOL;

	if (line->running || line->kick < 0 || (negotiates && !line->enabled))
		return 0;
	return vhost_line_start(line);
}

static int reply_u64(struct handling *handling, uint64_t value)
{
	handling->reply->size = sizeof(value);
	memcpy(handling->reply->payload, &value, sizeof(value));
	return 1;
}

static uint64_t payload_u64(const struct handling *handling)
{
	uint64_t value;

	memcpy(&value, handling->message->payload, sizeof(value));
	return value;
}

static int get_features(struct vhost_device *device, struct handling *handling)
{
	return reply_u64(handling, device->kind->features | TRANSPORT_FEATURES);
}

static int set_features(struct vhost_device *device, struct handling *handling)
{
	uint64_t features = payload_u64(handling);

	if (features & ~(device->kind->features | TRANSPORT_FEATURES))
		return -EPROTO;
	device->features = features;
	return 0;
}

static int set_owner(struct vhost_device *device, struct handling *handling)
{
	return 0;
}

static int get_protocol_features(struct vhost_device *device, struct handling *handling)
{
	return reply_u64(handling, PROTOCOL_FEATURES);
}

static int set_protocol_features(struct vhost_device *device, struct handling *handling)
{
	uint64_t features = payload_u64(handling);

	if (features & ~PROTOCOL_FEATURES)
		return -EPROTO;
	device->protocol_features = features;
	return 0;
}

static int get_queue_num(struct vhost_device *device, struct handling *handling)
{
	return reply_u64(handling, device->kind->queue_count);
}

/** Replaces all memory. Queues that run are stopped, then find their rings anew. */
static int set_mem_table(struct vhost_device *device, struct handling *handling)
{
	const struct vhost_message *message = handling->message;
	struct region_message region;
	bool ran[VHOST_QUEUES_MAX];
	uint32_t count;
	int error = 0;

	memcpy(&count, message->payload, sizeof(count));
	if (count == 0 || count > VHOST_REGIONS_MAX || count != handling->fd_count ||
	    message->size != 8 + count * sizeof(region))
		return -EPROTO;
	for (unsigned int i = 0; i < VHOST_QUEUES_MAX; i++) {
		ran[i] = device->lines[i].running;
		vhost_line_stop(&device->lines[i]);
	}
	vhost_memory_clear(&device->memory);
	for (uint32_t i = 0; !error && i < count; i++) {
		memcpy(&region, message->payload + 8 + i * sizeof(region), sizeof(region));
		error = vhost_memory_add(&device->memory, handling->fds[i], region.guest_address, region.size_bytes,
					 region.user_address, region.offset);
	}
	for (unsigned int i = 0; !error && i < VHOST_QUEUES_MAX; i++)
		error = ran[i] ? vhost_line_start(&device->lines[i]) : 0;
	return error;
}

/** The line a message means, which must not run if @stopped. */
static struct vhost_line *line_of(struct vhost_device *device, uint32_t index, bool stopped)
{
	if (index >= device->kind->queue_count || (stopped && device->lines[index].running))
		return NULL;
	return &device->lines[index];
}

static struct vhost_line *state_line(struct vhost_device *device, struct handling *handling, bool stopped,
				     uint32_t *value)
{
	struct state_message state;

	memcpy(&state, handling->message->payload, sizeof(state));
	*value = state.value;
	return line_of(device, state.index, stopped);
}

static int set_vring_num(struct vhost_device *device, struct handling *handling)
{
	uint32_t size;
	struct vhost_line *line = state_line(device, handling, true, &size);

	if (!line || size == 0 || size > VHOST_QUEUE_SIZE_MAX || (size & (size - 1)))
		return -EPROTO;
	line->queue.size = size;
	return 0;
}

static int set_vring_addr(struct vhost_device *device, struct handling *handling)
{
	struct address_message address;
	struct vhost_line *line;

	memcpy(&address, handling->message->payload, sizeof(address));
	line = line_of(device, address.index, true);
	if (!line || address.flags & 1) /* a log of dirty pages was not offered */
		return -EPROTO;
	line->queue.desc_user = address.desc;
	line->queue.used_user = address.used;
	line->queue.avail_user = address.avail;
	return 0;
}

static int set_vring_base(struct vhost_device *device, struct handling *handling)
{
	uint32_t base;
	struct vhost_line *line = state_line(device, handling, true, &base);

	if (!line || base > UINT16_MAX)
		return -EPROTO;
	line->queue.last_avail = (uint16_t)base;
	return 0;
}

static int get_vring_base(struct vhost_device *device, struct handling *handling)
{
	struct state_message state;
	uint32_t unused;
	struct vhost_line *line = state_line(device, handling, false, &unused);

	if (!line)
		return -EPROTO;
	vhost_line_stop(line);
	/* A queue is stopped until the next kick descriptor. */
	replace_fd(&line->kick, -1);
	state.index = (uint32_t)(line - device->lines);
	state.value = line->queue.last_avail;
	memcpy(handling->reply->payload, &state, sizeof(state));
	handling->reply->size = sizeof(state);
	return 1;
}

/** The line of a message that brings an event descriptor, and the descriptor (-1: none, poll instead). */
static struct vhost_line *fd_line(struct vhost_device *device, struct handling *handling, int *fd)
{
	uint64_t value = payload_u64(handling);

	if (value & ~0x1ffull || ((value & VRING_NO_FD) ? handling->fd_count != 0 : handling->fd_count != 1))
		return NULL;
	*fd = -1;
	if (handling->fd_count) {
		*fd = handling->fds[0];
		handling->fds[0] = -1;
	}
	return line_of(device, value & 0xff, false);
}

static int set_vring_kick(struct vhost_device *device, struct handling *handling)
{
	int fd = -1;
	struct vhost_line *line = fd_line(device, handling, &fd);

	if (!line || fd < 0) { /* polling a guest's queue is not offered */
		replace_fd(&fd, -1);
		return -EPROTO;
	}
	vhost_line_stop(line);
	replace_fd(&line->kick, fd);
	return try_start(line);
}

/** Takes the event fd by which a line calls, or reports an error. */
static int set_event(struct vhost_device *device, struct handling *handling, bool is_error)
{
	int fd = -1;
	struct vhost_line *line = fd_line(device, handling, &fd);

	if (!line) {
		replace_fd(&fd, -1);
		return -EPROTO;
	}
	pthread_mutex_lock(&line->lock);
	replace_fd(is_error ? &line->error : &line->call, fd);
	pthread_mutex_unlock(&line->lock);
	return 0;
}

static int set_vring_call(struct vhost_device *device, struct handling *handling)
{
	return set_event(device, handling, false);
}

static int set_vring_err(struct vhost_device *device, struct handling *handling)
{
	return set_event(device, handling, true);
}

static int set_vring_enable(struct vhost_device *device, struct handling *handling)
{
	uint32_t enable;
	struct vhost_line *line = state_line(device, handling, false, &enable);

	if (!line || enable > 1)
		return -EPROTO;
	line->enabled = enable;
	if (!enable)
		vhost_line_stop(line);
	return enable ? try_start(line) : 0;
}

static int get_config(struct vhost_device *device, struct handling *handling)
{
	struct config_message config;
	uint8_t space[VHOST_CONFIG_MAX] = {0};

	memcpy(&config, handling->message->payload, sizeof(config));
	if (config.size > VHOST_CONFIG_MAX || config.offset > VHOST_CONFIG_MAX - config.size ||
	    handling->message->size != sizeof(config) + config.size)
		return -EPROTO;
	memcpy(space, device->kind->config, device->kind->config_bytes);
	memcpy(handling->reply->payload, &config, sizeof(config));
	memcpy(handling->reply->payload + sizeof(config), space + config.offset, config.size);
	handling->reply->size = (uint32_t)(sizeof(config) + config.size);
	return 1;
}

static int map_inflight(struct vhost_device *device, int fd, const struct inflight_message *inflight)
{
	size_t each = vhost_inflight_bytes(inflight->size);
	struct stat status;
	void *map;

	if (inflight->queues > device->kind->queue_count || inflight->size > VHOST_QUEUE_SIZE_MAX ||
	    inflight->offset != 0 || inflight->bytes < each * inflight->queues || inflight->bytes > 1u << 20 ||
	    fstat(fd, &status) || (uint64_t)status.st_size < inflight->bytes)
		return -EPROTO;
	map = mmap(NULL, inflight->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	drop_inflight(device);
	device->inflight_map = map;
	device->inflight_bytes = inflight->bytes;
	device->inflight_queues = inflight->queues;
	device->inflight_size = inflight->size;
	return 0;
}

static int get_inflight_fd(struct vhost_device *device, struct handling *handling)
{
	struct inflight_message inflight;
	int fd, error;

	memcpy(&inflight, handling->message->payload, sizeof(inflight));
	for (unsigned int i = 0; i < VHOST_QUEUES_MAX; i++)
		if (device->lines[i].running)
			return -EPROTO;
	if (inflight.queues == 0 || inflight.size == 0)
		return -EPROTO;
	inflight.bytes = (uint64_t)vhost_inflight_bytes(inflight.size) * inflight.queues;
	inflight.offset = 0;
	fd = memfd_create("inflight", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = ftruncate(fd, (off_t)inflight.bytes) ? -errno : map_inflight(device, fd, &inflight);
	if (error) {
		close(fd);
		return error;
	}
	memcpy(handling->reply->payload, &inflight, sizeof(inflight));
	handling->reply->size = sizeof(inflight);
	*handling->reply_fd = fd;
	return 1;
}

static int set_inflight_fd(struct vhost_device *device, struct handling *handling)
{
	struct inflight_message inflight;

	memcpy(&inflight, handling->message->payload, sizeof(inflight));
	for (unsigned int i = 0; i < VHOST_QUEUES_MAX; i++)
		if (device->lines[i].running)
			return -EPROTO;
	return map_inflight(device, handling->fds[0], &inflight);
}

#define ANY_SIZE UINT32_MAX

/** What may come: payload size and number of descriptors are checked before the function is called. */
static const struct {
	int (*handle)(struct vhost_device *device, struct handling *handling);
	uint32_t size, size_min;
	int fds; /* -1: the function looks */
	bool replies;
} messages[] = {
	[1] = {get_features, 0, 0, 0, true},
	[2] = {set_features, 8, 8, 0, false},
	[3] = {set_owner, 0, 0, 0, false},
	[5] = {set_mem_table, ANY_SIZE, 8, -1, false},
	[8] = {set_vring_num, 8, 8, 0, false},
	[9] = {set_vring_addr, 40, 40, 0, false},
	[10] = {set_vring_base, 8, 8, 0, false},
	[11] = {get_vring_base, 8, 8, 0, true},
	[12] = {set_vring_kick, 8, 8, -1, false},
	[13] = {set_vring_call, 8, 8, -1, false},
	[14] = {set_vring_err, 8, 8, -1, false},
	[15] = {get_protocol_features, 0, 0, 0, true},
	[16] = {set_protocol_features, 8, 8, 0, false},
	[17] = {get_queue_num, 0, 0, 0, true},
	[18] = {set_vring_enable, 8, 8, 0, false},
	[24] = {get_config, ANY_SIZE, sizeof(struct config_message), 0, true},
	[31] = {get_inflight_fd, sizeof(struct inflight_message), sizeof(struct inflight_message) - 4, 0, true},
	[32] = {set_inflight_fd, sizeof(struct inflight_message), sizeof(struct inflight_message) - 4, 1, false},
};

static int handle(struct vhost_device *device, struct handling *handling)
{
	const struct vhost_message *message = handling->message;
	uint32_t request = message->request;

	if ((message->flags & 3) != FLAG_VERSION || message->flags & FLAG_REPLY ||
	    request >= sizeof(messages) / sizeof(*messages) || !messages[request].handle)
		return -EPROTO;
	if (message->size < messages[request].size_min ||
	    (messages[request].size != ANY_SIZE && message->size > messages[request].size) ||
	    (messages[request].fds >= 0 && handling->fd_count != (unsigned int)messages[request].fds))
		return -EPROTO;
	return messages[request].handle(device, handling);
}

int vhost_device_handle(struct vhost_device *device, const struct vhost_message *message, int *fds,
			unsigned int fd_count, struct vhost_message *reply, int *reply_fd)
{
	struct handling handling = {message, fds, fd_count, reply, reply_fd};
	int result;

	*reply_fd = -1;
	reply->request = message->request;
	reply->flags = FLAG_VERSION | FLAG_REPLY;
	result = handle(device, &handling);
	for (unsigned int i = 0; i < fd_count; i++)
		replace_fd(&fds[i], -1);
	if (result == 0 && message->flags & FLAG_NEED_REPLY && device->protocol_features & PROTOCOL_REPLY_ACK)
		return reply_u64(&handling, 0);
	return result;
}
