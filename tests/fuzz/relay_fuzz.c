/* SPDX-License-Identifier: MIT */
/*
 * Guest and backend of a relay queue as one hostile input: each step writes somewhere into the guest's memory or the
 * relay area, lets the relay work, or takes the backend away. Whatever they write, the relay copies no more than its budget and, by the
 * sanitizers, touches nothing but its own state and the two memories.
 */
#include "fake_memory.h"
#include "relay_parts.h"

#include <stdlib.h>
#include <string.h>

static uint8_t guest_bytes[16384], area_bytes[RELAY_AREA_BYTES];
static struct memory guest = { guest_bytes, 0, sizeof(guest_bytes), 0 };
static struct memory area = { area_bytes, 0, sizeof(area_bytes), 0 };
static struct relay_queue relay;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtqueue queue;

	memset(guest_bytes, 0, sizeof(guest_bytes));
	if (size < 1 || !virtqueue_start(&queue, &guest, 8, 0, 1024, 2048, data[0] & 1) ||
	    !relay_start(&relay, &queue, data[0] & 2, &area, 0))
		return 0;
	for (size_t at = 1; at + 8 <= size; at += 8) {
		struct relay_effects effects = { 0 };
		uint16_t where, offset;
		uint32_t value;

		memcpy(&where, data + at, 2);
		memcpy(&offset, data + at + 2, 2);
		memcpy(&value, data + at + 4, 4);
		fake_memory_copied = 0;
		switch (where % 4) {
		case 0: /* rings and small buffers lie in the first 4 KiB */
			memcpy(guest_bytes + offset % 4092, &value, 4);
			break;
		case 1:
			memcpy(area_bytes + offset % (RELAY_PAYLOAD + 4096), &value, 4);
			break;
		case 2:
			relay_forward(&relay, 4096 + offset % 8192, &effects);
			break;
		default:
			if (where >> 12 == 15)
				relay_lose(&relay);
			else
				relay_return(&relay, 4096 + offset % 8192, &effects);
			break;
		}
		if (fake_memory_copied > 4096u + offset % 8192 || relay.free_count > RELAY_DESCRIPTORS ||
		    relay_in_flight(&relay) + relay.free_count > RELAY_DESCRIPTORS)
			abort();
	}
	return 0;
}
