/*
 * Frames between a guest's queues and the tap; see net.h. A frame is copied once out of the guest's reach before it is
 * judged. Queue 0 receives, queue 1 sends; one thread each, so that frames keep their order.
 */
#include "net.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HEADER_BYTES sizeof(struct virtio_net_hdr_v1)
_Static_assert(HEADER_BYTES == 12, "virtio 1.1, 5.1.6");

static void keep_answer(struct net *net, const uint8_t *frame, size_t bytes)
{
	static const uint64_t one = 1;
	uint8_t answer[NET_FRAME_MAX];
	size_t size = net_dhcp_answer(&net->identity, frame, bytes, answer);

	if (!size)
		return;
	pthread_mutex_lock(&net->lock);
	/* A guest that asks faster than it listens loses answers. */
	if (net->answer_count < NET_ANSWERS_MAX) {
		memcpy(net->answers[net->answer_count], answer, size);
		net->answer_bytes[net->answer_count++] = size;
	}
	pthread_mutex_unlock(&net->lock);
	if (write(net->answer, &one, sizeof(one)) < 0)
		return; /* full: it says so already */
}

static uint32_t send_frame(struct net *net, const struct vhost_request *request, uint8_t *frame)
{
	size_t bytes = (size_t)request->out_bytes - HEADER_BYTES;
	enum net_verdict verdict = NET_DROP;

	if (request->out_bytes >= HEADER_BYTES + NET_FRAME_MIN && request->out_bytes <= HEADER_BYTES + NET_FRAME_MAX &&
	    vhost_copy_from(request->out, request->out_count, HEADER_BYTES, frame, bytes))
		verdict = net_frame_check(&net->identity, frame, bytes);
	if (verdict == NET_DHCP)
		keep_answer(net, frame, bytes);
	else if (verdict == NET_DROP || write(net->tap, frame, bytes) < 0)
		__atomic_fetch_add(&net->dropped, 1, __ATOMIC_RELAXED);
	return 0;
}

/** The next frame for the guest: an answer of ours, or what the tap has. Returns its length; 0: none. */
static size_t next_frame(struct net *net, uint8_t *frame)
{
	size_t size = 0;
	uint64_t count;
	ssize_t got;

	pthread_mutex_lock(&net->lock);
	if (net->answer_count) {
		size = net->answer_bytes[0];
		memcpy(frame, net->answers[0], size);
		net->answer_count--;
		memmove(net->answer_bytes, net->answer_bytes + 1, net->answer_count * sizeof(net->answer_bytes[0]));
		memmove(net->answers, net->answers + 1, net->answer_count * sizeof(net->answers[0]));
	}
	if (!net->answer_count && read(net->answer, &count, sizeof(count)) < 0 && errno != EAGAIN)
		size = 0;
	pthread_mutex_unlock(&net->lock);
	if (size)
		return size;
	got = read(net->tap, frame, NET_FRAME_MAX + 1);
	return got >= (ssize_t)NET_FRAME_MIN && got <= (ssize_t)NET_FRAME_MAX ? (size_t)got : 0;
}

static uint32_t receive_frame(struct net *net, const struct vhost_request *request, uint8_t *scratch)
{
	const struct virtio_net_hdr_v1 header = {.num_buffers = 1};
	size_t size = next_frame(net, scratch);

	/* A buffer that comes back empty is a frame lost, as on any wire. */
	if (!size || !vhost_copy_to(request->in, request->in_count, 0, &header, sizeof(header)) ||
	    !vhost_copy_to(request->in, request->in_count, sizeof(header), scratch, size))
		return 0;
	return (uint32_t)(sizeof(header) + size);
}

static uint32_t serve(void *context, const struct vhost_request *request, void *scratch)
{
	if (request->out_count)
		return send_frame(context, request, scratch);
	return receive_frame(context, request, scratch);
}

static int source(void *context, unsigned int queue)
{
	const struct net *net = context;

	return queue == 0 ? net->source : -1;
}

int net_make(struct net *net, const struct net_identity *identity, int tap)
{
	struct epoll_event event = {.events = EPOLLIN};

	*net = (struct net){.identity = *identity, .tap = tap, .lock = PTHREAD_MUTEX_INITIALIZER};
	memcpy(net->config.mac, identity->mac, NET_MAC_BYTES);
	net->answer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	net->source = epoll_create1(EPOLL_CLOEXEC);
	if (net->answer < 0 || net->source < 0 || epoll_ctl(net->source, EPOLL_CTL_ADD, tap, &event) ||
	    epoll_ctl(net->source, EPOLL_CTL_ADD, net->answer, &event)) {
		int error = -errno;

		net_release(net);
		return error;
	}
	net->kind = (struct vhost_kind){
		.features = 1ull << VIRTIO_NET_F_MAC,
		.queue_count = 2,
		.config = &net->config,
		.config_bytes = sizeof(net->config.mac),
		.serve = serve,
		.scratch_bytes = NET_FRAME_MAX + 1,
		.context = net,
		.worker_max = 1,
		.source = source,
	};
	return 0;
}

void net_release(struct net *net)
{
	if (net->answer >= 0)
		close(net->answer);
	if (net->source >= 0)
		close(net->source);
}
