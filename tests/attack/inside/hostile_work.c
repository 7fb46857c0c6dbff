/* SPDX-License-Identifier: MIT */
/*
 * Guests that want the machine for themselves. Whether a run comes to an end, and how much of the hypervisor's work a run
 * may cost, is counted; how long anything takes is not looked at.
 */
#include <stdio.h>

#include <bulkhead/platform.h>

#include "hostile.h"

#define COPY_PAGES_MAX 16u /* of one run, as docs/hypercalls.md promises: 64 KiB */
#define RUNS_MAX       1000u
#define INTERRUPTIONS  50u

/* A guest that leaves all the time is still interrupted, and what interrupts the machine never reaches it. */
bool attack_stay(bool is_protected)
{
	struct guest guest = MAKE(stayer, GUEST_SEALED, is_protected);
	unsigned int interruptions = 0, reason;
	bool is_heard;

	for (;;) {
		expect("RUN", call(BULKHEAD_CALL_VCPU_RUN, guest.handle, 0, 0, 0), 0);
		reason = (unsigned int)RUN_FIELD(&guest, exit);
		if (reason == BULKHEAD_RUN_MEMORY)
			give_zeros(&guest, RUN_FIELD(&guest, address));
		else if (reason == BULKHEAD_RUN_INTERRUPT)
			interruptions++;
		else
			break;
	}
	/* Whatever else it ends with than with its own word, an interrupt of the machine's has done. */
	is_heard = reason != BULKHEAD_RUN_PORT || (RUN_FIELD(&guest, value) & 0xff) != '.';
	printf("%u interruptions, then exit %u\n", interruptions, reason);
	destroy(&guest);
	return is_heard || interruptions == 0;
}

/* One that never leaves by itself, and holds up all processors' memory as often as it can. */
bool attack_split_locks(bool is_protected)
{
	struct guest guest = MAKE(splitter, GUEST_SEALED, is_protected);
	unsigned int interruptions = 0, reason;

	do {
		expect("RUN", call(BULKHEAD_CALL_VCPU_RUN, guest.handle, 0, 0, 0), 0);
		reason = (unsigned int)RUN_FIELD(&guest, exit);
		if (reason == BULKHEAD_RUN_MEMORY)
			give_zeros(&guest, RUN_FIELD(&guest, address));
		interruptions += reason == BULKHEAD_RUN_INTERRUPT;
	} while (reason == BULKHEAD_RUN_MEMORY || (reason == BULKHEAD_RUN_INTERRUPT && interruptions < INTERRUPTIONS));
	destroy(&guest);
	return interruptions < INTERRUPTIONS;
}

/* A guest with one device, whose queue goes through a relay area. Returns the area. */
static uint64_t make_flooder(struct guest *guest, bool is_protected)
{
	static const struct bulkhead_device_description entropy = { .type = 4, .queue_count = 1,
								    .queue_size_max = FLOOD_REQUESTS };
	uint64_t list = page(), area;

	*guest = MAKE(flooder, GUEST_CREATED, is_protected);
	give_platform(guest);
	add_device(guest, FLOOD_SLOT, &entropy);
	area = contiguous(BULKHEAD_RELAY_PAGES);
	for (uint64_t i = 0; i < BULKHEAD_RELAY_PAGES; i++)
		ring0(RING0_WRITE, list + 8 * i, 8, area + 4096 * i);
	expect("RELAY", call(BULKHEAD_CALL_PLATFORM_RELAY, guest->handle, FLOOD_SLOT << 8, list, 0), 0);
	finish_guest(guest, flooder, (size_t)(flooder_end - flooder), GUEST_SEALED);
	return area;
}

/*
 * The relay at maximum work: how much it does in one run, before the service domain has its processor back and can give it
 * to a neighbour. What it has done stands in the area, where the backend sees it.
 */
bool attack_flood(bool is_protected)
{
	struct guest guest;
	uint64_t area = make_flooder(&guest, is_protected);
	unsigned int most = 0, done = 0, runs = 0;

	while (done < FLOOD_REQUESTS) {
		unsigned int reason, before = done;

		expect("runs too many", runs++ == RUNS_MAX, false);
		expect("RUN", call_once(BULKHEAD_CALL_VCPU_RUN, guest.handle, 0, 0, 0, NULL), 0);
		reason = (unsigned int)RUN_FIELD(&guest, exit);
		if (reason == BULKHEAD_RUN_MEMORY)
			give_zeros(&guest, RUN_FIELD(&guest, address));
		done = (unsigned int)ring0(RING0_READ, area + 4096 + 2, 2, 0);
		if (done - before > most)
			most = done - before;
	}
	printf("%u requests in %u runs, %u pages in one\n", done, runs, most);
	destroy(&guest);
	return most > COPY_PAGES_MAX;
}
