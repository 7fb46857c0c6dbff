/* SPDX-License-Identifier: MIT */
/*
 * Guests: handles, declared memory, the seal. Processors are in vcpu.c, the end in teardown.c.
 */
#include "guest_platform.h"
#include "ownership.h"

/* A handle is generation * BULKHEAD_MAX_GUESTS + slot. The last generation is never passed. */
#define LAST_GENERATION (UINT32_MAX / BULKHEAD_MAX_GUESTS)

uint8_t guest_slot(const struct guest *guest)
{
	return (uint8_t)(guest - core.guests);
}

struct guest *guest_find(struct core_locked held, uint64_t handle)
{
	struct guest *guest = &held.core->guests[handle % BULKHEAD_MAX_GUESTS];

	return handle != 0 && guest->handle == handle ? guest : NULL;
}

static struct guest *free_slot(struct core_locked held)
{
	for (unsigned int i = 0; i < BULKHEAD_MAX_GUESTS; i++)
		if (held.core->guests[i].state == BULKHEAD_GUEST_FREE)
			return &held.core->guests[i];
	return NULL;
}

enum bulkhead_error guest_create(struct core_locked held, struct phys root, uint64_t flags,
				 uint64_t *handle)
{
	struct guest *guest = free_slot(held);
	enum bulkhead_error error;

	if (flags & ~(uint64_t)BULKHEAD_GUEST_PROTECTED)
		return BULKHEAD_INVALID;
	if (!guest || held.core->next_generation > LAST_GENERATION)
		return BULKHEAD_LIMIT;
	error = ownership_take(held, root, 1, FRAME_TABLE, guest_slot(guest));
	if (error)
		return error;

	guest->handle = held.core->next_generation++ * BULKHEAD_MAX_GUESTS + guest_slot(guest);
	guest->state = BULKHEAD_GUEST_LOADING;
	guest->is_protected = flags & BULKHEAD_GUEST_PROTECTED;
	address_space_init(&guest->space, held.core->service.format, root, 1u + guest_slot(guest));
	measure_start(&guest->measurement);
	measure_small(&guest->measurement, BULKHEAD_RECORD_GUEST, flags, NULL, 0);
	*handle = guest->handle;
	return BULKHEAD_OK;
}

static bool overlaps(const struct guest_range *range, struct guest_phys base, uint64_t page_count)
{
	return base.value < range->base.value + range->page_count * PAGE_BYTES &&
	       range->base.value < base.value + page_count * PAGE_BYTES;
}

enum bulkhead_error guest_add_range(struct core_locked held, struct guest *guest,
				    struct guest_phys base, uint64_t page_count)
{
	const uint64_t limit = (1ull << BULKHEAD_GUEST_ADDRESS_BITS) / PAGE_BYTES;
	uint8_t content[8];

	(void)held;
	if (guest->state != BULKHEAD_GUEST_LOADING)
		return BULKHEAD_BAD_STATE;
	if (guest->transfer.kind != TRANSFER_NONE)
		return BULKHEAD_BUSY;
	if (!is_page_aligned(base.value))
		return BULKHEAD_BAD_ADDRESS;
	if (page_count == 0 || page_count > limit || base.value / PAGE_BYTES > limit - page_count)
		return BULKHEAD_INVALID;
	if (guest->range_count == BULKHEAD_MAX_RANGES)
		return BULKHEAD_LIMIT;
	for (unsigned int i = 0; i < guest->range_count; i++)
		if (overlaps(&guest->ranges[i], base, page_count))
			return BULKHEAD_OCCUPIED;

	guest->ranges[guest->range_count++] = (struct guest_range){ base, page_count };
	for (unsigned int i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(page_count >> (8 * i));
	measure_small(&guest->measurement, BULKHEAD_RECORD_RANGE, base.value, content,
		      sizeof(content));
	return BULKHEAD_OK;
}

bool guest_declares(const struct guest *guest, struct guest_phys at, uint64_t page_count)
{
	for (unsigned int i = 0; i < guest->range_count; i++) {
		const struct guest_range *range = &guest->ranges[i];
		uint64_t first = (at.value - range->base.value) / PAGE_BYTES;

		if (at.value >= range->base.value && first < range->page_count &&
		    page_count <= range->page_count - first)
			return true;
	}
	return false;
}

/* Every processor that exists must have the state it starts with, and one must exist. */
static bool vcpus_are_ready(const struct guest *guest)
{
	for (unsigned int i = 0; i < BULKHEAD_MAX_VCPUS; i++)
		if (guest->vcpus[i].state == VCPU_STOPPED)
			return false;
	return guest->vcpu_count > 0;
}

/* Measures one vCPU's state and gives it to the back-end; the next call takes the next one. */
static enum bulkhead_error seal_step(struct guest *guest)
{
	struct vcpu *vcpu = &guest->vcpus[guest->seal_next];
	const void *state;

	if (vcpu->state != VCPU_FREE) {
		state = arch_page(vcpu->pages);
		if (measure_page(&guest->measurement, BULKHEAD_RECORD_VCPU, vcpu->index, state) ==
		    BULKHEAD_AGAIN)
			return BULKHEAD_AGAIN;
		arch_vcpu_set_state(vcpu, state);
	}
	if (++guest->seal_next < BULKHEAD_MAX_VCPUS)
		return BULKHEAD_AGAIN;
	guest->state = BULKHEAD_GUEST_SEALED;
	return BULKHEAD_OK;
}

enum bulkhead_error guest_seal(struct core_locked held, struct guest *guest)
{
	(void)held;
	if (guest->state == BULKHEAD_GUEST_SEALING)
		return seal_step(guest);
	if (guest->state != BULKHEAD_GUEST_LOADING)
		return BULKHEAD_BAD_STATE;
	if (guest->transfer.kind != TRANSFER_NONE)
		return BULKHEAD_BUSY;
	if (!vcpus_are_ready(guest))
		return BULKHEAD_BAD_STATE;
	if (guest->platform)
		guest_platform_close(guest);
	guest->state = BULKHEAD_GUEST_SEALING;
	guest->seal_next = 0;
	return seal_step(guest);
}
