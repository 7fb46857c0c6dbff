/* SPDX-License-Identifier: MIT */
/* AMD-Vi's two rings: commands that the unit takes from us, events that we take from it. */
#include "amdvi.h"

/* Turns of the waiting loop. Far beyond any unit's answer, so that only a dead one reaches it. */
#define WAIT_TURNS 50000000u

/* The first word of an event [2.5]: its type, and flags of an I/O page fault [2.5.3]. */
#define EVENT_TYPE_SHIFT      60
#define EVENT_PAGE_FAULT      2u
#define EVENT_INVALID_REQUEST 8u
#define EVENT_INTERRUPT	      (1ull << 51)
#define EVENT_WRITE	      (1ull << 53)

void amdvi_lock(struct iommu *iommu)
{
	while (__atomic_test_and_set(&iommu->lock, __ATOMIC_ACQUIRE))
		iommu->access.relax(iommu->access.context);
}

void amdvi_unlock(struct iommu *iommu)
{
	__atomic_clear(&iommu->lock, __ATOMIC_RELEASE);
}

void amdvi_command(struct iommu *iommu, struct iommu_unit *unit, uint64_t first, uint64_t second)
{
	uint64_t *slot = unit->commands + unit->command_tail / sizeof(*slot);

	slot[0] = first;
	slot[1] = second;
	unit->command_tail = (unit->command_tail + AMDVI_ENTRY_BYTES) % AMDVI_RING_BYTES;
	/* Tables and command must be in memory before the unit is told of them. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	iommu->access.write(iommu->access.context, unit->base + AMDVI_COMMAND_TAIL,
			    unit->command_tail);
}

enum iommu_result amdvi_wait(struct iommu *iommu, struct iommu_unit *unit)
{
	uint64_t answer = ++unit->waits;

	amdvi_command(iommu, unit,
		      AMDVI_COMPLETION_WAIT << 60 | unit->completion_physical | 1, answer);
	for (uint32_t turn = 0; turn < WAIT_TURNS; turn++) {
		if (__atomic_load_n(unit->completion, __ATOMIC_ACQUIRE) == answer)
			return IOMMU_OK;
		iommu->access.relax(iommu->access.context);
	}
	return IOMMU_TIMEOUT;
}

enum iommu_result amdvi_forget_device(struct iommu *iommu, uint16_t device)
{
	enum iommu_result result = IOMMU_OK;

	amdvi_lock(iommu);
	for (uint32_t i = 0; i < iommu->unit_count && result == IOMMU_OK; i++) {
		struct iommu_unit *unit = &iommu->units[i];

		amdvi_command(iommu, unit, AMDVI_INVALIDATE_DEVICE << 60 | device, 0);
		amdvi_command(iommu, unit, AMDVI_INVALIDATE_INTERRUPT << 60 | device, 0);
		result = amdvi_wait(iommu, unit);
	}
	amdvi_unlock(iommu);
	return result;
}

/* A full log stops until it is restarted [2.5.2]; what was lost meanwhile is gone. */
static void restart_log(struct iommu *iommu, struct iommu_unit *unit)
{
	const struct iommu_access *access = &iommu->access;

	access->write(access->context, unit->base + AMDVI_CONTROL,
		      unit->control & ~AMDVI_CONTROL_EVENT_LOG);
	access->write(access->context, unit->base + AMDVI_EVENT_HEAD, 0);
	access->write(access->context, unit->base + AMDVI_EVENT_TAIL, 0);
	access->write(access->context, unit->base + AMDVI_STATUS, AMDVI_STATUS_EVENT_OVERFLOW);
	access->write(access->context, unit->base + AMDVI_CONTROL, unit->control);
}

static const char *describe(uint64_t code)
{
	switch (code >> EVENT_TYPE_SHIFT) {
	case EVENT_PAGE_FAULT:
		if (code & EVENT_INTERRUPT)
			return "was kept from sending an interrupt to";
		return code & EVENT_WRITE ? "was kept from writing" : "was kept from reading";
	case EVENT_INVALID_REQUEST:
		return "was kept from a request that no device may make to";
	default:
		return "let the unit meet an error at";
	}
}

static bool take_event(struct iommu *iommu, struct iommu_unit *unit, struct iommu_event *event)
{
	const struct iommu_access *access = &iommu->access;
	uint64_t head = access->read(access->context, unit->base + AMDVI_EVENT_HEAD);
	uint64_t tail = access->read(access->context, unit->base + AMDVI_EVENT_TAIL);
	uint64_t first, second;

	head &= AMDVI_RING_BYTES - AMDVI_ENTRY_BYTES;
	tail &= AMDVI_RING_BYTES - AMDVI_ENTRY_BYTES;
	if (head == tail) {
		if (access->read(access->context, unit->base + AMDVI_STATUS) &
		    AMDVI_STATUS_EVENT_OVERFLOW)
			restart_log(iommu, unit);
		return false;
	}
	first = unit->events[head / 8];
	second = unit->events[head / 8 + 1];
	unit->events[head / 8] = 0;
	unit->events[head / 8 + 1] = 0;
	access->write(access->context, unit->base + AMDVI_EVENT_HEAD,
		      (head + AMDVI_ENTRY_BYTES) % AMDVI_RING_BYTES);
	*event = (struct iommu_event){
		.address = second,
		.device = (uint16_t)first,
		.what = describe(first),
		.code = first,
	};
	return true;
}

bool amdvi_next_event(struct iommu *iommu, struct iommu_event *event)
{
	bool found = false;

	amdvi_lock(iommu);
	for (uint32_t i = 0; i < iommu->unit_count && !found; i++)
		found = take_event(iommu, &iommu->units[i], event);
	amdvi_unlock(iommu);
	return found;
}
