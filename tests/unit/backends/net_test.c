/*
 * The network and entropy devices: which frames a guest gets onto the wire, how its DHCP is answered, and that requests
 * of any shape end well. A pair of sockets stands for the tap.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "entropy.h"
#include "net.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUEST	0x0a4d0102u /* 10.77.1.2 */
#define GATEWAY 0x0a4d0101u
#define OTHER	0x0a4d0202u

static const struct net_identity identity = {
	.mac = {2, 0, 0, 0, 0, 1}, .guest = GUEST, .gateway = GATEWAY, .resolver = 0x09090909, .prefix_bits = 30};

static void put(uint8_t *at, uint64_t value, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static size_t ethernet(uint8_t *frame, uint16_t type)
{
	memset(frame, 0, NET_FRAME_MAX);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, identity.mac, 6);
	put(frame + 12, type, 2);
	return 14;
}

static size_t ipv4(uint8_t *frame, uint32_t from, uint16_t payload)
{
	ethernet(frame, 0x0800);
	frame[14] = 0x45;
	put(frame + 16, 20u + payload, 2);
	frame[23] = 6;
	put(frame + 26, from, 4);
	put(frame + 30, 0x01010101, 4);
	return 34u + payload;
}

static size_t arp(uint8_t *frame, uint32_t sender)
{
	ethernet(frame, 0x0806);
	put(frame + 14, 0x0001080006040001, 8);
	memcpy(frame + 22, identity.mac, 6);
	put(frame + 28, sender, 4);
	return 42;
}

static size_t dhcp(uint8_t *frame, uint32_t from, uint8_t type, uint32_t wanted)
{
	size_t bytes = ipv4(frame, from, 8 + 260);

	frame[23] = 17;
	put(frame + 34, 68, 2);
	put(frame + 36, 67, 2);
	put(frame + 38, 8 + 260, 2);
	put(frame + 42, 0x010106, 3);
	put(frame + 46, 0x12345678, 4);
	memcpy(frame + 70, identity.mac, 6);
	put(frame + 278, 0x63825363, 4);
	put(frame + 282, 0x350100 | type, 3);
	put(frame + 285, 0x3204, 2);
	put(frame + 287, wanted, 4);
	frame[291] = 255;
	return bytes;
}

static void honest_frames_pass(void **state)
{
	uint8_t frame[NET_FRAME_MAX];

	(void)state;
	assert_int_equal(net_frame_check(&identity, frame, ipv4(frame, GUEST, 100)), NET_PASS);
	assert_int_equal(net_frame_check(&identity, frame, arp(frame, GUEST)), NET_PASS);
	assert_int_equal(net_frame_check(&identity, frame, arp(frame, 0)), NET_PASS);
	assert_int_equal(net_frame_check(&identity, frame, ipv4(frame, GUEST, 1480)), NET_PASS);
}

static void forged_and_malformed_frames_do_not(void **state)
{
	uint8_t frame[NET_FRAME_MAX + 1] = {0};
	size_t bytes;

	(void)state;
	assert_int_equal(net_frame_check(&identity, frame, ipv4(frame, OTHER, 100)), NET_DROP);
	assert_int_equal(net_frame_check(&identity, frame, ipv4(frame, 0, 100)), NET_DROP);
	assert_int_equal(net_frame_check(&identity, frame, arp(frame, OTHER)), NET_DROP);
	assert_int_equal(net_frame_check(&identity, frame, arp(frame, GATEWAY)), NET_DROP);
	bytes = arp(frame, GUEST);
	frame[22] ^= 4; /* another hardware address inside */
	assert_int_equal(net_frame_check(&identity, frame, bytes), NET_DROP);
	bytes = ipv4(frame, GUEST, 100);
	frame[6] ^= 4; /* and outside */
	assert_int_equal(net_frame_check(&identity, frame, bytes), NET_DROP);
	assert_int_equal(net_frame_check(&identity, frame, ethernet(frame, 0x86dd) + 60), NET_DROP);
	assert_int_equal(net_frame_check(&identity, frame, ethernet(frame, 0x8100) + 60), NET_DROP);
	bytes = ipv4(frame, GUEST, 100);
	assert_int_equal(net_frame_check(&identity, frame, bytes - 1), NET_DROP);
	assert_int_equal(net_frame_check(&identity, frame, 13), NET_DROP);
	assert_int_equal(net_frame_check(&identity, frame, NET_FRAME_MAX + 1), NET_DROP);
	frame[14] = 0x44;
	assert_int_equal(net_frame_check(&identity, frame, bytes), NET_DROP);
	frame[14] = 0x65;
	assert_int_equal(net_frame_check(&identity, frame, bytes), NET_DROP);
}

static void guest_is_no_dhcp_server(void **state)
{
	uint8_t frame[NET_FRAME_MAX];
	size_t bytes = dhcp(frame, GUEST, 2, 0);

	(void)state;
	put(frame + 34, 67, 2);
	put(frame + 36, 68, 2);
	assert_int_equal(net_frame_check(&identity, frame, bytes), NET_DROP);
	put(frame + 36, 1067, 2); /* as a relay is answered */
	assert_int_equal(net_frame_check(&identity, frame, bytes), NET_DROP);
	put(frame + 34, 1067, 2);
	put(frame + 36, 68, 2);
	assert_int_equal(net_frame_check(&identity, frame, bytes), NET_DROP);
	put(frame + 36, 1068, 2); /* the same frame on other ports is anybody's */
	assert_int_equal(net_frame_check(&identity, frame, bytes), NET_PASS);
}

static void dhcp_gives_the_configured_address_only(void **state)
{
	uint8_t frame[NET_FRAME_MAX], answer[NET_FRAME_MAX];
	size_t bytes = dhcp(frame, 0, 1, 0);

	(void)state;
	assert_int_equal(net_frame_check(&identity, frame, bytes), NET_DHCP);
	assert_int_equal(net_dhcp_answer(&identity, frame, bytes, answer), 14 + 20 + 8 + 300);
	assert_memory_equal(answer, identity.mac, 6);
	assert_int_equal(answer[42], 2);
	assert_memory_equal(answer + 46, frame + 46, 4);
	assert_memory_equal(answer + 58, "\x0a\x4d\x01\x02", 4);
	assert_int_equal(answer[284], 2); /* offer */
	bytes = dhcp(frame, 0, 3, GUEST);
	assert_true(net_dhcp_answer(&identity, frame, bytes, answer) > 0);
	assert_int_equal(answer[284], 5);
	bytes = dhcp(frame, 0, 3, OTHER);
	assert_true(net_dhcp_answer(&identity, frame, bytes, answer) > 0);
	assert_int_equal(answer[284], 6);
	assert_memory_equal(answer + 58, "\0\0\0\0", 4);
	assert_int_equal(net_dhcp_answer(&identity, frame, dhcp(frame, 0, 7, GUEST), answer), 0);
	bytes = dhcp(frame, 0, 1, 0);
	frame[70] ^= 4; /* somebody else's question */
	assert_int_equal(net_dhcp_answer(&identity, frame, bytes, answer), 0);
	bytes = dhcp(frame, 0, 1, 0);
	put(frame + 20, 0x2000, 2); /* a fragment */
	assert_int_equal(net_frame_check(&identity, frame, bytes), NET_DROP);
}

struct wire {
	struct net net;
	int ends[2];
	struct vhost_request request;
	uint8_t buffer[4096], scratch[NET_FRAME_MAX + 1];
};

static int make_wire(void **state)
{
	struct wire *wire = calloc(1, sizeof(*wire));

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, wire->ends), 0);
	assert_int_equal(net_make(&wire->net, &identity, wire->ends[0]), 0);
	*state = wire;
	return 0;
}

static int drop_wire(void **state)
{
	struct wire *wire = *state;

	net_release(&wire->net);
	close(wire->ends[0]);
	close(wire->ends[1]);
	free(wire);
	return 0;
}

static void guest_sends(struct wire *wire, size_t frame_bytes)
{
	struct vhost_request *request = &wire->request;

	memmove(wire->buffer + 12, wire->buffer, frame_bytes);
	memset(wire->buffer, 0, 12);
	*request = (struct vhost_request){.out_count = 2, .out_bytes = 12 + frame_bytes};
	request->segments[0] = (struct iovec){wire->buffer, 20};
	request->segments[1] = (struct iovec){wire->buffer + 20, frame_bytes - 8};
	request->out = request->segments;
	assert_int_equal(wire->net.kind.serve(&wire->net, request, wire->scratch), 0);
}

static uint32_t guest_receives(struct wire *wire, size_t room)
{
	struct vhost_request *request = &wire->request;

	memset(wire->buffer, 0xee, sizeof(wire->buffer));
	*request = (struct vhost_request){.in_count = 1, .in_bytes = room};
	request->segments[0] = (struct iovec){wire->buffer, room};
	request->in = request->segments;
	return wire->net.kind.serve(&wire->net, request, wire->scratch);
}

static void frames_cross_the_tap(void **state)
{
	struct wire *wire = *state;
	uint8_t got[2048], frame[NET_FRAME_MAX];
	size_t bytes = ipv4(frame, GUEST, 200);

	memcpy(wire->buffer, frame, bytes);
	guest_sends(wire, bytes);
	assert_int_equal(read(wire->ends[1], got, sizeof(got)), bytes);
	assert_memory_equal(got, frame, bytes);
	assert_int_equal(write(wire->ends[1], frame, bytes), bytes);
	assert_int_equal(guest_receives(wire, 1600), 12 + bytes);
	assert_int_equal(wire->buffer[10], 1); /* one buffer */
	assert_memory_equal(wire->buffer + 12, frame, bytes);
	assert_int_equal(guest_receives(wire, 1600), 0);
	/* Too long for the wire, or for the guest's buffer: lost, nothing else. */
	assert_int_equal(write(wire->ends[1], got, 1515), 1515);
	assert_int_equal(guest_receives(wire, 1600), 0);
	assert_int_equal(write(wire->ends[1], frame, bytes), bytes);
	assert_int_equal(guest_receives(wire, 100), 0);
	assert_int_equal(wire->net.dropped, 0);
}

static void what_is_dropped_never_reaches_the_tap(void **state)
{
	struct wire *wire = *state;
	uint8_t got[2048];

	guest_sends(wire, ipv4(wire->buffer, OTHER, 200));
	guest_sends(wire, 1600);
	guest_sends(wire, dhcp(wire->buffer, 0, 1, 0));
	assert_int_equal(read(wire->ends[1], got, sizeof(got)), -1);
	assert_int_equal(wire->net.dropped, 2);
	assert_int_equal(guest_receives(wire, 1600), 12 + 342);
	/* Answers that nobody takes are not kept without end. */
	for (unsigned int i = 0; i < 100; i++)
		guest_sends(wire, dhcp(wire->buffer, 0, 1, 0));
	assert_int_equal(wire->net.answer_count, NET_ANSWERS_MAX);
}

static void entropy_fills_what_it_is_asked_for(void **state)
{
	static uint8_t buffer[8192], scratch[ENTROPY_REQUEST_BYTES];
	static const uint8_t zeros[64];
	struct vhost_request request = {.in_count = 1, .in_bytes = 64};

	(void)state;
	request.segments[0] = (struct iovec){buffer, 64};
	request.in = request.segments;
	assert_int_equal(entropy_kind.serve(NULL, &request, scratch), 64);
	assert_memory_not_equal(buffer, zeros, 64);
	assert_memory_equal(buffer + 64, zeros, 64);
	request.segments[0].iov_len = request.in_bytes = sizeof(buffer);
	assert_int_equal(entropy_kind.serve(NULL, &request, scratch), ENTROPY_REQUEST_BYTES);
	request.in_count = 0;
	request.in_bytes = 0;
	assert_int_equal(entropy_kind.serve(NULL, &request, scratch), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(honest_frames_pass),
		cmocka_unit_test(forged_and_malformed_frames_do_not),
		cmocka_unit_test(guest_is_no_dhcp_server),
		cmocka_unit_test(dhcp_gives_the_configured_address_only),
		cmocka_unit_test_setup_teardown(frames_cross_the_tap, make_wire, drop_wire),
		cmocka_unit_test_setup_teardown(what_is_dropped_never_reaches_the_tap, make_wire, drop_wire),
		cmocka_unit_test(entropy_fills_what_it_is_asked_for),
	};

	return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
