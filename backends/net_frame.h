/*
 * What a guest may put on the wire, and the address it is given. No input or output here: frames in, decisions out.
 *
 * A guest speaks IPv4 and ARP with its own hardware and network address, to whoever nftables lets it. Its DHCP requests
 * never reach the service domain's kernel: they are answered here, from what was configured.
 */
#ifndef BULKHEAD_BACKENDS_NET_FRAME_H
#define BULKHEAD_BACKENDS_NET_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define NET_FRAME_MIN 14u
#define NET_FRAME_MAX 1514u
#define NET_MAC_BYTES 6u

/** A guest's place in the network. Addresses in host order. */
struct net_identity {
	uint8_t mac[NET_MAC_BYTES];
	uint32_t guest, gateway;
	uint32_t resolver;	  /**< 0: none */
	unsigned int prefix_bits; /**< 1 .. 30 */
};

enum net_verdict {
	NET_DROP, /**< malformed, forged, or of a protocol that is not carried */
	NET_PASS, /**< for the wire */
	NET_DHCP, /**< for net_dhcp_answer() */
};

/** Judges a frame of the guest's. @bytes: any */
enum net_verdict net_frame_check(const struct net_identity *identity, const uint8_t *frame, size_t bytes);

/**
 * Answers a frame that was judged NET_DHCP.
 * @answer: NET_FRAME_MAX bytes. Returns the answer's length, or 0 if there is none to give.
 */
size_t net_dhcp_answer(const struct net_identity *identity, const uint8_t *frame, size_t bytes, uint8_t *answer);

#endif
