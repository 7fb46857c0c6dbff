/*
 * Judging a guest's frames and answering its DHCP; see net_frame.h. RFC 826, 791, 768, 2131 and 2132.
 */
#include "net_frame.h"

#include <stdbool.h>
#include <string.h>

enum { TYPE_IPV4 = 0x0800, TYPE_ARP = 0x0806, PROTOCOL_UDP = 17, PORT_SERVER = 67, PORT_CLIENT = 68 };
enum { ETHERNET_BYTES = 14, ARP_BYTES = 28, IPV4_BYTES = 20, UDP_BYTES = 8, BOOTP_BYTES = 240, BOOTP_LEAST = 300 };
enum { DHCP_DISCOVER = 1, DHCP_OFFER = 2, DHCP_REQUEST = 3, DHCP_ACK = 5, DHCP_NAK = 6 };
enum { OPTION_PAD = 0, OPTION_MASK = 1, OPTION_ROUTER = 3, OPTION_RESOLVER = 6, OPTION_WANTED = 50, OPTION_LEASE = 51,
       OPTION_TYPE = 53, OPTION_SERVER = 54, OPTION_END = 255 };

#define LEASE_SECONDS 86400u
#define COOKIE	      0x63825363u

/* The gateway as the sender of answers: locally administered, never on the wire. */
static const uint8_t answer_mac[NET_MAC_BYTES] = { 0x02, 'b', 'u', 'l', 'k', 1 };

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, (uint16_t)(value >> 16));
	put16(at + 2, (uint16_t)value);
}

static enum net_verdict check_arp(const struct net_identity *identity, const uint8_t *arp, size_t bytes)
{
	uint32_t sender;

	if (bytes < ARP_BYTES || get16(arp) != 1 || get16(arp + 2) != TYPE_IPV4 || arp[4] != NET_MAC_BYTES || arp[5] != 4)
		return NET_DROP;
	if (get16(arp + 6) != 1 && get16(arp + 6) != 2)
		return NET_DROP;
	sender = get32(arp + 14);
	/* 0.0.0.0 asks whether an address is free (RFC 5227). */
	if (memcmp(arp + 8, identity->mac, NET_MAC_BYTES) || (sender != identity->guest && sender != 0))
		return NET_DROP;
	return NET_PASS;
}

/** The UDP payload of an IPv4 packet that is whole and no fragment, or NULL. */
static const uint8_t *udp_of(const uint8_t *packet, size_t header, size_t total, size_t *bytes)
{
	const uint8_t *udp = packet + header;

	if (packet[9] != PROTOCOL_UDP || get16(packet + 6) & 0x3fff || total - header < UDP_BYTES)
		return NULL;
	*bytes = get16(udp + 4);
	if (*bytes < UDP_BYTES || *bytes > total - header)
		return NULL;
	return udp;
}

/**
 * Nobody on this wire may take a guest for a DHCP server: a client reads such answers before any rule of nftables sees them,
 * and takes its routes and resolvers from them.
 */
static bool is_dhcp_server(const uint8_t *udp)
{
	return get16(udp) == PORT_SERVER || get16(udp + 2) == PORT_CLIENT;
}

static enum net_verdict check_ipv4(const struct net_identity *identity, const uint8_t *packet, size_t bytes)
{
	size_t header, total, udp_bytes;
	const uint8_t *udp;
	bool is_dhcp;

	if (bytes < IPV4_BYTES || packet[0] >> 4 != 4)
		return NET_DROP;
	header = (packet[0] & 15u) * 4;
	total = get16(packet + 2);
	if (header < IPV4_BYTES || total < header || total > bytes)
		return NET_DROP;
	udp = udp_of(packet, header, total, &udp_bytes);
	if (udp && is_dhcp_server(udp))
		return NET_DROP;
	is_dhcp = udp && get16(udp) == PORT_CLIENT && get16(udp + 2) == PORT_SERVER;
	if (get32(packet + 12) != identity->guest && !(is_dhcp && get32(packet + 12) == 0))
		return NET_DROP;
	return is_dhcp ? NET_DHCP : NET_PASS;
}

enum net_verdict net_frame_check(const struct net_identity *identity, const uint8_t *frame, size_t bytes)
{
	if (bytes < NET_FRAME_MIN || bytes > NET_FRAME_MAX || memcmp(frame + NET_MAC_BYTES, identity->mac, NET_MAC_BYTES))
		return NET_DROP;
	switch (get16(frame + 12)) {
	case TYPE_ARP:
		return check_arp(identity, frame + ETHERNET_BYTES, bytes - ETHERNET_BYTES);
	case TYPE_IPV4:
		return check_ipv4(identity, frame + ETHERNET_BYTES, bytes - ETHERNET_BYTES);
	default:
		return NET_DROP;
	}
}

struct dhcp_question {
	unsigned int type;
	uint32_t wanted; /**< address asked for, or used now; 0: none */
	uint32_t server; /**< 0: anybody */
};

/** Reads a question. Returns false if it is none. */
static bool read_question(const struct net_identity *identity, const uint8_t *bootp, size_t bytes,
			  struct dhcp_question *question)
{
	size_t at = BOOTP_BYTES;

	if (bytes < BOOTP_BYTES || bootp[0] != 1 || bootp[1] != 1 || bootp[2] != NET_MAC_BYTES ||
	    memcmp(bootp + 28, identity->mac, NET_MAC_BYTES) || get32(bootp + 236) != COOKIE)
		return false;
	*question = (struct dhcp_question){ .wanted = get32(bootp + 12) };
	while (at < bytes && bootp[at] != OPTION_END) {
		uint8_t option = bootp[at++], size;

		if (option == OPTION_PAD)
			continue;
		if (at == bytes)
			return false;
		size = bootp[at++];
		if (size > bytes - at)
			return false;
		if (option == OPTION_TYPE && size == 1)
			question->type = bootp[at];
		else if (option == OPTION_WANTED && size == 4)
			question->wanted = get32(bootp + at);
		else if (option == OPTION_SERVER && size == 4)
			question->server = get32(bootp + at);
		at += size;
	}
	return true;
}

static size_t put_option(uint8_t *bootp, size_t at, uint8_t option, uint32_t value)
{
	bootp[at] = option;
	bootp[at + 1] = 4;
	put32(bootp + at + 2, value);
	return at + 6;
}

/** Fills a BOOTP reply, all zeros before. Returns its length. */
static size_t write_reply(const struct net_identity *identity, const uint8_t *question, uint8_t type, uint8_t *bootp)
{
	size_t at = BOOTP_BYTES;

	bootp[0] = 2;
	bootp[1] = 1;
	bootp[2] = NET_MAC_BYTES;
	memcpy(bootp + 4, question + 4, 4);   /* transaction */
	memcpy(bootp + 10, question + 10, 2); /* flags */
	memcpy(bootp + 28, identity->mac, NET_MAC_BYTES);
	put32(bootp + 236, COOKIE);
	bootp[at++] = OPTION_TYPE;
	bootp[at++] = 1;
	bootp[at++] = type;
	at = put_option(bootp, at, OPTION_SERVER, identity->gateway);
	if (type != DHCP_NAK) {
		put32(bootp + 16, identity->guest);
		at = put_option(bootp, at, OPTION_LEASE, LEASE_SECONDS);
		at = put_option(bootp, at, OPTION_MASK, ~0u << (32 - identity->prefix_bits));
		at = put_option(bootp, at, OPTION_ROUTER, identity->gateway);
		if (identity->resolver)
			at = put_option(bootp, at, OPTION_RESOLVER, identity->resolver);
	}
	bootp[at++] = OPTION_END;
	return at < BOOTP_LEAST ? BOOTP_LEAST : at;
}

static uint16_t checksum(const uint8_t *header)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < IPV4_BYTES; i += 2)
		sum += get16(header + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/** Puts Ethernet, IPv4 and UDP headers before a payload. Returns the frame's length. */
static size_t wrap(const struct net_identity *identity, uint8_t *frame, size_t payload_bytes)
{
	uint8_t *packet = frame + ETHERNET_BYTES, *udp = packet + IPV4_BYTES;
	size_t udp_bytes = UDP_BYTES + payload_bytes;

	memcpy(frame, identity->mac, NET_MAC_BYTES);
	memcpy(frame + NET_MAC_BYTES, answer_mac, NET_MAC_BYTES);
	put16(frame + 12, TYPE_IPV4);
	packet[0] = 4 << 4 | IPV4_BYTES / 4;
	put16(packet + 2, (uint16_t)(IPV4_BYTES + udp_bytes));
	packet[8] = 64;
	packet[9] = PROTOCOL_UDP;
	put32(packet + 12, identity->gateway);
	put32(packet + 16, 0xffffffff);
	put16(packet + 10, checksum(packet));
	put16(udp, PORT_SERVER);
	put16(udp + 2, PORT_CLIENT);
	put16(udp + 4, (uint16_t)udp_bytes);
	return ETHERNET_BYTES + IPV4_BYTES + udp_bytes;
}

size_t net_dhcp_answer(const struct net_identity *identity, const uint8_t *frame, size_t bytes, uint8_t *answer)
{
	const uint8_t *packet = frame + ETHERNET_BYTES;
	struct dhcp_question question;
	size_t header, udp_bytes;
	const uint8_t *bootp;
	uint8_t type;

	if (net_frame_check(identity, frame, bytes) != NET_DHCP)
		return 0;
	header = (packet[0] & 15u) * 4;
	bootp = packet + header + UDP_BYTES;
	udp_bytes = get16(packet + header + 4);
	if (!read_question(identity, bootp, udp_bytes - UDP_BYTES, &question))
		return 0;
	if (question.server && question.server != identity->gateway)
		return 0;
	if (question.type == DHCP_DISCOVER)
		type = DHCP_OFFER;
	else if (question.type == DHCP_REQUEST)
		type = question.wanted == identity->guest ? DHCP_ACK : DHCP_NAK;
	else
		return 0;
	memset(answer, 0, NET_FRAME_MAX);
	return wrap(identity, answer,
		    write_reply(identity, bootp, type, answer + ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES));
}
