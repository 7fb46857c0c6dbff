/* SPDX-License-Identifier: MIT */
/*
 * See relay_fixture.h.
 */
#include "relay_fixture.h"

uint8_t guest_bytes[GUEST_BYTES], area_bytes[RELAY_AREA_BYTES + AREA];
struct memory guest = { guest_bytes, GUEST_START, sizeof(guest_bytes), 0 };
struct memory area = { area_bytes, 0, sizeof(area_bytes), 0 };
struct relay_queue relay;
struct relay_effects effects;
uint16_t backend_seen;

struct descriptor *desc(unsigned int i)
{
	return (struct descriptor *)(guest_bytes + (DESC - GUEST_START)) + i;
}

uint16_t *guest16(uint64_t address)
{
	return (uint16_t *)(guest_bytes + (address - GUEST_START));
}

uint16_t *area16(uint32_t offset)
{
	return (uint16_t *)(area_bytes + AREA + offset);
}

uint32_t *used_entry(uint16_t index)
{
	return (uint32_t *)(guest_bytes + (USED - GUEST_START) + 4 + 8 * (index % QUEUE_SIZE));
}

void offer(uint16_t head)
{
	uint16_t index = *guest16(AVAIL + 2);

	*guest16(AVAIL + 4 + 2 * (index % QUEUE_SIZE)) = head;
	*guest16(AVAIL + 2) = (uint16_t)(index + 1);
}

void set_up(bool event_index, bool is_disk)
{
	struct virtqueue queue;

	memset(guest_bytes, 0, sizeof(guest_bytes));
	memset(area_bytes, 0xee, sizeof(area_bytes));
	memset(&effects, 0, sizeof(effects));
	backend_seen = 0;
	assert_true(virtqueue_start(&queue, &guest, QUEUE_SIZE, DESC, AVAIL, USED, event_index));
	assert_true(relay_start(&relay, &queue, is_disk, &area, AREA));
}

void complete(uint32_t head, uint32_t size)
{
	uint16_t index = *area16(RELAY_USED_RING + 2);
	uint32_t *entry = (uint32_t *)(area_bytes + AREA + RELAY_USED_RING + 4 + 8 * (index % RELAY_DESCRIPTORS));

	entry[0] = head;
	entry[1] = size;
	*area16(RELAY_USED_RING + 2) = (uint16_t)(index + 1);
}

void forward(void)
{
	do {
		effects.more = false;
		relay_forward(&relay, 65536, &effects);
	} while (effects.more);
}

void give_back(void)
{
	do {
		effects.more = false;
		relay_return(&relay, 65536, &effects);
	} while (effects.more);
}
