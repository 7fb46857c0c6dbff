/*
 * Frames as a hostile guest makes them: judged and, where they ask for it, answered. An answer never exceeds a frame, and
 * what passes carries the guest's own addresses.
 */
#include "net_frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	static const struct net_identity identity = {
		.mac = { 'a', 'a', 'a', 'a', 'a', 'a' }, .guest = 0x61616161, .gateway = 0x61616162, .prefix_bits = 30 };
	uint8_t *frame = malloc(size_bytes ? size_bytes : 1), answer[NET_FRAME_MAX];
	enum net_verdict verdict;
	size_t answered;

	memcpy(frame, data, size_bytes);
	/* The addresses no fuzzer guesses; half of the inputs get them. */
	if (size_bytes >= 14 && data[0] & 1)
		memcpy(frame + 6, identity.mac, 6);
	verdict = net_frame_check(&identity, frame, size_bytes);
	answered = net_dhcp_answer(&identity, frame, size_bytes, answer);
	if (answered > sizeof(answer) || (answered && verdict != NET_DHCP))
		abort();
	if (verdict != NET_DROP && memcmp(frame + 6, identity.mac, 6))
		abort();
	free(frame);
	return 0;
}
